"""The window that a policy asks for, and the passage from one policy's window to another's."""

from headgate.breaker.sliding_count import SlidingCount
from headgate.breaker.sliding_time import SlidingTime
from headgate.model.policy import BreakerPolicy, TimeWindow

Sliding = SlidingTime | SlidingCount


def window_for(policy: BreakerPolicy) -> Sliding:
    """Return an empty window."""
    if isinstance(policy.window, TimeWindow):
        return SlidingTime.spanning(policy.window.seconds)
    return SlidingCount.spanning(policy.window.size)


def carried_over(old: Sliding, policy: BreakerPolicy, now_ms: int) -> Sliding:
    """Return the window of ``policy`` with what ``old`` holds and still fits.

    From time to count and back, the counts are kept and the times are not known: a window of
    time then takes all of them as of now.
    """
    wanted = policy.window
    if isinstance(wanted, TimeWindow):
        if isinstance(old, SlidingTime):
            return old.resized(wanted.seconds, now_ms)
    elif isinstance(old, SlidingCount):
        return old.resized(wanted.size)
    old.advance(now_ms)
    fresh = window_for(policy)
    fresh.add(now_ms, old.calls - old.total_failures, old.total_failures, now_ms, old.total_slow)
    return fresh


def enough_calls(policy: BreakerPolicy) -> int:
    """Return from how many calls on a rate is judged."""
    if isinstance(policy.window, TimeWindow):
        return policy.min_calls
    return min(policy.min_calls, policy.window.size)


def describe(policy: BreakerPolicy) -> str:
    """Return the window in words."""
    window = policy.window
    return f"{window.seconds} s" if isinstance(window, TimeWindow) else f"{window.size} calls"
