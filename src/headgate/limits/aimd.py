"""Additive increase, multiplicative decrease, by overload alone: durations do not matter.

Source: Netflix's concurrency-limits (AIMDLimit), with one step in an interval instead of one for
each call, so that how fast the limit rises does not depend on how many calls there are.
"""

from headgate.limits.course import Course, Judgement
from headgate.limits.tally import Tally
from headgate.model.limits import ConcurrencyPolicy


def judge(course: Course, tally: Tally, policy: ConcurrencyPolicy, limit: int) -> Judgement | None:
    """Return what an interval says of the limit; None: nothing. No call failed by overload.

    Args:
        course: Is brought up to date; only the length of the interval depends on it.
        tally: The interval.
        policy: The numbers to judge by.
        limit: Calls in flight.
    """
    if not tally.calls:
        return None
    if not course.take(tally, policy.smoothing) or tally.most_in_flight < limit:
        return None
    return Judgement("room", f"all {limit} were in use, and no call failed by overload")
