"""Adaptive request concurrency: the limit follows how long calls take.

Source: Vector's ARC (additive increase, multiplicative decrease, by a moving mean and its
deviation; the interval is the mean itself). Added here:

- The standard error of the mean: without it a few long calls look like a slower downstream.
- How long calls take on the idle downstream: without that, a queue that builds up step by step is
  never more than a little longer than usual, and grows until calls time out. Where calls take too
  many times as long, the limit is lowered to where, if they wait for each other, they no longer
  would (Little's law: calls in flight = rate x duration). If that does not make them shorter, it
  is the work itself that takes longer now: the limit is restored, and the new duration is the idle
  one.
"""

from math import isqrt
from typing import Final

from headgate.limits.course import Course, Judgement, Trial, milliseconds
from headgate.limits.tally import Tally
from headgate.model.limits import ConcurrencyPolicy

_REST: Final = 20
"""After a trial that has not helped, so many intervals pass before the next."""


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
    mean, past = tally.mean_us, course.past_us or 0
    deviation = isqrt(max(course.variance, tally.error_squared_us))
    most = past + int(policy.deviations * 1_000) * deviation // 1_000
    if course.trial is not None:
        return _after_trial(course, course.trial, tally, policy, limit)
    if not course.take(tally, policy.smoothing):
        return None
    queueing = _queueing(course, mean, policy, limit)
    if queueing is not None:
        return queueing
    if mean > most:
        return Judgement(
            "slower",
            f"calls took {milliseconds(mean)} in the mean, where {milliseconds(past)} and at most "
            f"{milliseconds(most)} were usual",
        )
    if tally.most_in_flight >= limit and mean <= past + deviation:
        return Judgement(
            "room", f"all {limit} were in use, and calls took {milliseconds(mean)} as usual"
        )
    return None


def _queueing(course: Course, mean: int, policy: ConcurrencyPolicy, limit: int) -> Judgement | None:
    """Return whether calls may be waiting inside the downstream, and what limit would end that."""
    if course.rest:
        course.rest -= 1
        return None
    if policy.slowdown is None or course.past_us is None or limit <= policy.min:
        return None
    longest = int(policy.slowdown * 1_000) * course.idle_us // 1_000
    if min(course.past_us, mean) <= longest:
        return None
    course.trial = Trial(limit, mean)
    return Judgement(
        "queueing",
        f"calls took {milliseconds(mean)} in the mean, and {milliseconds(course.idle_us)} when the "
        "downstream was idle",
        to=limit * course.idle_us // mean,
    )


def _after_trial(
    course: Course, trial: Trial, tally: Tally, policy: ConcurrencyPolicy, limit: int
) -> Judgement | None:
    """Return what follows from how long calls take under the lower limit.

    Where calls wait for each other, they take less time in proportion; half of that is proof.
    """
    course.trial = None
    mean = tally.mean_us
    shorter = trial.before_us * limit // trial.before
    course.past_us, course.variance = mean, tally.error_squared_us
    if mean <= (trial.before_us + shorter) // 2:
        course.idle_us = min(course.idle_us, mean)
        return None
    course.idle_us = mean
    course.rest = _REST
    return Judgement(
        "restored",
        f"with {limit} calls took {milliseconds(mean)} in the mean, hardly less than with "
        f"{trial.before}: the work itself takes longer now",
        to=trial.before,
    )
