"""HALF_OPEN to RAMP to CLOSED, or back to OPEN."""

from typing import Any

import pytest

from headgate.breaker import Breaker
from headgate.model.breaker import BreakerState
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from tests.unit.test_breaker import CLOSED, HALF_OPEN, OPEN, RECORD, SUCCESS, Gate, half_open

RAMP = BreakerState.RAMP


def ramp(**policy: Any) -> tuple[Breaker, Gate, int]:
    """Return a breaker that has just begun its ramp of ten seconds, a gate, and the time."""
    breaker, gate, now_ms = half_open(**{"probes": 3, "ramp_ms": 10_000, **policy})
    ids = [f"p{nth}" for nth in range(breaker.record.policy.probes)]
    gate.lease(*ids, now_ms=now_ms)
    gate.report(probes=dict.fromkeys(ids, SUCCESS), now_ms=now_ms)
    assert breaker.record.state is RAMP
    return breaker, gate, now_ms


def test_the_probes_begin_a_ramp_that_is_no_recovery_yet() -> None:
    breaker, _, now_ms = ramp()
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.rule) == (HALF_OPEN, RAMP, "probes")
    assert "all calls pass in 10 s" in step.reason
    assert breaker.next_deadline() == now_ms + 10_000
    assert [alert.kind for alert in breaker.record.alerts] == ["breaker.opened"]
    assert breaker.view(now_ms).calls_in_window == 0


def test_the_share_that_passes_rises_to_all() -> None:
    breaker, _, now_ms = ramp(ramp_start=0.2)
    verdict = breaker.verdict()
    assert (verdict.state, verdict.allow) == (RAMP, "ramp")
    shares = [verdict.share(now_ms + at_ms) for at_ms in (-5, 0, 2_500, 5_000, 10_000, 99_999)]
    assert shares == pytest.approx([0.2, 0.2, 0.4, 0.6, 1.0, 1.0])


def test_it_closes_at_the_end_of_the_ramp_and_not_before() -> None:
    breaker, gate, now_ms = ramp()
    gate.report("....x....", now_ms=now_ms + 5_000)
    breaker.advance(now_ms + 9_999)
    assert breaker.record.state is RAMP
    breaker.advance(now_ms + 10_000)
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.rule) == (RAMP, CLOSED, "ramp_done")
    assert "1 of 9 calls failed in it" in step.reason
    assert [alert.kind for alert in breaker.record.alerts][-1] == "breaker.recovered"
    assert breaker.next_deadline() is None


def test_the_window_of_the_ramp_is_kept_when_it_closes() -> None:
    breaker, gate, now_ms = ramp(failure_rate=0.9)
    gate.report("..x..x", now_ms=now_ms)
    breaker.advance(now_ms + 10_000)
    assert breaker.view(now_ms + 10_000).failures_in_window == 2


def test_a_ramp_without_any_call_closes_too() -> None:
    breaker, _, now_ms = ramp()
    breaker.advance(now_ms + 10_000)
    assert breaker.record.state is CLOSED
    assert breaker.record.reason == "the ramp is over"


@pytest.mark.parametrize(
    ("policy", "calls", "rule"),
    [
        ({"consecutive_failures": 5}, "xxx", "consecutive_failures"),
        ({"consecutive_failures": 2}, "xx", "consecutive_failures"),
        ({"consecutive_failures": 5, "failure_rate": 0.5, "min_calls": 20}, "x.x", "failure_rate"),
        ({"consecutive_failures": 5, "slow_call_ms": 1, "min_calls": 20}, "sss", "slow_call_rate"),
    ],
)
def test_it_reopens_by_as_few_calls_as_there_are_probes(
    policy: dict[str, Any], calls: str, rule: str
) -> None:
    breaker, gate, now_ms = ramp()
    settings = BreakerPolicy.model_validate({"ramp_ms": 10_000, **policy})
    breaker.configure(BreakerSettings(policy=settings), now_ms)
    gate.report(calls[:-1], now_ms=now_ms)
    assert breaker.record.state is RAMP
    gate.report(calls[-1], now_ms=now_ms + 1)
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.rule) == (RAMP, OPEN, rule)
    assert step.reason.startswith("in the ramp, ")
    assert breaker.record.alerts[-1].kind == "breaker.reopened"


def test_it_reopens_even_when_only_slow_calls_are_judged_otherwise() -> None:
    breaker, gate, now_ms = ramp()
    settings = BreakerPolicy(failure_rate=None, slow_call_ms=1, ramp_ms=10_000)
    breaker.configure(BreakerSettings(policy=settings), now_ms)
    gate.report("xxx", now_ms=now_ms)
    assert breaker.record.state is OPEN


def test_it_bears_a_single_failure_among_successes() -> None:
    breaker, gate, now_ms = ramp()
    settings = BreakerPolicy(consecutive_failures=3, ramp_ms=10_000)
    breaker.configure(BreakerSettings(policy=settings), now_ms)
    gate.report("..x....x..", now_ms=now_ms)
    assert breaker.record.state is RAMP


def test_outcomes_from_before_the_ramp_do_not_end_it() -> None:
    breaker, gate, now_ms = ramp()
    for epochs_ago in (1, 2, 3):
        gate.report("x" * 100, epoch=breaker.record.epoch - epochs_ago, now_ms=now_ms)
    assert breaker.record.state is RAMP


def test_a_half_open_breaker_that_nobody_called_ramps_too() -> None:
    breaker, _, now_ms = half_open(ramp_ms=10_000)
    breaker.advance(now_ms + 120_000)
    assert breaker.record.state is RAMP
    assert breaker.record.transitions[-1].rule == "deadline"


def test_a_restored_ramp_goes_on_where_it_was() -> None:
    breaker, _, now_ms = ramp()
    record = RECORD.validate_json(RECORD.dump_json(breaker.record))
    restored = Breaker.restore(record, 2, now_ms + 4_000)
    assert restored.record.state is RAMP
    assert restored.verdict().share(now_ms + 5_000) == breaker.verdict().share(now_ms + 5_000)
    restored.advance(now_ms + 10_000)
    assert restored.record.state is CLOSED


def test_without_a_ramp_it_closes_at_once() -> None:
    breaker, gate, now_ms = half_open(probes=1, ramp_ms=0)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    assert breaker.record.state is CLOSED
    assert breaker.record.alerts[-1].kind == "breaker.recovered"


@pytest.mark.parametrize("ramp_ms", [0, 10_000])
def test_when_nobody_has_seen_it_work_the_first_failure_reopens_it(ramp_ms: int) -> None:
    breaker, gate, now_ms = half_open(ramp_ms=ramp_ms)
    settings = BreakerPolicy(consecutive_failures=5, ramp_ms=ramp_ms)
    breaker.configure(BreakerSettings(policy=settings), now_ms)
    breaker.advance(now_ms + 120_000)
    assert breaker.verdict().allow == ("ramp" if ramp_ms else "all")
    gate.report("x", now_ms=now_ms + 120_001)
    assert breaker.record.state is OPEN


def test_a_success_ends_the_special_care() -> None:
    breaker, gate, now_ms = half_open()
    settings = BreakerPolicy(consecutive_failures=5, ramp_ms=0)
    breaker.configure(BreakerSettings(policy=settings), now_ms)
    breaker.advance(now_ms + 120_000)
    gate.report(".", now_ms=now_ms + 120_001)
    gate.report("xxxx", now_ms=now_ms + 120_002)
    assert breaker.record.state is CLOSED
