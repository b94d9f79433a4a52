"""What the demo prints at its end for people."""

import pytest

from headgate.cli.demo import _print_summary
from headgate.model.breaker import BreakerState


def test_figures_are_words_and_no_python(capsys: pytest.CaptureFixture[str]) -> None:
    step = {
        "downstream": "scanner",
        "at_ms": 1_700_000_000_000,
        "from": BreakerState.CLOSED,
        "to": BreakerState.OPEN,
        "reason": "5 calls in a row failed (limit 5)",
    }
    _print_summary(
        {
            "jobs": {"started": 2, "failed": 1},
            "calls": {"scanner": {"admitted": 1, "failed": 5}},
            "breaker_transitions": [step],
            "over_grants": 0,
            "problems": ["[something] is wrong"],
        }
    )
    assert capsys.readouterr().out.splitlines() == [
        "jobs: started 2, failed 1",
        "calls:",
        "  scanner: admitted 1, failed 5",
        "breaker_transitions: 1",
        "  2023-11-14 22:13:20Z scanner: CLOSED -> OPEN: 5 calls in a row failed (limit 5)",
        "over_grants: 0",
        "problems: 1",
        "  [something] is wrong",
    ]
