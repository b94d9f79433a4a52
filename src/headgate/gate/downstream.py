"""What a gate knows of one downstream: the verdict, the calls in flight, what to report."""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain, count
from typing import Final

from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from headgate.gate.clock import monotonic_s, now_ms
from headgate.gate.group_commit import GroupCommit
from headgate.gate.limiter import NO_LIMIT, Limiter, limiter_of
from headgate.gate.metrics import NOT_COUNTED, GateMetrics
from headgate.gate.outcomes import Ended, Outcomes
from headgate.gate.ramp import Ramp
from headgate.gate.ticket import Calm, Era, Refusal, Ticket
from headgate.gate.watch import PASSES, PATIENCE_MS, Watch
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import (
    UNKNOWN_EPOCH,
    BreakerState,
    CallOutcome,
    ProbeOutcome,
    ProbeReply,
    ProbeRequest,
    Report,
    Verdict,
)
from headgate.model.errors import UnavailableError
from headgate.model.lease import WhenAway
from headgate.model.reason import Reason, ReasonCode

_LOG = logging.getLogger("headgate.gate")

_VERDICT_AGE_MS: Final = 30_000
"""A verdict older than this is asked for again; meanwhile it stays in force."""

_VERDICT_OUTDATED_MS: Final = 120_000
"""A verdict older than this is not gone by before it has been asked for, if the breaker answers."""

_ANSWERS_WITHIN_S: Final = 1.0
"""So long a call waits for an answer of the breaker, when it should not go by what is known."""

_INTRODUCED_WITHIN_S: Final = 2.0
"""So long calls wait for the first answer, from when it was asked for."""

_LOST_S: Final = 10.0
"""For so long after the breaker has failed to answer it is asked, but nobody waits for that."""

_ASK_AGAIN_S: Final = 1.0

_CAUTION_S: Final = 0.5
"""How long a call waits for those in flight that may be about to trip the breaker."""

_PROMISE_S: Final = 10.0
"""So long a place is kept for the first call of a permit: it may be made in another process."""

_SPREAD: Final = 0.1
_RETRY_FORCED_MS: Final = 5_000
_RETRY_PROBE_MS: Final = 1_000
_MAX_PROBE_ASKS: Final = 50


class Downstream:
    """Admission to one downstream in this process.

    While all is well a call only has to be counted: that is done in ``lane`` without coming here,
    as long as ``calm_until_s`` lies ahead, and is added up when anything else happens.

    Attributes:
        verdict: That holds.
        era: Under what calls are let pass now.
        flights: Calls in flight.
        calm: Calls of this era that have ended well and are not added up yet.
        calm_until_s: Until when calls need no more than a count; 0: something is the matter.
        slow_s: From how many seconds on a call is slow.
        most: Calls that may be in flight.
        step_at_s: When the limit of calls in flight is judged next.

    Args:
        name: Of the downstream.
        gate: The gate's id.
        task_queue: Where the gate listens for verdicts.
        breaker: The workflow.
        metrics: What is counted for people.
    """

    def __init__(
        self,
        name: str,
        gate: str,
        task_queue: str,
        breaker: GovernanceWorkflow,
        metrics: GateMetrics = NOT_COUNTED,
    ) -> None:
        self.name = name
        self.verdict = Verdict.unknown(name)
        self._gate = gate
        self._task_queue = task_queue
        self._breaker = breaker
        self._metrics = metrics
        self._heard_at_ms = 0
        self.era = Era(UNKNOWN_EPOCH)
        self.flights: set[Ticket] = set()
        self.calm = Calm()
        self.calm_until_s = 0.0
        self.slow_s = math.inf
        self.most = NO_LIMIT
        self.step_at_s = math.inf
        self._promised: dict[str, Ticket] = {}
        self._begun: dict[str, int] = {}
        self._watch = Watch()
        self._limiter: Limiter | None = None
        self._queueing = 0
        self._probes_busy_until_ms = 0
        self._is_away = False
        self._lost_s = -math.inf
        self._introduced_by_s = 0.0
        self._ramp = Ramp()
        self._settled = asyncio.Event()
        self._outcomes = Outcomes()
        self._seq = count(1)
        self._ask = count(1)
        self._due_changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._introduction: asyncio.Task[None] | None = None
        self._reporter: asyncio.Task[None] | None = None
        self._refresh: asyncio.Task[None] | None = None
        self._probes = GroupCommit(self._lease_probes, _MAX_PROBE_ASKS)

    # Admission ---------------------------------------------------------------------------------

    async def admit(self, key: str, tenant: str, *, held: bool = False) -> Ticket | Refusal:
        """Let a call pass or not.

        Args:
            key: Identifies the call; the id of its probe, if it needs one.
            tenant: For whom; along a ramp tenants take turns.
            held: It is for a job's permit: nothing is in flight yet; ``begin`` finds it by the key.
        """
        await self.know()
        await self._bide()
        if self._has_to_queue():
            await self._queue()
            # Meanwhile those in flight may have failed, or the breaker may have opened.
            await self._bide()
        if (refusal := self.refusal()) is None:
            if self.when_lost is WhenAway.FAIL_OPEN:
                return self._let_pass(key, None, held)
            if self.verdict.allow == "probes":
                return await self._admit_probe(key, tenant, held)
            refusal = self._limited(tenant)
        if refusal is not None:
            self.count_rejected(tenant)
            return refusal
        return self._let_pass(key, None, held)

    @property
    def when_lost(self) -> WhenAway | None:
        """What holds because what is known is too old to go by and the breaker does not answer."""
        if self._is_away and now_ms() - self._heard_at_ms > _VERDICT_OUTDATED_MS:
            return self.verdict.when_away
        return None

    def refusal(self) -> Refusal | None:
        """Return why no call passes now, from what is known here, or None."""
        verdict, now = self.verdict, now_ms()
        if (away := self.when_lost) is WhenAway.FAIL_OPEN:
            return None
        if away is WhenAway.FAIL_CLOSED:
            message = f"the breaker of {self.name} has not answered for a while"
            return self._refuse(ReasonCode.UNAVAILABLE, message, now + _RETRY_FORCED_MS)
        if verdict.allow == "none":
            # Nobody knows when people will let calls pass again: ask from time to time.
            until = max(verdict.until_ms or now + _RETRY_FORCED_MS, now + 100)
            # A little apart, so that those who wait do not all come back in the same instant.
            until += int((until - now) * _SPREAD * random.random())  # noqa: S311 - no secret
            message = f"breaker of {self.name} is {verdict.state}: {verdict.reason}"
            by_people = verdict.state is BreakerState.FORCED_OPEN
            code = ReasonCode.FORCED_OPEN if by_people else ReasonCode.BREAKER_OPEN
            reason = Reason(code=code, message=message, endless=verdict.until_ms is None)
            return Refusal(reason, until)
        if verdict.allow == "probes" and now < self._probes_busy_until_ms:
            message = f"breaker of {self.name} is {verdict.state}: all probes are in flight"
            return self._refuse(ReasonCode.PROBES_BUSY, message, self._probes_busy_until_ms)
        if self._watch.holds_back(verdict, now):
            message = f"calls to {self.name} are held back for a moment: {self._watch.cause}"
            return self._refuse(ReasonCode.BREAKER_OPEN, message, self._watch.own_trip_until_ms)
        return None

    def begin(self, key: str) -> Ticket | None:
        """Let the first call under a permit pass that was let pass here, if it still may.

        None: it has to ask like any other. Another call of the permit was first, the permit was
        let pass in another process or some time ago, or what keeps calls away has come since.

        Args:
            key: Of the permit.
        """
        ticket = self._promised.pop(key, None)
        if ticket is None:
            return None
        now_s = monotonic_s()
        if ticket.probe is None and (
            now_s >= ticket.began_s + _PROMISE_S
            or (self._limiter is not None and len(self.flights) >= self._limiter.most)
            or self.refusal() is not None
        ):
            return None
        if ticket.probe is not None:
            self._begun[ticket.probe] = ticket.era.epoch
        ticket.era, ticket.began_s = self.era, now_s
        self.flights.add(ticket)
        return ticket

    def adopt(self, probe: str, epoch: int) -> Ticket | None:
        """Let a call pass as a probe that came with its permit; one call of the permit only."""
        if epoch < self.verdict.epoch or probe in self._begun:
            return None
        self._begun[probe] = epoch
        ticket = Ticket(Era(epoch), monotonic_s(), None, 0)
        ticket.probe = probe
        self.flights.add(ticket)
        return ticket

    def settle(self, ticket: Ticket, ended: Ended, tenant: str) -> None:
        """Take the outcome of a call of a tenant."""
        now = now_ms()
        if ended.outcome is CallOutcome.FAILURE:
            self._outcomes.affect(tenant)
        self.add_up()
        self.flights.discard(ticket)
        limit = self.verdict.slow_call_ms
        slow = limit is not None and ended.duration_ms >= limit
        if ticket.probe is not None:
            probe = ProbeOutcome(
                id=ticket.probe,
                epoch=ticket.era.epoch,
                outcome=ended.outcome,
                duration_ms=ended.duration_ms,
                retry_after_ms=ended.retry_after_ms,
            )
            self._outcomes.probes.append(probe)
            self._watch.settle_probe(now)
        else:
            epoch = ticket.era.epoch
            self._outcomes.add(ended, epoch, now, slow=slow)
            self._watch.settle(ended.outcome, epoch, self.verdict, now, slow=slow)
        if self._limiter is not None:
            took_ms = ended.duration_ms
            in_flight = len(self.flights) + 1
            limit_epoch = ticket.era.limit_epoch
            self._limiter.ended(ended, limit_epoch, now - took_ms, now, in_flight=in_flight)
        self._look_whether_calm()
        self._due_changed.set()
        self._stir()

    def forget(self, key: str) -> None:
        """Note that no call of a permit will begin any more, if none has."""
        ticket = self._promised.pop(key, None)
        if ticket is None:
            return
        if ticket.probe is not None:
            epoch = ticket.era.epoch
            self._outcomes.probes.append(
                ProbeOutcome(id=ticket.probe, epoch=epoch, outcome=CallOutcome.IGNORED)
            )
            self._report_by(now_ms())
        self._stir()

    def add_up(self) -> None:
        """Take in the calls that were only counted."""
        calm = self.calm
        if not calm.calls:
            return
        self.calm = Calm()
        at_ms = now_ms() - round((monotonic_s() - calm.last_s) * 1000)
        self._outcomes.add_calm(calm.calls, round(calm.duration_s * 1000), self.era.epoch, at_ms)
        self._watch.settle_calm(calm.calls, self.verdict, at_ms)
        if self._limiter is not None:
            duration_ms, squares = round(calm.duration_s * 1e3), round(calm.squares * 1e6)
            in_flight = len(self.flights) + 1
            self._limiter.ended_calmly(
                calm.calls, duration_ms, squares, now_ms(), in_flight=in_flight
            )

    def take(self, verdict: Verdict) -> None:
        """Take in a verdict, unless a later one is known."""
        self.add_up()
        self._heard_at_ms = now_ms()
        if self._is_away:
            self._is_away = False
            self._lost_s = -math.inf
            _LOG.warning("the breaker of %s answers again", self.name)
        if verdict.epoch < self.verdict.epoch:
            self._look_whether_calm()
            return
        self._watch.hear(verdict, self.verdict, self._heard_at_ms)
        self._metrics.heard(verdict, self.verdict, self._heard_at_ms)
        if verdict.epoch != self.verdict.epoch:
            self._probes_busy_until_ms = 0
            self._promised.clear()
            self._begun = {id: at for id, at in self._begun.items() if at >= verdict.epoch}
            if verdict.allow == "ramp":
                self._ramp.begin(self._heard_at_ms)
        self.verdict = verdict
        self._limiter = limiter_of(self._limiter, self.name, verdict.limit)
        if self._limiter is not None and verdict.limit is not None:
            self._limiter.follow(verdict.limit, verdict.limit_epoch)
        self.slow_s = math.inf if verdict.slow_call_ms is None else verdict.slow_call_ms / 1000
        self._look_whether_calm()
        self._stir()

    # Reporting ---------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Report what there is; one report at a time."""
        async with self._sending:
            self.add_up()
            buckets, probes = self._outcomes.take()
            self._watch.report(buckets, now_ms())
            self._metrics.reported(self.name, buckets, probes)
            seq = next(self._seq)
            limiter = self._limiter
            summary = None if limiter is None else limiter.summary(self._gate, seq)
            await self._send(
                Report(
                    gate=self._gate,
                    seq=seq,
                    task_queue=self._task_queue,
                    buckets=buckets,
                    probes=probes,
                    calls=summary,
                    affected=self._outcomes.take_affected(),
                )
            )

    async def close(self) -> None:
        """Stop, and report what is left."""
        async with self._sending:  # a report that is under way is not cut short
            tasks = [
                task
                for task in (self._introduction, self._reporter, self._refresh)
                if task is not None and not task.done()
            ]
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.add_up()
        if self._outcomes:
            await self.flush()

    # Inside ------------------------------------------------------------------------------------

    async def know(self) -> None:
        """Make sure that a verdict is known, if one is to be had, and not too old."""
        if self._introduction is None:
            self._introduction = asyncio.create_task(self._introduce())
            self._reporter = asyncio.create_task(self._report_when_due())
            self._introduced_by_s = monotonic_s() + _INTRODUCED_WITHIN_S
        if not self._introduction.done():
            left_s = self._introduced_by_s - monotonic_s()
            if left_s > 0:
                await asyncio.wait([self._introduction], timeout=left_s)
            return
        age_ms = now_ms() - self._heard_at_ms
        if age_ms <= _VERDICT_AGE_MS:
            return
        lost_for_s = monotonic_s() - self._lost_s
        if (self._refresh is None or self._refresh.done()) and lost_for_s >= _ASK_AGAIN_S:
            self._refresh = asyncio.create_task(self._ask_verdict())
        if age_ms > _VERDICT_OUTDATED_MS and lost_for_s >= _LOST_S:
            # So long silent, this gate may not have been told of a trip: ask before the call.
            assert self._refresh is not None
            await asyncio.wait([self._refresh], timeout=_ANSWERS_WITHIN_S)

    async def _introduce(self) -> None:
        """Say hello, so that the breaker runs and knows this gate, and ask what holds."""
        await self.flush()
        await self._ask_verdict()

    async def _ask_verdict(self) -> None:
        try:
            self.take(await self._breaker.query("verdict", Verdict, timeout_s=2))
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            self._lost_s = monotonic_s()
            if not self._is_away:
                self._is_away = True
                # What is known stays in force; the next use asks again.
                _LOG.warning("verdict of %s not learned, going on as before: %s", self.name, error)

    def may_soon_pass(self) -> bool:
        """Return whether what keeps calls away may be over in a moment."""
        return self.refusal() is not None and self._watch.is_patient(self.verdict, now_ms())

    def _is_risky(self) -> bool:
        began_ms = (
            round(ticket.began_s * 1000) for ticket in chain(self.flights, self._promised.values())
        )
        return self._watch.is_cautious(self.verdict, began_ms, round(monotonic_s() * 1000))

    async def _wait_while(self, holds: Callable[[], bool], at_most_s: float) -> None:
        """Wait while something holds that an outcome or a verdict may change, but not for long."""
        if not holds():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while holds():
                    await self._settled.wait()

    async def _bide(self) -> None:
        """Wait a moment for what may soon be over, or may soon show how the downstream is."""
        if self.refusal() is not None:
            await self._wait_while(self.may_soon_pass, PATIENCE_MS / 1000)
        if self.refusal() is None:
            # Do not send more calls after a failing one than the breaker would let fail.
            await self._wait_while(self._is_risky, _CAUTION_S)

    def _has_to_queue(self) -> bool:
        """Return whether a call would pass if there were a place among those in flight."""
        limiter = self._limiter
        return (
            limiter is not None
            and self._places_taken() >= limiter.most
            and self.verdict.allow in PASSES
            and self.when_lost is not WhenAway.FAIL_OPEN
            and self.refusal() is None
        )

    async def _queue(self) -> None:
        """Wait a moment for a place among the calls in flight."""
        self._queueing += 1
        self._look_whether_calm()  # who leaves has to say so
        try:
            await self._wait_while(self._has_to_queue, PATIENCE_MS / 1000)
        finally:
            self._queueing -= 1

    def _limited(self, tenant: str) -> Refusal | None:
        """Return what stands in the way of a call now: then it takes nothing that others need."""
        limiter = self._limiter
        if limiter is None:
            return self._not_yet(tenant)
        places = self._places_taken()
        refusal = limiter.refusal(places, now_ms()) or self._not_yet(tenant)
        if refusal is None:
            limiter.begin(places)
        return refusal

    def _not_yet(self, tenant: str) -> Refusal | None:
        """Return why a call has to wait for its share, or None when it may pass."""
        now, verdict = now_ms(), self.verdict
        if verdict.allow == "all":
            self._ramp.count(now)
            return None
        share, rising = verdict.share(now), verdict.is_ramp
        if self._ramp.passes(tenant, share, now, rising=rising):
            return None
        message = f"{self.name} is coming back: {share * 100:.3g}% of its calls pass now"
        if not rising:
            message = f"{share * 100:.3g}% of the calls to {self.name} pass now: {verdict.reason}"
        pause_ms = self._ramp.pause_ms(share, rising=rising)
        return self._refuse(ReasonCode.RAMP, message, now + pause_ms)

    def _let_pass(self, key: str, probe: str | None, held: bool = False) -> Ticket:
        ticket = Ticket(self.era, monotonic_s(), None, 0)
        ticket.probe = probe
        if held:
            # The same permit again is one whose answer got lost; the latest comes last.
            self._promised.pop(key, None)
            self._promised[key] = ticket
            self._forget_old()
        else:
            self.flights.add(ticket)
        return ticket

    def _places_taken(self) -> int:
        """Return how many calls are in flight or, under a permit, about to begin."""
        self._forget_old()
        return len(self.flights) + len(self._promised)

    def _forget_old(self) -> None:
        """Keep no place for long: many a job goes on, or ends, in another process."""
        old: list[str] = []
        since_s = monotonic_s() - _PROMISE_S
        for key, ticket in self._promised.items():
            if ticket.began_s > since_s:
                break
            if ticket.probe is None:  # of a probe the breaker wants to hear
                old.append(key)
        for key in old:
            del self._promised[key]

    def _stir(self) -> None:
        """Have those who wait look again."""
        self._settled.set()
        self._settled.clear()

    def _look_whether_calm(self) -> None:
        """Say until when calls need only be counted: while there is nothing to decide or to tell.

        From the first call on that is counted so, a report is due; ``lane`` sees to that.
        """
        fresh_ms = self._heard_at_ms + _VERDICT_AGE_MS - now_ms()
        is_calm = self.verdict.allow == "all" and fresh_ms > 0 and self._watch.is_calm
        limiter, limit_epoch = self._limiter, 0
        if limiter is not None:
            is_calm = is_calm and limiter.is_quiet and not self._queueing
            limit_epoch = limiter.epoch
            self.most = limiter.most
            self.step_at_s = monotonic_s() + (limiter.step_at_ms - now_ms()) / 1000
        else:
            self.most, self.step_at_s = NO_LIMIT, math.inf
        if (self.era.epoch, self.era.limit_epoch) != (self.verdict.epoch, limit_epoch):
            self.era = Era(self.verdict.epoch, limit_epoch)
        self.calm_until_s = monotonic_s() + fresh_ms / 1000 if is_calm else 0.0

    def note_calm(self) -> None:
        """Note that a call has been counted: it is to be reported in time."""
        self._report_by(now_ms() + self.verdict.report_every_ms)

    async def _admit_probe(self, key: str, tenant: str, held: bool) -> Ticket | Refusal:
        epoch = self.verdict.epoch
        try:
            granted = await self._probes.ask(key)
        except UnavailableError as error:
            self.count_rejected(tenant)
            return self._refuse(ReasonCode.UNAVAILABLE, str(error), now_ms() + _RETRY_PROBE_MS)
        if granted and self.verdict.epoch == epoch:
            return self._let_pass(key, key, held)
        if self.verdict.allow in PASSES:
            return self._let_pass(key, None, held)
        if self.verdict.allow == "probes":
            self._probes_busy_until_ms = now_ms() + _RETRY_PROBE_MS
        self.count_rejected(tenant)
        refusal = self.refusal()
        assert refusal is not None
        return refusal

    async def _lease_probes(self, keys: Sequence[str]) -> list[bool]:
        request = ProbeRequest(gate=self._gate, epoch=self.verdict.epoch, ids=list(keys))
        # Temporal answers an id that it knows with what it said then: each ask needs its own. Those
        # whose answer gets lost are known to the breaker by the ids of their probes.
        update_id = f"{self._gate}:{next(self._ask)}:{request.epoch}"
        reply = await self._breaker.update(
            "lease_probes", request, update_id, ProbeReply, give_up_s=3
        )
        self.take(reply.verdict)
        return [key in reply.granted for key in keys]

    def count_rejected(self, tenant: str) -> None:
        """Count a call of a tenant that was not let pass."""
        now = now_ms()
        self._outcomes.affect(tenant)
        self._outcomes.reject(self.verdict.epoch, now)
        self._report_by(now + self.verdict.report_every_ms)

    def _refuse(self, code: ReasonCode, message: str, retry_at_ms: int) -> Refusal:
        return Refusal(Reason(code=code, message=message), retry_at_ms)

    def _report_by(self, at_ms: int) -> None:
        self._watch.report_by(at_ms)
        self._due_changed.set()

    async def _report_when_due(self) -> None:
        while True:
            self._due_changed.clear()
            due = self._watch.due_ms
            pause_s = None if due is None else (due - now_ms()) / 1000
            if pause_s is None or pause_s > 0:
                try:
                    async with asyncio.timeout(pause_s):
                        await self._due_changed.wait()
                except TimeoutError:
                    pass
                continue
            await self.flush()

    async def _send(self, report: Report) -> None:
        """Send a report until the server has it: the same number each time, so it counts once."""
        has_told = False
        while True:
            try:
                await self._breaker.signal("report", report, give_up_s=10)
            except UnavailableError as error:
                if not has_told:
                    _LOG.warning("report for %s not delivered, trying on: %s", self.name, error)
                    has_told = True
                continue
            return
