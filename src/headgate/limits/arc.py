"""Adaptive request concurrency: the limit follows how long calls take.

Source: Vector's ARC (additive increase, multiplicative decrease, by a moving mean and its
deviation; the interval is the mean itself). Added here: the standard error of the mean, without
which a few long calls look like a slower downstream; and the duration on the idle downstream,
without which a queue that has once built up is what is compared with, and stays.
"""

from math import isqrt

from headgate.limits.course import Course, Judgement, milliseconds
from headgate.limits.tally import Tally
from headgate.model.limits import ConcurrencyPolicy


def judge(course: Course, tally: Tally, policy: ConcurrencyPolicy, limit: int) -> Judgement | None:
    """Return what an interval says of the limit; None: nothing. No call failed by overload.

    Args:
        course: Is brought up to date.
        tally: The interval.
        policy: The numbers to judge by.
        limit: Calls in flight.
    """
    if not tally.calls:
        return None
    past = course.past_us
    if past is None:
        course.take(tally, policy.smoothing)
        return None
    mean = tally.mean_us
    deviation = isqrt(max(course.variance, tally.error_squared_us))
    limit_us = past + int(policy.deviations * 1_000) * deviation // 1_000
    _see_whether_it_helped(course, mean, policy)
    course.take(tally, policy.smoothing)
    if mean > limit_us:
        return Judgement(
            "slower",
            f"calls took {milliseconds(mean)} in the mean, where {milliseconds(past)} and at most "
            f"{milliseconds(limit_us)} were usual",
        )
    queueing = _queueing(course, mean, policy)
    if queueing is not None:
        return queueing
    if tally.most_in_flight >= limit and mean <= past + deviation:
        return Judgement(
            "room", f"all {limit} were in use, and calls took {milliseconds(mean)} as usual"
        )
    return None


def _queueing(course: Course, mean: int, policy: ConcurrencyPolicy) -> Judgement | None:
    """Return whether calls wait inside the downstream, by how long they take when it is idle."""
    if policy.slowdown is None or course.past_us is None:
        return None
    longest = int(policy.slowdown * 1_000) * course.idle_us // 1_000
    if course.past_us <= longest or mean <= longest:
        return None
    course.lowered_at_us = mean
    return Judgement(
        "queueing",
        f"calls took {milliseconds(mean)} in the mean, {mean / max(1, course.idle_us):.1f} times "
        f"the {milliseconds(course.idle_us)} of the idle downstream",
    )


def _see_whether_it_helped(course: Course, mean: int, policy: ConcurrencyPolicy) -> None:
    """Learn from the first interval after the limit was lowered because of queueing.

    Where calls wait for each other, fewer of them take less time each, in proportion. Where they
    do not, it is the work itself that takes longer now, and lowering the limit further would help
    nobody.
    """
    before, course.lowered_at_us = course.lowered_at_us, None
    if before is None:
        return
    helped = before - int((1.0 - policy.decrease) * 500) * before // 1_000
    if mean > helped:
        course.idle_us = max(course.idle_us, mean)
