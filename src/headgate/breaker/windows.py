"""The window that a policy asks for, and the passage from one policy's window to another's."""

from dataclasses import dataclass

from headgate.breaker.sliding_count import SlidingCount
from headgate.breaker.sliding_time import SlidingTime
from headgate.model.policy import Rates, TimeWindow

Sliding = SlidingTime | SlidingCount


def window_for(rates: Rates) -> Sliding:
    """Return an empty window."""
    if isinstance(rates.window, TimeWindow):
        return SlidingTime.spanning(rates.window.seconds)
    return SlidingCount.spanning(rates.window.size)


def carried_over(old: Sliding, rates: Rates, now_ms: int) -> Sliding:
    """Return the window of ``rates`` with what ``old`` holds and still fits.

    From time to count and back, the counts are kept and the times are not known: a window of
    time then takes all of them as of now.
    """
    wanted = rates.window
    if isinstance(wanted, TimeWindow):
        if isinstance(old, SlidingTime):
            return old.resized(wanted.seconds, now_ms)
    elif isinstance(old, SlidingCount):
        return old.resized(wanted.size)
    old.advance(now_ms)
    fresh = window_for(rates)
    fresh.add(now_ms, old.calls - old.total_failures, old.total_failures, now_ms, old.total_slow)
    return fresh


def enough_calls(rates: Rates) -> int:
    """Return from how many calls on a rate is judged."""
    if isinstance(rates.window, TimeWindow):
        return rates.min_calls
    return min(rates.min_calls, rates.window.size)


def in_a_row(count: int) -> str:
    """Return how many calls failed one after the other, in words."""
    return "1 call failed" if count == 1 else f"{count} calls in a row failed"


def describe(rates: Rates) -> str:
    """Return the window in words."""
    window = rates.window
    return f"{window.seconds} s" if isinstance(window, TimeWindow) else f"{window.size} calls"


@dataclass(frozen=True, slots=True)
class Excess:
    """A rate that is at or above its limit.

    Attributes:
        rule: failure_rate or slow_call_rate.
        count: Calls that failed, or were slow.
        calls: Of so many.
        limit: The share from which on it is too much.
        what: What the calls were, in words.
    """

    rule: str
    count: int
    calls: int
    limit: float
    what: str


def excess(window: Sliding, rates: Rates, enough: int) -> Excess | None:
    """Return the first rate that is exceeded within ``window``, or None.

    Args:
        window: As it is now.
        rates: The limits.
        enough: From how many calls on they count.
    """
    calls = window.calls
    if calls < enough or calls == 0:
        return None
    for rule, count, limit, what in (
        ("failure_rate", window.total_failures, rates.failure_rate, "failed"),
        ("slow_call_rate", window.total_slow, rates.slow_call_rate, "were slow"),
    ):
        # 7 / 100 is rounded like the literal 0.07 is; 100 * 0.07 would be above 7.
        if count and limit is not None and count / calls >= limit:
            return Excess(rule, count, calls, limit, what)
    return None
