"""What a gate knows of one downstream: the verdict, the calls in flight, what to report."""

import asyncio
import itertools
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError

from headgate.gate.clock import now_ms
from headgate.gate.group_commit import GroupCommit
from headgate.gate.outcomes import Ended, Outcomes
from headgate.gate.ramp import Ramp
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import (
    UNKNOWN_EPOCH,
    CallOutcome,
    ProbeOutcome,
    ProbeReply,
    ProbeRequest,
    Report,
    Verdict,
)
from headgate.model.errors import UnavailableError
from headgate.model.reason import Reason, ReasonCode

_LOG = logging.getLogger("headgate.gate")

_VERDICT_AGE_MS: Final = 30_000
"""A verdict older than this is asked for again; meanwhile it stays in force."""

_VERDICT_OUTDATED_MS: Final = 120_000
"""A verdict older than this is not gone by before it has been asked for, if the breaker answers."""

_CAUTION_S: Final = 0.5
"""How long a call waits for those in flight that may be about to trip the breaker."""

_OWN_TRIP_MS: Final = 5_000
"""How long a gate holds back by itself until the breaker has spoken."""

_PASSES: Final = ("all", "ramp")
_SPREAD: Final = 0.1
_RETRY_FORCED_MS: Final = 5_000
_MIN_REPORT_MS: Final = 1_000
_RETRY_PROBE_MS: Final = 1_000
_MAX_PROBE_ASKS: Final = 50


@dataclass(slots=True)
class Ticket:
    """A call that was let pass.

    Attributes:
        epoch: The verdict's under which it was.
        at_ms: When.
        probe: The probe it holds, if any.
    """

    epoch: int
    at_ms: int
    probe: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was not let pass: why, and when to try again."""

    reason: Reason
    retry_at_ms: int


class Downstream:
    """Admission to one downstream in this process.

    Args:
        name: Of the downstream.
        gate: The gate's id.
        task_queue: Where the gate listens for verdicts.
        breaker: The workflow.
    """

    def __init__(self, name: str, gate: str, task_queue: str, breaker: GovernanceWorkflow) -> None:
        self.name = name
        self.verdict = Verdict.unknown(name)
        self._gate = gate
        self._task_queue = task_queue
        self._breaker = breaker
        self._heard_at_ms = 0
        self._in_flight: dict[str, Ticket] = {}
        self._in_a_row = 0
        self._has_settled = False
        self._told_failing = False
        self._own_trips = 0
        self._own_trip_until_ms = 0
        self._probes_busy_until_ms = 0
        self._ramp = Ramp()
        self._settled = asyncio.Event()
        self._outcomes = Outcomes()
        self._seq = itertools.count(1)
        self._reported_at_ms = 0
        self._report_due_ms: int | None = None
        self._due_changed = asyncio.Event()
        self._sending = asyncio.Lock()
        self._introduction: asyncio.Task[None] | None = None
        self._reporter: asyncio.Task[None] | None = None
        self._refresh: asyncio.Task[None] | None = None
        self._probes = GroupCommit(self._lease_probes, _MAX_PROBE_ASKS)

    # Admission ---------------------------------------------------------------------------------

    async def admit(self, key: str, tenant: str) -> Ticket | Refusal:
        """Let a call pass or not.

        Args:
            key: Identifies the call until ``settle``; the permit's id.
            tenant: For whom; along a ramp tenants take turns.
        """
        await self._know_verdict()
        if self.refusal() is None:
            await self._caution()  # the verdict may change meanwhile
        if (refusal := self.refusal()) is None:
            if self.verdict.allow == "probes":
                return await self._admit_probe(key)
            refusal = self._not_yet(tenant)
        if refusal is not None:
            self.count_rejected()
            return refusal
        return self._let_pass(key, None)

    def refusal(self) -> Refusal | None:
        """Return why no call passes now, from what is known here, or None."""
        verdict, now = self.verdict, now_ms()
        if verdict.allow == "none":
            # Nobody knows when people will let calls pass again: ask from time to time.
            until = max(verdict.until_ms or now + _RETRY_FORCED_MS, now + 100)
            # A little apart, so that those who wait do not all come back in the same instant.
            until += int((until - now) * _SPREAD * random.random())  # noqa: S311 - no secret
            message = f"breaker of {self.name} is {verdict.state}: {verdict.reason}"
            return self._refuse(ReasonCode.BREAKER_OPEN, message, until)
        if verdict.allow == "probes" and now < self._probes_busy_until_ms:
            message = f"breaker of {self.name} is {verdict.state}: all probes are in flight"
            return self._refuse(ReasonCode.PROBES_BUSY, message, self._probes_busy_until_ms)
        if verdict.allow in _PASSES and now < self._own_trip_until_ms:
            message = f"{self._in_a_row} calls to {self.name} in a row failed here"
            return self._refuse(ReasonCode.BREAKER_OPEN, message, self._own_trip_until_ms)
        return None

    def ticket(self, key: str) -> Ticket | None:
        """Return the ticket of a call that was let pass here and still may go on."""
        ticket = self._in_flight.get(key)
        if ticket is not None and ticket.epoch != self.verdict.epoch:
            if self.verdict.allow in ("none", "probes"):
                self.forget(key)
                return None
            ticket.epoch = self.verdict.epoch
        return ticket

    def adopt(self, key: str, probe: str, epoch: int) -> Ticket | None:
        """Return a ticket for a probe that was leased by another process for this call."""
        if epoch < self.verdict.epoch:
            return None
        ticket = self._in_flight[key] = Ticket(epoch, now_ms(), probe)
        return ticket

    def settle(self, key: str, ticket: Ticket, ended: Ended) -> None:
        """Take the outcome of a call."""
        now = now_ms()
        self._in_flight.pop(key, None)
        self._has_settled = True
        limit = self.verdict.slow_call_ms
        slow = limit is not None and ended.duration_ms >= limit
        if ticket.probe is not None:
            probe = ProbeOutcome(
                id=ticket.probe,
                epoch=ticket.epoch,
                outcome=ended.outcome,
                duration_ms=ended.duration_ms,
                retry_after_ms=ended.retry_after_ms,
            )
            self._outcomes.probes.append(probe)
            self._report_by(now)
        else:
            self._outcomes.add(ended, ticket.epoch, now, slow=slow)
            self._watch(ended.outcome, ticket, now, slow=slow)
        self._settled.set()
        self._settled.clear()

    def forget(self, key: str) -> None:
        """Note that a call that was let pass will not be made."""
        ticket = self._in_flight.pop(key, None)
        if ticket is not None and ticket.probe is not None:
            self._outcomes.probes.append(
                ProbeOutcome(id=ticket.probe, epoch=ticket.epoch, outcome=CallOutcome.IGNORED)
            )
            self._report_by(now_ms())

    def take(self, verdict: Verdict) -> None:
        """Take in a verdict, unless a later one is known."""
        self._heard_at_ms = now_ms()
        if verdict.epoch < self.verdict.epoch:
            return
        first = self.verdict.epoch == UNKNOWN_EPOCH and verdict.allow == "all"
        if verdict.epoch != self.verdict.epoch and not first:
            self._in_a_row = self._own_trips = 0
            self._own_trip_until_ms = 0
            self._probes_busy_until_ms = 0
            if verdict.allow == "ramp":
                self._ramp.begin(self._heard_at_ms)
        self.verdict = verdict
        self._settled.set()
        self._settled.clear()

    # Reporting ---------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Report what there is; one report at a time."""
        async with self._sending:
            buckets, probes = self._outcomes.take()
            self._told_failing = any(bucket.trailing_failures for bucket in buckets)
            self._report_due_ms = None
            self._reported_at_ms = now_ms()
            await self._send(
                Report(
                    gate=self._gate,
                    seq=next(self._seq),
                    task_queue=self._task_queue,
                    buckets=buckets,
                    probes=probes,
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
        if self._outcomes:
            await self.flush()

    # Inside ------------------------------------------------------------------------------------

    async def _know_verdict(self) -> None:
        """Make sure that a verdict is known, if one is to be had, and not too old."""
        if self._introduction is None:
            self._introduction = asyncio.create_task(self._introduce())
            self._reporter = asyncio.create_task(self._report_when_due())
        if not self._introduction.done():
            await asyncio.wait([self._introduction], timeout=2)
            return
        age_ms = now_ms() - self._heard_at_ms
        if age_ms <= _VERDICT_AGE_MS:
            return
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._ask_verdict())
        if age_ms > _VERDICT_OUTDATED_MS:
            # So long silent, this gate may not have been told of a trip: ask before the call.
            await asyncio.wait([self._refresh], timeout=1)

    async def _introduce(self) -> None:
        """Say hello, so that the breaker runs and knows this gate, and ask what holds."""
        await self.flush()
        await self._ask_verdict()

    async def _ask_verdict(self) -> None:
        try:
            self.take(await self._breaker.query("verdict", Verdict, timeout_s=2))
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            # What is known stays in force; the next use asks again.
            _LOG.warning("verdict of %s not learned, going on as before: %s", self.name, error)

    async def _caution(self) -> None:
        """Do not send more calls after a failing one than the breaker would let fail.

        With ``n`` failures in a row seen here and a limit of ``N``, at most ``N - n`` calls are in
        flight at once: a further one waits a moment for one of those to settle. So a downstream
        that has died gets no more than ``N`` calls from this gate, however many jobs there are,
        beyond those that were under way when the first one failed. Before any call of this gate
        has come back it is as careful, for the same moment: nobody knows how the downstream is.
        """
        limit = self.verdict.consecutive_failures
        deadline = asyncio.get_running_loop().time() + _CAUTION_S
        while (
            limit is not None
            and (self._in_a_row > 0 or not self._has_settled)
            and self._young() >= max(1, limit - self._in_a_row)
        ):
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    await self._settled.wait()
            except TimeoutError:
                return

    def _young(self) -> int:
        """Return how many calls in flight may be about to settle."""
        since = now_ms() - 10_000
        return sum(1 for ticket in self._in_flight.values() if ticket.at_ms >= since)

    def _not_yet(self, tenant: str) -> Refusal | None:
        """Return why a call has to wait for the ramp to rise, or None when it may pass."""
        now = now_ms()
        if self.verdict.allow == "all":
            self._ramp.count(now)
            return None
        share = self.verdict.share(now)
        if self._ramp.passes(tenant, share, now):
            return None
        message = f"{self.name} is coming back: {share:.0%} of its calls pass now"
        return self._refuse(ReasonCode.RAMP, message, now + self._ramp.pause_ms(share))

    def _let_pass(self, key: str, probe: str | None) -> Ticket:
        ticket = self._in_flight[key] = Ticket(self.verdict.epoch, now_ms(), probe)
        return ticket

    async def _admit_probe(self, key: str) -> Ticket | Refusal:
        epoch = self.verdict.epoch
        try:
            granted = await self._probes.ask(key)
        except UnavailableError as error:
            self.count_rejected()
            return self._refuse(ReasonCode.UNAVAILABLE, str(error), now_ms() + _RETRY_PROBE_MS)
        if granted and self.verdict.epoch == epoch:
            return self._let_pass(key, key)
        if self.verdict.allow in ("all", "ramp"):
            return self._let_pass(key, None)
        if self.verdict.allow == "probes":
            self._probes_busy_until_ms = now_ms() + _RETRY_PROBE_MS
        self.count_rejected()
        refusal = self.refusal()
        assert refusal is not None
        return refusal

    async def _lease_probes(self, keys: Sequence[str]) -> list[bool]:
        request = ProbeRequest(gate=self._gate, epoch=self.verdict.epoch, ids=list(keys))
        reply = await self._breaker.update(
            "lease_probes", request, f"{keys[0]}:{request.epoch}", ProbeReply, give_up_s=3
        )
        self.take(reply.verdict)
        return [key in reply.granted for key in keys]

    def count_rejected(self) -> None:
        """Count a call that was not let pass."""
        now = now_ms()
        self._outcomes.reject(self.verdict.epoch, now)
        self._report_by(now + self.verdict.report_every_ms)

    def _refuse(self, code: ReasonCode, message: str, retry_at_ms: int) -> Refusal:
        return Refusal(Reason(code=code, message=message), retry_at_ms)

    def _watch(self, outcome: CallOutcome, ticket: Ticket, now: int, *, slow: bool) -> None:
        """Notice at once what the breaker will decide, and report the sooner the worse it is."""
        if outcome is CallOutcome.SUCCESS:
            self._in_a_row = self._own_trips = 0
        elif outcome is CallOutcome.FAILURE and ticket.epoch in (self.verdict.epoch, UNKNOWN_EPOCH):
            self._in_a_row += 1
        if outcome is not CallOutcome.FAILURE and not slow:
            if self._told_failing and outcome is CallOutcome.SUCCESS:
                # The breaker counts a row of failures here that has just ended.
                self._report_by(max(now, self._reported_at_ms + _MIN_REPORT_MS))
            else:
                # Along a ramp every outcome is awaited.
                part = 1 if self.verdict.allow == "all" else 4
                self._report_by(now + self.verdict.report_every_ms // part)
            return
        limit = self.verdict.consecutive_failures
        if limit is not None and self._in_a_row >= limit and self.verdict.allow in _PASSES:
            if now >= self._own_trip_until_ms:
                # When the time is over one more failure is enough, and doubles it: a node that is
                # bad while others are well keeps itself away, with a call now and then to see.
                self._own_trip_until_ms = now + _OWN_TRIP_MS * 2 ** min(self._own_trips, 2)
                self._own_trips += 1
            self._report_by(now)
        else:
            # Sooner than while all is well, and still seldom for a large fleet.
            pause_ms = min(_MIN_REPORT_MS, self.verdict.report_every_ms // 4)
            self._report_by(max(now, self._reported_at_ms + pause_ms))

    def _report_by(self, at_ms: int) -> None:
        if self._report_due_ms is None or at_ms < self._report_due_ms:
            self._report_due_ms = at_ms
            self._due_changed.set()

    async def _report_when_due(self) -> None:
        while True:
            self._due_changed.clear()
            due = self._report_due_ms
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
        while True:
            try:
                await self._breaker.signal("report", report, give_up_s=10)
            except UnavailableError as error:
                _LOG.warning("report for %s not delivered, trying on: %s", self.name, error)
                continue
            return
