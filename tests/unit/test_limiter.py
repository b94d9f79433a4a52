"""What limits the calls of a gate: how many at once, how many a second."""

import asyncio
from typing import Any, cast

import pytest

from headgate.gate.downstream import Downstream
from headgate.gate.lane import Lane
from headgate.gate.limiter import NO_LIMIT, Limiter
from headgate.gate.outcomes import Ended
from headgate.gate.ticket import Refusal, Ticket
from headgate.gate.workflows import GovernanceWorkflow
from headgate.limits.rate import MICRO
from headgate.model.breaker import BreakerState, CallOutcome, Verdict
from headgate.model.limits import ConcurrencyPolicy, LimitPolicy, RatePolicy
from headgate.model.reason import ReasonCode
from tests.unit.gates import QuietBreaker

NOW_MS = 1_700_000_000_000
FINE = Ended(CallOutcome.SUCCESS, 20)
TOO_MUCH = Ended(CallOutcome.FAILURE, 5, overload=True)


def limiter(**policy: Any) -> Limiter:
    return Limiter("scanner", LimitPolicy(**policy))


def test_a_fixed_limit_says_how_many_are_in_flight() -> None:
    limits = limiter(max_in_flight=2)
    assert limits.most == 2
    assert limits.admit(1, NOW_MS) is None
    refused = limits.admit(2, NOW_MS)
    assert refused is not None
    assert (refused.reason.code, refused.reason.used) == (ReasonCode.IN_FLIGHT, 2)
    assert refused.retry_at_ms is not None and refused.retry_at_ms > NOW_MS


def test_an_adaptive_limit_is_lowered_by_overload_and_raised_when_it_is_reached() -> None:
    limits = limiter(concurrency=ConcurrencyPolicy(initial=10, max=40))
    assert limits.admit(9, NOW_MS) is None
    limits.ended(TOO_MUCH, limits.epoch, NOW_MS, NOW_MS, in_flight=10)
    assert (limits.most, limits.epoch) == (9, 1)
    # A call from before says nothing of the new limit.
    limits.ended(TOO_MUCH, 0, NOW_MS, NOW_MS, in_flight=10)
    assert limits.most == 9
    now_ms = NOW_MS
    for _ in range(60):
        now_ms += 20
        limits.admit(limits.most - 1, now_ms)
        limits.ended(FINE, limits.epoch, now_ms - 20, now_ms, in_flight=limits.most)
    assert limits.most > 10


def test_calls_that_were_only_counted_raise_it_as_well() -> None:
    limits = limiter(concurrency=ConcurrencyPolicy(initial=10, max=40))
    for step in range(1, 40):
        limits.ended_calmly(50, 1_000, 50 * 400, NOW_MS + step * 100, in_flight=limits.most)
    assert limits.most > 10


def test_the_rate_is_off_until_the_downstream_says_that_it_is_too_much() -> None:
    limits = limiter(rate=RatePolicy(min_per_s=1))
    for step in range(100):
        assert limits.admit(1, NOW_MS + step) is None
        limits.ended(FINE, 0, NOW_MS + step, NOW_MS + step * 20, in_flight=1)
    assert limits.is_quiet
    now_ms = NOW_MS + 2_000
    limits.ended(TOO_MUCH, 0, now_ms - 5, now_ms, in_flight=1)
    assert not limits.is_quiet
    passed = [limits.admit(1, now_ms + step * 10) is None for step in range(100)]
    assert 10 <= sum(passed) <= 45  # of the 50 a second that there were, 70 %
    refused = next(r for step in range(100) if (r := limits.admit(1, now_ms + 1_000 + step)))
    assert refused.reason.code is ReasonCode.RATE
    assert "has refused calls as too many" in refused.reason.message


def test_retry_after_shuts_it_for_as_long() -> None:
    limits = limiter(rate=RatePolicy())
    asked = Ended(CallOutcome.FAILURE, 5, retry_after_ms=3_000, overload=True)
    limits.ended(asked, 0, NOW_MS, NOW_MS, in_flight=1)
    refused = limits.admit(0, NOW_MS + 2_999)
    assert refused is not None and refused.retry_at_ms == NOW_MS + 3_000


def test_another_policy_keeps_what_was_learned() -> None:
    limits = limiter(concurrency=ConcurrencyPolicy(initial=10))
    limits.ended(TOO_MUCH, 0, NOW_MS, NOW_MS, in_flight=10)
    limits.follow(LimitPolicy(concurrency=ConcurrencyPolicy(initial=10, max=50)), 0)
    assert limits.most == 9
    limits.follow(LimitPolicy(max_in_flight=3), 0)
    assert limits.most == 3
    limits.follow(LimitPolicy(), 0)
    assert limits.most == NO_LIMIT


def test_the_fleet_is_told_sums_and_begins_anew_with_its_epoch() -> None:
    limits = limiter(concurrency=ConcurrencyPolicy())
    limits.ended(FINE, 0, NOW_MS, NOW_MS, in_flight=3)
    limits.ended(TOO_MUCH, 0, NOW_MS, NOW_MS, in_flight=2)
    told = limits.summary("gate", 1)
    assert told is not None
    assert (told.calls, told.duration_ms, told.overloads, told.most_in_flight) == (1, 20, 1, 3)
    limits.ended(FINE, 0, NOW_MS, NOW_MS, in_flight=1)
    limits.follow(limits.policy, 5)
    again = limits.summary("gate", 2)
    assert again is not None
    assert (again.epoch, again.calls) == (5, 0)
    assert limiter(max_in_flight=3).summary("gate", 1) is None


@pytest.fixture
def downstream() -> Downstream:
    verdict = Verdict(
        downstream="scanner",
        state=BreakerState.CLOSED,
        epoch=3,
        allow="all",
        limit=LimitPolicy(max_in_flight=2),
    )
    return Downstream("scanner", "gate", "queue", cast(GovernanceWorkflow, QuietBreaker(verdict)))


async def test_a_call_waits_for_a_place_and_takes_it_when_another_ends(
    downstream: Downstream,
) -> None:
    lane = Lane(downstream, "acme", None)
    first = await lane.wait(1, "acme", "a", patience_s=1, hold_ms=0)
    assert isinstance(first, Ticket)
    lane.settle(first, FINE)
    held = [lane.enter() for _ in range(2)]
    assert all(held)
    assert lane.enter() is None

    waiting = asyncio.create_task(lane.wait(1, "acme", "b", patience_s=1, hold_ms=0))
    while not downstream._queueing:
        await asyncio.sleep(0)
    ticket = held[0]
    assert ticket is not None
    assert not lane.leave(ticket)  # somebody waits, who has to be told
    lane.settle(ticket, FINE)
    assert isinstance(await waiting, Ticket)
    refused = await lane.wait(1, "acme", "c", patience_s=1, hold_ms=0)
    assert isinstance(refused, Refusal)
    assert refused.reason.code is ReasonCode.IN_FLIGHT
    await downstream.close()


async def test_a_call_that_its_share_of_a_ramp_refuses_takes_nothing_of_the_rate() -> None:
    verdict = Verdict(
        downstream="scanner",
        state=BreakerState.CLOSED,
        epoch=3,
        allow="ramp",
        most=0.01,
        limit=LimitPolicy(rate=RatePolicy(max_per_s=1)),
    )
    breaker = cast(GovernanceWorkflow, QuietBreaker(verdict))
    downstream = Downstream("scanner", "gate", "queue", breaker)
    passed = await downstream.admit("call", "acme")
    assert isinstance(passed, Ticket)
    downstream.settle(passed, TOO_MUCH, "acme")
    assert downstream._limiter is not None
    rate = downstream._limiter._rate
    assert rate is not None and rate.rate is not None
    rate.tokens = MICRO
    refused = await downstream.admit("call", "acme")
    assert isinstance(refused, Refusal)
    assert refused.reason.code is ReasonCode.RAMP
    assert rate.tokens == MICRO
    await downstream.close()
