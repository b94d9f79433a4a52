"""How many calls a downstream bears at the same time, found out while calling it.

One function for a gate that limits by itself and for a fleet: the evidence is a ``Tally``. A limit
has an *epoch*, which rises each time that it is lowered. Only calls that were let pass under the
present epoch say anything about the present limit: what was let pass before, and fails or is slow
because too much was, has been answered already. So late news never lowers a limit twice.

The limit is lowered at once when calls fail by overload, else judged once in an interval. The
interval is as long as a call takes, so that calls of 20 ms and jobs of ten minutes are judged
alike. All in integers (microseconds): the fleet's limit is computed in a workflow, which must come
to the same result when it is replayed elsewhere.
"""

from dataclasses import dataclass, field
from typing import Final

from headgate.limits import aimd, arc
from headgate.limits.course import Course, Judgement
from headgate.limits.tally import Tally
from headgate.model.limits import ConcurrencyPolicy, LimitChange

_FEWEST: Final = 5
"""An interval goes on until so many calls have ended, however long they take."""


@dataclass(slots=True)
class Concurrency:
    """The limit of the calls in flight, and what is known about the downstream.

    Attributes:
        limit: Calls in flight.
        epoch: Rises each time that the limit is lowered.
        tally: What has ended in this interval, of the calls of this epoch.
        ends_at_ms: When the interval is judged, if anything has ended by then.
        timed_from_ms: From when on it counts how long calls took.
        raises: How often in a row the limit was raised.
        course: How long calls have taken.
        last: The last change.
    """

    limit: int
    epoch: int = 0
    tally: Tally = field(default_factory=Tally)
    ends_at_ms: int = 0
    timed_from_ms: int = 0
    raises: int = 0
    course: Course = field(default_factory=Course)
    last: LimitChange | None = None


def begin(policy: ConcurrencyPolicy) -> Concurrency:
    """Return the limit of a downstream of which nothing is known yet."""
    return Concurrency(policy.initial)


def began(state: Concurrency, in_flight: int) -> int:
    """Note that a call was let pass; return the epoch, to be named when it ends.

    Args:
        state: Is changed.
        in_flight: Calls in flight, this one included.
    """
    state.tally.began(in_flight)
    return state.epoch


def ended(
    state: Concurrency,
    policy: ConcurrencyPolicy,
    epoch: int,
    duration_ms: int,
    now_ms: int,
    *,
    in_flight: int,
    overload: bool = False,
) -> LimitChange | None:
    """Take the end of one call, and adapt the limit when it is time.

    Args:
        state: Is changed.
        policy: How to adapt.
        epoch: What ``began`` returned for it.
        duration_ms: How long it took.
        now_ms: Unix time.
        in_flight: Calls that were in flight until now, this one included.
        overload: It failed by 429, 503, a timeout or the like.

    Returns:
        The change, if there is one.
    """
    if epoch != state.epoch:
        return None
    state.tally.began(in_flight)
    overload = overload or times_out(policy, duration_ms)
    if overload or now_ms >= state.timed_from_ms:
        state.tally.ended(duration_ms, overload=overload)
    return step(state, policy, now_ms)


def times_out(policy: ConcurrencyPolicy, duration_ms: int) -> bool:
    """Return whether a call counts as overload because of how long it took."""
    return policy.timeout_ms is not None and duration_ms >= policy.timeout_ms


def step(
    state: Concurrency, policy: ConcurrencyPolicy, now_ms: int, least_ms: int = 0
) -> LimitChange | None:
    """Adapt the limit to what the tally says, if it is time.

    Args:
        state: Is changed.
        policy: How to adapt.
        now_ms: Unix time.
        least_ms: An interval is at least so long; for a fleet, until all gates have reported.

    Returns:
        The change, if there is one. Without calls that have ended there is none, but by another
        policy.
    """
    if not policy.min <= state.limit <= policy.max:
        after = max(policy.min, min(policy.max, state.limit))
        message = f"the policy allows {policy.min} to {policy.max}"
        return _change(state, after, Judgement("policy", message), now_ms)
    tally = state.tally
    if tally.overloads:
        ended_calls = tally.calls + tally.overloads
        if tally.overloads > policy.tolerate * max(state.limit, ended_calls):
            message = f"{tally.overloads} of {ended_calls} calls failed by overload"
            return _lower(state, policy, Judgement("overload", message), now_ms, least_ms)
    if now_ms < state.ends_at_ms or tally.calls < _FEWEST:
        return None
    judge = arc.judge if policy.algorithm == "arc" else aimd.judge
    judgement = judge(state.course, tally, policy, state.limit)
    if judgement is not None and judgement.rule not in ("room", "restored"):
        return _lower(state, policy, judgement, now_ms, least_ms)
    change = None if judgement is None else _raise(state, policy, judgement, now_ms)
    if change is None:
        state.raises = 0
    _next_interval(state, now_ms, least_ms)
    return change


def _lower(
    state: Concurrency,
    policy: ConcurrencyPolicy,
    judgement: Judgement,
    now_ms: int,
    least_ms: int,
) -> LimitChange | None:
    after = judgement.to if judgement.to is not None else int(state.limit * policy.decrease)
    # At least one less, however it is rounded.
    after = max(policy.min, min(state.limit - 1, after))
    if judgement.rule != "queueing":
        state.course.trial = None
    change = None
    if after < state.limit:
        change = _change(state, after, judgement, now_ms)
        # Of the calls that begin now the shortest end first: wait until they are as mixed as ever.
        settling_ms = 2 * (state.course.past_us or 0) // 1_000
        state.timed_from_ms = now_ms + settling_ms
        _next_interval(state, now_ms + settling_ms, least_ms)
    else:
        _next_interval(state, now_ms, least_ms)
    return change


def _raise(
    state: Concurrency, policy: ConcurrencyPolicy, judgement: Judgement, now_ms: int
) -> LimitChange | None:
    if judgement.to is not None:
        after = min(policy.max, judgement.to)
    else:
        size = 1
        if policy.step_doubles_after is not None:
            doublings = min(state.raises // policy.step_doubles_after, 20)
            size = max(1, min(1 << doublings, state.limit // 4))
        after = min(policy.max, state.limit + size)
    if after <= state.limit:
        return None
    raises = state.raises + 1
    change = _change(state, after, judgement, now_ms)
    state.raises = raises if judgement.rule == "room" else 0
    return change


def _change(state: Concurrency, after: int, judgement: Judgement, now_ms: int) -> LimitChange:
    if after < state.limit:
        state.epoch += 1
    state.last = LimitChange(
        at_ms=max(0, now_ms),
        before=state.limit,
        after=after,
        rule=judgement.rule,
        message=f"{state.limit} to {after}: {judgement.message}",
    )
    state.limit = after
    state.raises = 0
    state.tally = Tally()
    return state.last


def _next_interval(state: Concurrency, now_ms: int, least_ms: int) -> None:
    past_ms = (state.course.past_us or 0) // 1_000
    state.ends_at_ms = now_ms + max(1, past_ms, least_ms)
    state.tally = Tally()
