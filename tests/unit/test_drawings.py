"""What the drawings of the dashboard claim."""

import re

from headgate.api.dashboard.drawings import strip
from headgate.model.breaker import BreakerState, Transition

HOUR_MS = 3_600_000
NOW_MS = 1_800_000_000_000
BEGIN_MS = NOW_MS - 24 * HOUR_MS
_PART = re.compile(r'class="([\w-]+)" x="([\d.]+)" y="0" width="([\d.]+)"')


def opened(at_ms: int) -> Transition:
    return Transition(
        epoch=2,
        at_ms=at_ms,
        source=BreakerState.CLOSED,
        target=BreakerState.OPEN,
        rule="failure_rate",
        reason="it failed",
    )


def parts(drawn: str) -> list[tuple[str, float, float]]:
    """The parts of a strip in per cent: what, from where, how wide."""
    return [(name, float(x), float(width)) for name, x, width in _PART.findall(drawn)]


def test_a_strip_claims_nothing_of_the_time_before_the_breaker_was_there() -> None:
    drawn = strip([], BreakerState.CLOSED, BEGIN_MS, NOW_MS, known_ms=NOW_MS - 6 * HOUR_MS)
    assert parts(drawn) == [("rest", 0, 75), ("s-closed", 75, 25)]
    assert "there since 2027-01-15 02:00" in drawn
    tripped = [opened(NOW_MS - 3 * HOUR_MS)]
    drawn = strip(tripped, BreakerState.OPEN, BEGIN_MS, NOW_MS, known_ms=NOW_MS - 6 * HOUR_MS)
    assert sorted(parts(drawn)) == [("rest", 0, 75), ("s-closed", 75, 12.5), ("s-open", 87.5, 12.5)]


def test_a_strip_of_an_old_breaker_is_full() -> None:
    drawn = strip([], BreakerState.CLOSED, BEGIN_MS, NOW_MS, known_ms=BEGIN_MS - HOUR_MS)
    assert parts(drawn) == [("s-closed", 0, 100)]
    assert "there since" not in drawn


def test_a_change_before_the_breaker_is_said_to_begin_is_believed() -> None:
    # The clocks of Postgres and of Temporal differ.
    tripped = [opened(NOW_MS - 6 * HOUR_MS)]
    drawn = strip(tripped, BreakerState.OPEN, BEGIN_MS, NOW_MS, known_ms=NOW_MS - 3 * HOUR_MS)
    assert ("rest", 0, 75) in parts(drawn) and ("s-open", 75, 25) in parts(drawn)
