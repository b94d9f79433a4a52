"""The gate: one for each worker process."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from temporalio.client import Client
from temporalio.worker import Worker

from headgate.activities.verdicts import VerdictActivities
from headgate.gate.clock import monotonic_s, now_ms
from headgate.gate.downstream import Downstream
from headgate.gate.job_holds import JobHolds
from headgate.gate.kinds import governing
from headgate.gate.lane import Lane
from headgate.gate.ledger import LedgerLink
from headgate.gate.metrics import GateMetrics
from headgate.gate.outcomes import Ended
from headgate.gate.slots import WorkerSlots
from headgate.gate.stock import UNGOVERNED
from headgate.gate.ticket import Refusal, Ticket
from headgate.gate.waiting import Shortage
from headgate.model.breaker import Verdict
from headgate.model.contract import Message
from headgate.model.entity import EntityOptions
from headgate.model.errors import UnavailableError
from headgate.model.ids import gate_task_queue
from headgate.model.lease import LeaseHolder
from headgate.model.ledger import Acquire, Admit, Decision, Outcome, Release
from headgate.model.outcomes import OutcomeRules
from headgate.model.reason import Reason, ReasonCode

_RETRY_UNAVAILABLE_MS: Final = 1_000
_LEASE_PATIENCE_S: Final = 1.0
"""How long a job's permit waits for a block; then it takes its place in the ledger's line."""


class Call(Message):
    """A governed call, as the header of its activity carries it.

    Attributes:
        downstream: What is called.
        tenant: For whom.
        permit: Under which permit.
        resource: Of which resource that is.
        probe: The probe of a half-open breaker that came with the permit.
        probe_epoch: Its epoch.
    """

    downstream: str
    tenant: str
    permit: str
    resource: str | None = None
    probe: str | None = None
    probe_epoch: int | None = None


class Gate:
    """Answers admission in this process, and reports the outcomes of its calls.

    Args:
        client: Of the namespace in which the governance workflows run.
        task_queue: Of the governance workers.
        options: How the workflows that this gate starts keep house.
        for_others: It answers for jobs whose calls are made, and whose permits are given back, in
            other processes. So every permit is the ledger's own, and what it lets pass is not
            among its own calls in flight.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str,
        options: EntityOptions,
        *,
        for_others: bool = False,
    ) -> None:
        self.id = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = client
        self._task_queue = task_queue
        self._options = options
        self._for_others = for_others
        self._downstreams: dict[str, Downstream] = {}
        self._ledgers: dict[str, LedgerLink] = {}
        self._lanes: dict[tuple[str, str, str | None], Lane] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._metrics = GateMetrics.of(client)
        self.is_running = False
        self.slots = WorkerSlots()
        self.jobs = JobHolds(self._ledger)
        self._unsure: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen for verdicts; at the end, report what is left."""
        listener = Worker(
            self._client,
            task_queue=gate_task_queue(self.id),
            activities=[VerdictActivities(self.take).push_verdict],
            max_concurrent_activity_task_polls=2,
        )
        self._loop = asyncio.get_running_loop()
        async with listener:
            self.is_running = True
            try:
                yield
            finally:
                self.is_running = False
                await self._close()

    def call_soon(self, do: Callable[[], None]) -> None:
        """Do something in the gate's thread; may be called in any other."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(do)

    def take(self, verdict: Verdict) -> None:
        """Take in a verdict that a breaker has pushed."""
        self._downstream(verdict.downstream).take(verdict)

    # Jobs --------------------------------------------------------------------------------------

    async def admit(self, request: Admit) -> Decision:
        """Decide whether a job may go on: its downstream first, then its tenant's quota.

        A refusal leaves nothing behind: no permit is held, no probe is leased.
        """
        began_s = monotonic_s()
        decision = await self._decide(request)
        self._metrics.decided(request.resource, decision, monotonic_s() - began_s)
        return decision

    async def _decide(self, request: Admit) -> Decision:
        downstream = self._downstream(request.downstream) if request.downstream else None
        if downstream is not None and (refusal := downstream.refusal()) is not None:
            # Known without asking anybody, and most of the time while a breaker is open.
            told = refusal
            if not request.held:
                needs = {request.resource: request.units, **request.also}
                told = await self._ledger(request.tenant).outlooks.ranked(refusal, needs)
            if told is refusal:
                downstream.count_rejected(request.tenant)
            return await self._refused(request, told)
        if request.held:
            decision = await self._still_held(request)
        else:
            decision = await self._acquire(request)
        if decision.outcome is Outcome.GRANTED and not self._for_others:
            # This gate runs in the process of the job, so it hears of the end without an activity.
            decision = decision.model_copy(update={"quiet": True})
        if downstream is None or decision.outcome is not Outcome.GRANTED:
            return decision
        passed = await downstream.admit(request.id, request.tenant, held=True)
        if isinstance(passed, Refusal):
            return await self._refused(request, passed, held=True)
        if passed.probe is None:
            if self._for_others:
                downstream.forget(request.id)
            return decision
        probe = {"probe": passed.probe, "probe_epoch": passed.era.epoch}
        return decision.model_copy(update=probe)

    async def release(self, message: Release) -> None:
        """Give back what a job holds, or withdraw what it asked for.

        Raises:
            UnavailableError: The ledger did not confirm; trying again is right and harmless.
        """
        if message.downstream is not None:
            self._downstream(message.downstream).forget(message.id)
        self._unsure.discard(message.id)
        if not self.jobs.let_go(message.tenant, message.id):
            await self._ledger(message.tenant).release(message.id)

    def release_soon(self, message: Release) -> None:
        """The same without waiting; lost with the process, it is found again."""
        if message.downstream is not None:
            self._downstream(message.downstream).forget(message.id)
        self._unsure.discard(message.id)
        if not self.jobs.let_go(message.tenant, message.id):
            self._ledger(message.tenant).release_soon(message.id)

    # Calls -------------------------------------------------------------------------------------

    async def begin(self, call: Call, key: str) -> Ticket | Refusal:
        """Let a call under a job's permit pass or not, right before it is made.

        The first call of a permit passes with what the permit was let pass with; the others ask for
        themselves, so that they are counted one by one, and none passes as another's probe.

        Args:
            call: As its header says.
            key: Of this call alone; the id of its probe, if it needs one of its own.
        """
        downstream = self._downstream(call.downstream)
        if (ticket := downstream.begin(call.permit)) is not None:
            return ticket
        if call.probe is not None and call.probe_epoch is not None:
            adopted = downstream.adopt(call.probe, call.probe_epoch)
            if adopted is not None:
                return adopted
        return await downstream.admit(key, call.tenant)

    def lane(self, downstream: str, tenant: str, resource: str | None) -> Lane:
        """Return the way of calls to a downstream for a tenant, out of its quota of a resource.

        Args:
            downstream: What is called.
            tenant: For whom.
            resource: What is counted for it; None: nothing, or it is counted already.
        """
        key = (downstream, tenant, resource)
        found = self._lanes.get(key)
        if found is None:
            to = self._downstream(downstream)
            if resource is None:
                found = Lane(to, tenant, None)
            else:
                link = self._ledger(tenant)
                found = Lane(to, tenant, link.stock(resource), link.outlooks)
            self._lanes[key] = found
        return found

    async def hold_for_job(
        self,
        workflow_id: str,
        run_id: str,
        tenant: str,
        resource: str,
        units: int,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
        is_first: bool = True,
    ) -> Refusal | None:
        """Have a job hold units until it ends; see ``JobHolds.hold``."""
        stock = self._ledger(tenant).stock(resource)
        shortage = await self.jobs.hold(
            *(workflow_id, run_id, stock, units, patience_s),
            hold_ms=hold_ms,
            priority=priority,
            is_first=is_first,
        )
        return None if shortage is None else shortage.refusal(now_ms())

    def rules(self, call: Call) -> OutcomeRules:
        """Return how outcomes of a call are classified."""
        return self._downstream(call.downstream).verdict.outcomes

    def end(self, call: Call, ticket: Ticket, ended: Ended) -> None:
        """Record how a call ended."""
        self._downstream(call.downstream).settle(ticket, ended, call.tenant)

    # Inside ------------------------------------------------------------------------------------

    async def _still_held(self, request: Admit) -> Decision:
        """Ask whether a permit that was waited for is there, before the job goes on with it.

        A refusal gives it back. When that answer is lost, with a workflow task that took too long
        or with its worker, the same question comes again, and by then the breaker may let pass.
        """
        asked = request.model_copy(update={"wait_until_ms": None})
        decision = await self._acquire(asked, from_block=False)
        if decision.reason is not None and decision.reason.code is ReasonCode.UNAVAILABLE:
            return Decision(id=request.id, outcome=Outcome.GRANTED)  # as far as anybody knows
        return decision

    async def _acquire(self, request: Admit, *, from_block: bool = True) -> Decision:
        acquire = Acquire(
            id=request.id,
            holder=request.holder,
            resource=request.resource,
            units=request.units,
            also=request.also,
            wait_until_ms=request.wait_until_ms,
            priority=request.priority,
        )
        link = self._ledger(request.tenant)
        try:
            leased = await self._leased(link, request) if from_block else None
            decision = leased or await link.acquire(acquire)
            self._unsure.discard(request.id)
            return decision
        except UnavailableError as error:
            if from_block:
                self._unsure.add(request.id)  # until it is given back, or asked again
            return Decision(
                id=request.id,
                outcome=Outcome.DENIED,
                retry_at_ms=now_ms() + _RETRY_UNAVAILABLE_MS,
                reason=Reason(code=ReasonCode.UNAVAILABLE, message=str(error)),
            )

    async def _leased(self, link: LedgerLink, request: Admit) -> Decision | None:
        """Grant a permit out of this gate's block, or return None: the ledger has to be asked.

        The answer may get lost with the workflow task, and then the same request comes again.
        """
        if request.also or request.id in self._unsure:
            return None
        stock = None if self._for_others else link.stock_of_jobs(request.resource)
        if stock is None:
            return None
        grant = stock.block.grant
        hold_ms = 0 if grant is None else grant.max_hold_ms
        granted = Decision(
            id=request.id, outcome=Outcome.GRANTED, expires_at_ms=now_ms() + hold_ms or None
        )
        if self.jobs.knows(request.tenant, request.id):
            return granted
        taken = await stock.take(
            request.units, _LEASE_PATIENCE_S, hold_ms=hold_ms, priority=request.priority
        )
        if isinstance(taken, Shortage):
            return None
        if taken is not UNGOVERNED:
            job = LeaseHolder(
                id=request.id,
                workflow_id=request.holder.workflow_id,
                run_id=request.holder.run_id,
                units=request.units,
            )
            self.jobs.keep(stock, taken, job)
        return granted

    async def _refused(self, request: Admit, refusal: Refusal, *, held: bool = False) -> Decision:
        is_held = held or request.held
        if is_held and not self.jobs.let_go(request.tenant, request.id):
            await self._ledger(request.tenant).release(request.id)
        return Decision(
            id=request.id,
            outcome=Outcome.DENIED,
            retry_at_ms=refusal.retry_at_ms,
            reason=refusal.reason,
        )

    def _downstream(self, name: str) -> Downstream:
        found = self._downstreams.get(name)
        if found is None:
            breaker = governing(self._client, "breaker", name, self._options, self._task_queue)
            queue = gate_task_queue(self.id)
            found = Downstream(name, self.id, queue, breaker, self._metrics)
            self._downstreams[name] = found
        return found

    def _ended(self, tenant: str, id: str) -> None:
        """Take back what a permit has here, whose job has closed elsewhere."""
        self.jobs.ended(tenant, id)
        for downstream in self._downstreams.values():
            downstream.forget(id)

    def _ledger(self, tenant: str) -> LedgerLink:
        found = self._ledgers.get(tenant)
        if found is None:
            ledger = governing(self._client, "ledger", tenant, self._options, self._task_queue)
            ended = partial(self._ended, tenant)
            found = LedgerLink(tenant, self.id, ledger, ended, self.slots.now, self._metrics)
            self._ledgers[tenant] = found
        return found

    async def _close(self) -> None:
        """Report what is left; a gate that cannot do so in time loses only statistics."""
        closing = asyncio.gather(
            *(downstream.close() for downstream in self._downstreams.values()),
            *(ledger.close() for ledger in self._ledgers.values()),
            return_exceptions=True,
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(closing, timeout=5)
