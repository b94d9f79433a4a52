"""What a gate answers about one downstream."""

import asyncio
from typing import Literal, cast

import pytest

from headgate.gate import Call
from headgate.gate import downstream as downstream_module
from headgate.gate.clock import now_ms
from headgate.gate.downstream import Downstream
from headgate.gate.lane import Lane
from headgate.gate.outcomes import NOBODY, Ended
from headgate.gate.ticket import Refusal, Ticket
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import (
    MOST_AFFECTED,
    BreakerState,
    CallOutcome,
    Verdict,
)
from headgate.model.lease import WhenAway
from headgate.model.limits import LimitPolicy
from headgate.model.reason import ReasonCode
from tests.unit.gates import QuietBreaker, gate_of, limited, one_place


async def test_a_throttled_call_is_told_who_cut_it_and_when_to_ask_again() -> None:
    verdict = Verdict(
        downstream="scanner",
        state=BreakerState.CLOSED,
        epoch=3,
        allow="ramp",
        most=0.125,
        reason="no failures seen; cut to 12.5% by ada: vendor asked",
    )
    breaker = cast(GovernanceWorkflow, QuietBreaker(verdict))
    downstream = Downstream("scanner", "gate", "queue", breaker)
    answers = [await downstream.admit(f"call-{nth}", "tenant") for nth in range(5)]
    assert isinstance(answers[0], Ticket)
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert refused
    for refusal in refused:
        assert refusal.reason.code is ReasonCode.RAMP
        assert refusal.reason.message == (
            "12.5% of the calls to scanner pass now: "
            "no failures seen; cut to 12.5% by ada: vendor asked"
        )
        assert refusal.retry_at_ms is not None
        assert 0 < refusal.retry_at_ms - now_ms() <= 2_000
    await downstream.close()


# When the breaker does not answer -----------------------------------------------------------------

YOUNG_S, OLD_S, OUTDATED_S = 20, 110, 121


class Clock:
    """Stands still until the test moves it; both of the gate's clocks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._began_ms = now_ms()
        self._passed_s = 0.0
        monkeypatch.setattr(downstream_module, "now_ms", self.now_ms)
        monkeypatch.setattr(downstream_module, "monotonic_s", lambda: self._passed_s)
        # The lane reads it under another name.
        monkeypatch.setattr("headgate.gate.lane.monotonic", lambda: self._passed_s)

    def now_ms(self) -> int:
        return self._began_ms + round(self._passed_s * 1_000)

    def at(self, passed_s: float) -> None:
        self._passed_s = passed_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Way:
    """One way to a downstream, as a governed call takes it."""

    def __init__(self, when_away: WhenAway, allow: Literal["all", "none"]) -> None:
        is_open = allow == "none"
        verdict = Verdict(
            downstream="scanner",
            state=BreakerState.OPEN if is_open else BreakerState.CLOSED,
            epoch=3,
            allow=allow,
            until_ms=now_ms() + 3_600_000 if is_open else None,
            reason="3 calls in a row failed",
            when_away=when_away,
        )
        self.breaker = QuietBreaker(verdict)
        self.downstream = Downstream(
            "scanner", "gate", "queue", cast(GovernanceWorkflow, self.breaker)
        )
        self._lane = Lane(self.downstream, "acme", None)
        self._calls = 0

    async def call(self) -> ReasonCode | None:
        """Make a call that succeeds; return why it could not be made, or None."""
        self._calls += 1
        key = f"call-{self._calls}"
        answer = self._lane.enter() or await self._lane.wait(
            1, "acme", key, patience_s=0, hold_ms=0
        )
        if isinstance(answer, Refusal):
            assert answer.retry_at_ms is not None
            return answer.reason.code
        if not self._lane.leave(answer):
            self._lane.settle(answer, Ended(CallOutcome.SUCCESS, 1))
        return None


@pytest.mark.parametrize(
    ("when_away", "allow", "known", "outdated"),
    [
        (WhenAway.FAIL_STATIC, "all", None, None),
        (WhenAway.FAIL_STATIC, "none", ReasonCode.BREAKER_OPEN, ReasonCode.BREAKER_OPEN),
        (WhenAway.FAIL_OPEN, "all", None, None),
        (WhenAway.FAIL_OPEN, "none", ReasonCode.BREAKER_OPEN, None),
        (WhenAway.FAIL_CLOSED, "all", None, ReasonCode.UNAVAILABLE),
        (WhenAway.FAIL_CLOSED, "none", ReasonCode.BREAKER_OPEN, ReasonCode.UNAVAILABLE),
    ],
)
async def test_a_verdict_holds_while_it_is_young_and_then_what_is_configured(
    clock: Clock,
    when_away: WhenAway,
    allow: Literal["all", "none"],
    known: ReasonCode | None,
    outdated: ReasonCode | None,
) -> None:
    way = Way(when_away, allow)
    assert await way.call() is known
    asked = way.breaker.asked
    way.breaker.is_away = True
    clock.at(YOUNG_S)
    assert await way.call() is known
    assert way.breaker.asked == asked  # there is no reason to doubt it
    clock.at(OLD_S)
    assert [await way.call(), await way.call()] == [known, known]
    clock.at(OUTDATED_S)
    assert [await way.call(), await way.call()] == [outdated, outdated]
    assert way.breaker.asked > asked
    way.breaker.is_away = False  # whatever held meanwhile, its word holds again
    clock.at(2 * OUTDATED_S)
    assert await way.call() is known
    await way.downstream.close()


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (BreakerState.OPEN, ReasonCode.BREAKER_OPEN),
        (BreakerState.FORCED_OPEN, ReasonCode.FORCED_OPEN),
    ],
)
async def test_what_people_keep_calls_from_is_told_as_theirs(
    state: BreakerState, code: ReasonCode
) -> None:
    shut = limited(state=state, epoch=4, allow="none", reason="x")
    downstream = Downstream("scanner", "gate", "q", cast(GovernanceWorkflow, QuietBreaker(shut)))
    answer = await downstream.admit("call", "acme")
    assert isinstance(answer, Refusal)
    assert answer.reason.code is code
    await downstream.close()


@pytest.mark.parametrize("when_away", list(WhenAway))
async def test_a_breaker_that_answers_is_asked_first_however_old_its_verdict_is(
    clock: Clock, when_away: WhenAway
) -> None:
    way = Way(when_away, "all")
    assert await way.call() is None
    asked = way.breaker.asked
    clock.at(10 * OUTDATED_S)
    assert await way.call() is None
    assert way.breaker.asked == asked + 1
    await way.downstream.close()


async def test_a_refusal_for_want_of_an_answer_says_so_and_when_to_come_again(clock: Clock) -> None:
    way = Way(WhenAway.FAIL_CLOSED, "all")
    await way.call()
    way.breaker.is_away = True
    clock.at(OUTDATED_S)
    refusal = await way.downstream.admit("call", "acme")
    assert isinstance(refusal, Refusal)
    assert refusal.reason.message == "the breaker of scanner has not answered for a while"
    assert refusal.retry_at_ms == clock.now_ms() + 5_000
    await way.downstream.close()


async def test_no_call_waits_for_a_breaker_that_has_just_failed_to_answer(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    way = Way(WhenAway.FAIL_STATIC, "all")
    await way.call()
    way.breaker.is_away = True
    clock.at(OUTDATED_S)
    await way.call()
    # From now on it does not even refuse: the server takes connections and answers nothing.
    way.breaker.hangs = True
    before = way.breaker.asked
    async with asyncio.timeout(0.9):
        for passed_s in range(1, 10):
            clock.at(OUTDATED_S + passed_s)
            assert await way.call() is None
            await asyncio.sleep(0)
    assert way.breaker.asked == before + 1, "one question is under way"
    told = [one for one in caplog.records if "not learned" in one.getMessage()]
    assert len(told) == 1
    await way.downstream.close()


async def test_an_unanswered_breaker_is_asked_about_once_a_second(clock: Clock) -> None:
    way = Way(WhenAway.FAIL_STATIC, "all")
    await way.call()
    way.breaker.is_away = True
    clock.at(OUTDATED_S)
    await way.call()
    before = way.breaker.asked
    for tenth in range(1, 30):
        clock.at(OUTDATED_S + tenth / 10)
        await way.call()
        await asyncio.sleep(0)
    assert way.breaker.asked == before + 2
    way.breaker.is_away = False
    clock.at(OUTDATED_S + 4)
    await way.call()  # has it asked, and does not wait
    await asyncio.sleep(0)
    assert not way.downstream._is_away
    await way.downstream.close()


async def test_a_process_that_begins_without_an_answer_waits_once(clock: Clock) -> None:
    way = Way(WhenAway.FAIL_STATIC, "all")
    way.breaker.hangs = True
    clock.at(0)
    waiting = asyncio.create_task(way.call())
    await asyncio.sleep(0)
    clock.at(2)
    async with asyncio.timeout(0.9):
        for _ in range(3):
            assert await way.call() is None
    assert await waiting is None
    await way.downstream.close()


# Whom it affects ----------------------------------------------------------------------------------


async def test_reports_say_whose_calls_failed_or_were_turned_away() -> None:
    open_way, way = Way(WhenAway.FAIL_STATIC, "none"), Way(WhenAway.FAIL_STATIC, "all")
    assert await open_way.call() is ReasonCode.BREAKER_OPEN
    assert isinstance(await open_way.downstream.admit("other", "bolt"), Refusal)
    await open_way.downstream.flush()
    assert open_way.breaker.reports[-1].affected == {"acme": 1, "bolt": 1}
    for tenant, outcome in (("acme", CallOutcome.FAILURE), ("bolt", CallOutcome.SUCCESS)):
        ticket = await way.downstream.admit(f"call-{tenant}", tenant)
        assert isinstance(ticket, Ticket)
        way.downstream.settle(ticket, Ended(outcome, 1), tenant)
    await way.downstream.flush()
    assert way.breaker.reports[-1].affected == {"acme": 1}
    await way.downstream.flush()
    assert way.breaker.reports[-1].affected == {}, "once"
    await open_way.downstream.admit("for none", NOBODY)
    await open_way.downstream.admit("odd", "a tenant, as nobody names one")
    await open_way.downstream.flush()
    assert open_way.breaker.reports[-1].affected == {"a tenant, as nobody names one": 1}
    for number in range(2 * MOST_AFFECTED):
        await open_way.downstream.admit(f"call-{number}", f"t{number}")
    await open_way.downstream.flush()
    assert len(open_way.breaker.reports[-1].affected) == MOST_AFFECTED
    await open_way.downstream.close()
    await way.downstream.close()


# While calls wait for a place ---------------------------------------------------------------------


async def one_in_flight_and_two_queueing(
    breaker: QuietBreaker,
) -> tuple[Downstream, Ticket, list[asyncio.Task[Ticket | Refusal]]]:
    downstream = Downstream("scanner", "gate", "queue", cast(GovernanceWorkflow, breaker))
    first = await downstream.admit("first", "acme")
    assert isinstance(first, Ticket)
    waiting = [asyncio.create_task(downstream.admit(f"call-{n}", "acme")) for n in range(2)]
    async with asyncio.timeout(0.9):
        while downstream._queueing < 2:
            await asyncio.sleep(0)
    return downstream, first, waiting


async def test_a_call_that_queued_does_not_pass_a_breaker_that_opened_meanwhile() -> None:
    downstream, first, waiting = await one_in_flight_and_two_queueing(QuietBreaker(limited()))
    opened = limited(
        state=BreakerState.OPEN, epoch=4, allow="none", until_ms=now_ms() + 60_000, reason="dead"
    )
    downstream.take(opened)
    downstream.settle(first, Ended(CallOutcome.FAILURE, 1), "acme")
    for answer in await asyncio.gather(*waiting):
        assert isinstance(answer, Refusal)
        assert answer.reason.code is ReasonCode.BREAKER_OPEN
    assert not downstream.flights
    await downstream.close()


async def test_a_call_that_queued_heeds_what_this_gate_has_seen_fail_meanwhile() -> None:
    breaker = QuietBreaker(limited(consecutive_failures=1))
    downstream, first, waiting = await one_in_flight_and_two_queueing(breaker)
    downstream.settle(first, Ended(CallOutcome.FAILURE, 1), "acme")
    for answer in await asyncio.gather(*waiting):
        assert isinstance(answer, Refusal)
        assert "1 call failed here" in answer.reason.message
    await downstream.close()


async def test_a_call_that_queued_asks_for_a_probe_when_the_breaker_is_half_open_by_now() -> None:
    breaker = QuietBreaker(limited())
    downstream, first, waiting = await one_in_flight_and_two_queueing(breaker)
    half_open = limited(state=BreakerState.HALF_OPEN, epoch=5, allow="probes")
    breaker.lets_probe("call-1", half_open)
    downstream.take(half_open)
    downstream.settle(first, Ended(CallOutcome.FAILURE, 1), "acme")
    refused, passed = await asyncio.gather(*waiting)
    assert isinstance(refused, Refusal)
    assert refused.reason.code is ReasonCode.PROBES_BUSY
    assert isinstance(passed, Ticket)
    assert passed.probe == "call-1"
    await downstream.close()


# Permits whose calls have not begun ---------------------------------------------------------------


async def test_a_place_is_kept_for_the_call_of_a_permit_but_not_for_ever(clock: Clock) -> None:
    downstream = one_place()
    assert isinstance(await downstream.admit("permit", "acme", held=True), Ticket)
    assert not downstream.flights, "no call is under way"
    refused = await downstream.admit("call", "acme")
    assert isinstance(refused, Refusal)
    assert refused.reason.code is ReasonCode.IN_FLIGHT
    # The job goes on in another process, and nobody ever says so here.
    clock.at(10)
    assert isinstance(await downstream.admit("call", "acme"), Ticket)
    assert downstream.begin("permit") is None
    await downstream.close()


async def test_permits_that_are_never_used_leave_nothing_behind(clock: Clock) -> None:
    downstream = one_place(QuietBreaker(limited(limit=None)))
    for number in range(5):
        await downstream.admit(f"permit-{number}", "acme", held=True)
    clock.at(10)
    await downstream.admit("permit-5", "acme", held=True)
    assert list(downstream._promised) == ["permit-5"]
    await downstream.close()


async def test_a_permit_that_is_asked_for_again_takes_one_place() -> None:
    downstream = one_place(QuietBreaker(limited(limit=LimitPolicy(max_in_flight=2))))
    for _ in range(2):  # the answer to the first was lost with its workflow task
        assert isinstance(await downstream.admit("permit", "acme", held=True), Ticket)
    ticket = downstream.begin("permit")
    assert ticket is not None
    downstream.settle(ticket, Ended(CallOutcome.SUCCESS, 1), "acme")
    assert downstream._places_taken() == 0
    await downstream.close()


async def test_who_waits_gets_the_place_of_a_permit_that_is_given_back() -> None:
    downstream = one_place()
    await downstream.admit("permit", "acme", held=True)
    waiting = asyncio.create_task(downstream.admit("call", "acme"))
    while not downstream._queueing:
        await asyncio.sleep(0)
    downstream.forget("permit")
    assert isinstance(await waiting, Ticket)
    await downstream.close()


async def test_a_permit_whose_job_has_closed_elsewhere_keeps_no_place_and_no_probe() -> None:
    breaker = QuietBreaker(limited(state=BreakerState.HALF_OPEN, allow="probes"))
    breaker.probes = {"permit"}
    downstream = one_place(breaker)
    gate = gate_of(downstream)
    passed = await downstream.admit("permit", "acme", held=True)
    assert isinstance(passed, Ticket)
    assert passed.probe == "permit"
    gate._ended("acme", "permit")
    await downstream.flush()
    (probe,) = breaker.reports[-1].probes
    assert (probe.id, probe.outcome) == ("permit", CallOutcome.IGNORED)
    await downstream.close()


@pytest.mark.parametrize("what", ["opens", "fails here", "is full"])
async def test_a_permits_first_call_heeds_what_has_happened_since(what: str) -> None:
    downstream = one_place(QuietBreaker(limited(consecutive_failures=1)))
    await downstream.admit("permit", "acme", held=True)
    if what == "opens":
        downstream.take(limited(state=BreakerState.OPEN, epoch=4, allow="none"))
    else:
        other = Ticket(downstream.era, 0.0, None, 0)
        downstream.flights.add(other)
        if what == "fails here":
            downstream.settle(other, Ended(CallOutcome.FAILURE, 1), "acme")
    assert downstream.begin("permit") is None
    await downstream.close()


@pytest.mark.parametrize("is_let_pass_here", [True, False])
async def test_of_the_calls_under_one_permit_one_is_its_probe(is_let_pass_here: bool) -> None:
    breaker = QuietBreaker(limited(state=BreakerState.HALF_OPEN, allow="probes"))
    breaker.probes = {"permit"}
    downstream = one_place(breaker)
    gate = gate_of(downstream)
    if is_let_pass_here:
        assert isinstance(await downstream.admit("permit", "acme", held=True), Ticket)
    call = Call(downstream="scanner", tenant="acme", permit="permit", probe="permit", probe_epoch=3)
    answers = await asyncio.gather(*(gate.begin(call, f"call-{n}") for n in range(5)))
    (passed,) = (answer for answer in answers if isinstance(answer, Ticket))
    assert passed.probe == "permit"
    gate.end(call, passed, Ended(CallOutcome.SUCCESS, 1))
    assert isinstance(await gate.begin(call, "later"), Refusal), "it has been made"
    await downstream.close()


async def test_calls_under_one_permit_are_counted_one_by_one() -> None:
    downstream = one_place(QuietBreaker(limited(limit=LimitPolicy(max_in_flight=3))))
    gate = gate_of(downstream)
    await downstream.admit("permit", "acme", held=True)
    call = Call(downstream="scanner", tenant="acme", permit="permit")
    answers = await asyncio.gather(*(gate.begin(call, f"call-{n}") for n in range(4)))
    passed = [answer for answer in answers if isinstance(answer, Ticket)]
    assert len(passed) == len(downstream.flights) == 3
    for ticket in passed:
        gate.end(call, ticket, Ended(CallOutcome.SUCCESS, 1))
    assert not downstream.flights
    await downstream.close()


# Probes -------------------------------------------------------------------------------------------


async def test_a_call_that_asks_for_a_probe_again_gets_a_new_answer(clock: Clock) -> None:
    half_open = limited(state=BreakerState.HALF_OPEN, allow="probes")
    breaker = QuietBreaker(half_open)
    downstream = one_place(breaker)
    refused = await downstream.admit("call", "acme")
    assert isinstance(refused, Refusal)
    assert refused.reason.code is ReasonCode.PROBES_BUSY
    breaker.lets_probe("call", half_open)  # one has said nothing, so another may take its place
    clock.at(1)
    passed = await downstream.admit("call", "acme")
    assert isinstance(passed, Ticket)
    assert passed.probe == "call"
    await downstream.close()
