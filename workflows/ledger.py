"""LedgerWorkflow: the durable account of one tenant."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from headgate.model.alert_rules import AlertRules
from headgate.model.audit import AuditEntry
from headgate.model.entity import (
    DEMAND_SIGNAL,
    FIND_CLOSED,
    GRANTED_SIGNAL,
    REFUSED_SIGNAL,
    ClosedHolders,
    HolderCheck,
    HolderRef,
)
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import (
    CommandReply,
    Exchange,
    ExchangeReply,
    Hello,
    LedgerCommand,
    LedgerPage,
    LedgerView,
    Outlook,
    Release,
    Turn,
    WhyView,
)
from headgate.model.pool import Allocation, Demand
from headgate.model.settings import LedgerSettings, Reconfigure
from headgate.model.snapshot import Restored, SaveResult, Snapshot
from headgate.packed import PACKED_FROM, pack, unpack
from headgate.quota import Ledger, LedgerInput, LedgerRecord
from headgate.quota.demand import TELL_EVERY_MS
from headgate.quota.ways import Ways
from headgate.workflows.details import ledger_details
from headgate.workflows.entity import Entity, decoded, now_ms, require, require_unchanged

_RECORD = TypeAdapter(LedgerRecord)
_AT_ONCE = 100
_UNHURRIED = "headgate-unhurried-blocks"
_THOROUGH = "headgate-jobs-in-several-blocks"
_LINES = "headgate-lines-at-gates"
_SEES_IDLE = "headgate-idle-is-not-used"
_NOTES_LEFT = "headgate-held-when-left"
_AS_MEANT = "headgate-limits-as-meant"
_HEARS_ANEW = "headgate-pools-heard-anew"
_ONE_OVERRIDE = "headgate-one-override"
_SILENT_GATES = "headgate-silent-gates"
_USABLE_DEMAND = "headgate-usable-demand"
_WAITERS_MINDED = "headgate-waiters-minded"
_GOVERNOR_AWAY = timedelta(seconds=10)
_TELL_EVERY = timedelta(milliseconds=TELL_EVERY_MS)


@workflow.defn
class LedgerWorkflow(Entity):
    """Grants permits, keeps those who wait in line, and finds permits that were left behind."""

    kind: ClassVar[Kind] = "ledger"

    @workflow.init
    def __init__(self, start: LedgerInput) -> None:
        super().__init__(start.tenant, start.options, start.saved_revision)
        # Decided before the first message, in this order: each leaves a marker.
        is_as_meant = workflow.patched(_AS_MEANT)
        self._ways = Ways(
            as_before=not is_as_meant,
            hears_anew=workflow.patched(_HEARS_ANEW),
            sees_silence=workflow.patched(_SILENT_GATES),
            sees_idle=workflow.patched(_SEES_IDLE),
            notes_left=workflow.patched(_NOTES_LEFT),
            asks_for_usable=workflow.patched(_USABLE_DEMAND),
            minds_waiters=workflow.patched(_WAITERS_MINDED),
            asks_first=is_as_meant,
        )
        record = start.record
        if start.packed is not None:
            record = _RECORD.validate_json(unpack(start.packed))
        self._ledger = self._around(record) if record is not None else None

    @workflow.run
    async def run(self, start: LedgerInput) -> None:
        """Live until continued as new."""
        await self.live()

    # Messages ----------------------------------------------------------------------------------

    @workflow.update(description="A gate releases and acquires permits, many at once.")
    async def exchange(self, message: Exchange) -> ExchangeReply:
        """Do the releases, then answer each acquire: granted, waiting, or denied with a reason."""
        if not await self.is_ready():
            return ExchangeReply(decisions=[], revision=-1, ready=False)
        reply = self._ledger_now.exchange(message, now_ms())
        # Gates that get what they want from blocks are a fleet at work.
        only_blocks = not message.acquires and not message.releases
        self.changed(routine=only_blocks and not any(one.reason for one in reply.leases))
        return reply

    @exchange.validator
    def _is_exchange(self, message: Exchange) -> None:
        require(Exchange, message)

    @workflow.signal(description="A gate comes, or leaves (model.ledger.Hello).")
    def hello(self, *arguments: Any) -> None:
        """Take note of it. Takes whatever is sent; what cannot be used is left aside."""
        hello = decoded(Hello, arguments)
        if hello is None:
            return

        def act() -> bool:
            self._ledger_now.hello(hello, now_ms())
            return True

        self.when_ready(act)

    @workflow.query(description="When a gate may exchange.")
    def turn(self, gate: str) -> Turn:
        """Return a gate's turn, as of the last workflow task."""
        return self._ledger_now.turn(gate, now_ms())

    @workflow.signal(
        description="Give a permit back, or withdraw a request (model.ledger.Release)."
    )
    def release(self, *arguments: Any) -> None:
        """Release a permit by its id. Takes whatever is sent; what cannot be used is left aside."""
        release = decoded(Release, arguments)
        if release is not None:
            self.when_ready(lambda: self._ledger_now.release(release.id, now_ms()))

    @workflow.signal(
        description="The governor of a pool says what may be held (model.pool.Allocation)."
    )
    def allocate(self, *arguments: Any) -> None:
        """Take an allocation. Takes whatever is sent; what cannot be used is left aside."""
        allocation = decoded(Allocation, arguments)
        if allocation is not None:
            self.when_ready(lambda: self._ledger_now.allocate(allocation, now_ms()))

    @workflow.update(description="Take new quotas (headgate apply).")
    async def configure(self, settings: LedgerSettings) -> LedgerView:
        """Change the quotas; what is held and what was spent stays so."""
        await workflow.wait_condition(lambda: self._ledger is not None)
        return self._take(settings)

    @configure.validator
    def _is_settings(self, settings: LedgerSettings) -> None:
        require(LedgerSettings, settings)

    @workflow.update(
        description="Take new quotas unless people have set something since a revision "
        "(model.settings.Reconfigure)."
    )
    async def reconfigure(self, order: Reconfigure) -> LedgerView:
        """Change the quotas as ``configure`` does, or refuse."""
        await workflow.wait_condition(lambda: self._ledger is not None)
        require_unchanged(order.if_revision, self.record)
        return self._take(order.settings)

    @reconfigure.validator
    def _is_reconfigure(self, order: Reconfigure) -> None:
        require(Reconfigure, order)

    @workflow.update(description="An operator overrides, throttles, pauses, resumes or releases.")
    async def command(self, command: LedgerCommand) -> CommandReply:
        """Do what an operator says; with dry_run, answer what it would be."""
        await workflow.wait_condition(lambda: self._ledger is not None)
        ledger = self._ledger_now
        stacks = ledger.sets_again(command, now_ms()) and not workflow.patched(_ONE_OVERRIDE)
        reply = ledger.operate(command, now_ms(), stacks=stacks)
        self.changed()
        return reply

    @command.validator
    def _is_command(self, command: LedgerCommand) -> None:
        require(LedgerCommand, command)

    @workflow.query(description="Quotas, and what is held and waits of each resource.")
    def state(self) -> LedgerView:
        """Return the account."""
        return self._ledger_now.view()

    @workflow.query(description="Who holds permits, and who waits for one.")
    def holders(self) -> LedgerPage:
        """Return the account with its permits and waiters."""
        return self._ledger_now.page()

    @workflow.query(description="Which permits of a list are held, also out of blocks of gates.")
    def held(self, ids: list[str]) -> list[str]:
        """Return those of ``ids`` that are held, as of the last workflow task."""
        return self._ledger_now.held(ids)

    @workflow.query(
        description="Whether requests that a breaker keeps away could be granted without it."
    )
    def outlook(self, needs: list[dict[str, int]]) -> list[Outlook]:
        """Return what stands before any breaker of each, in units by resource."""
        return self._ledger_now.outlook(needs, now_ms())

    @workflow.query(description="Why the requests of a workflow wait, and what it holds.")
    def why(self, workflow_id: str) -> list[WhyView]:
        """Return what a workflow waits for and holds, as of the last workflow task."""
        return self._ledger_now.why_workflow(workflow_id, now_ms())

    @workflow.query(description="Which limits of new settings would be below what is held.")
    def below_usage(self, settings: LedgerSettings) -> list[str]:
        """Return a sentence for each limit that would be below what is held."""
        return self._ledger_now.below_usage(settings)

    def _take(self, settings: LedgerSettings) -> LedgerView:
        self._ledger_now.configure(settings, now_ms())
        self.changed()
        return self._ledger_now.view()

    # The shell's side --------------------------------------------------------------------------

    @property
    def core(self) -> Ledger | None:
        """The ledger, once it has been restored."""
        return self._ledger

    @property
    def record(self) -> LedgerRecord:
        """The record of the ledger."""
        return self._ledger_now.record

    def changed(self, *, routine: bool = False) -> None:
        """See base class; and nothing may ever be out of account."""
        self._ledger_now.check_conservation()
        super().changed(routine=routine)

    @property
    def alert_rules(self) -> AlertRules | None:
        """See base class."""
        return self.record.alert_rules

    def restore(self, restored: Restored, now_ms: int) -> None:
        """Go on from the snapshot, with the quotas that were applied since."""
        settings = (
            LedgerSettings.model_validate_json(restored.settings)
            if restored.settings is not None
            else LedgerSettings()
        )
        every_ms = self.options.check_holders_every_ms
        if restored.state is None:
            self._ledger = Ledger.begin(
                self.subject, settings, restored.incarnation, every_ms, self._ways
            )
            return
        record = _RECORD.validate_json(unpack(restored.state))
        self._ledger = Ledger.restore(record, restored.incarnation, now_ms, every_ms, self._ways)
        self._ledger.configure(settings, now_ms)

    def dump(self) -> tuple[str, str]:
        """See base class."""
        view = self._ledger_now.view().model_dump_json()
        return pack(self._state()), view

    def details(self) -> str:
        """See base class."""
        return ledger_details(self._ledger_now.view())

    def unsaved_audit(self) -> list[AuditEntry]:
        """See base class."""
        return self.record.audit

    def saved(self, snapshot: Snapshot, result: SaveResult) -> None:
        """See base class."""
        self._ledger_now.audited(snapshot.audit)

    def continue_as_new(self) -> NoReturn:
        """See base class."""
        carried = LedgerInput(self.subject, self.record, self.saved_revision, self.options)
        state = self._state()
        if len(state) >= PACKED_FROM:
            carried.record, carried.packed = None, pack(state)
        workflow.continue_as_new(carried)

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """See base class."""
        self._ways.is_unhurried = workflow.patched(_UNHURRIED)
        self._ways.is_thorough = workflow.patched(_THOROUGH)
        self._ways.hears_lines = workflow.patched(_LINES)
        return (self._wake(), self._look_after_holders(), self._tell_governors())

    async def _wake(self) -> None:
        """Tell those whose turn has come, in the activation that freed the capacity.

        And those who have lost their place in line, because people took them out of it or new
        quotas can never serve them.
        """
        record = self.record
        while not self.draining:
            await workflow.wait_condition(lambda: bool(record.wakes or record.turned_away))
            batch = [*record.turned_away, *record.wakes][:_AT_ONCE]
            # Shielded: a signal cut short by continue-as-new looks like a holder that has closed.
            # Whoever has not been told by then is told by the next run.
            await asyncio.shield(asyncio.gather(*(self._wake_one(request) for request in batch)))
            self.changed()
            self.leave_mark()

    async def _wake_one(self, request_id: str) -> None:
        ledger, record = self._ledger_now, self.record
        if (away := record.turned_away.get(request_id)) is not None:
            if _is_elsewhere(away.namespace):
                ledger.woken(request_id)  # no signal gets there: it is told when it asks again
                return
            waiter = workflow.get_external_workflow_handle(
                away.workflow_id, run_id=away.run_id or None
            )
            with suppress(ApplicationError):  # it has closed: nobody waits any more
                await waiter.signal(REFUSED_SIGNAL, away.decision)
        elif request_id in record.permits:
            permit, grant = ledger.grant_of(request_id)
            if _is_elsewhere(permit.namespace):
                ledger.woken(request_id)
                return
            holder = workflow.get_external_workflow_handle(
                permit.workflow_id, run_id=permit.run_id or None
            )
            try:
                await holder.signal(GRANTED_SIGNAL, grant)
            except ApplicationError:
                # It has closed while it waited; nobody else will give this permit back.
                ledger.reclaim(request_id, now_ms())
        ledger.woken(request_id)

    async def _look_after_holders(self) -> None:
        """Find those who have closed: permits are taken back, places in line are left."""
        ledger = self._ledger_now
        while not self.draining:
            await self.reach(ledger.next_check, "look after holders")
            holders = [
                HolderRef(
                    permit=permit,
                    workflow_id=workflow_id,
                    run_id=run_id,
                    namespace=self._namespace_of(permit),
                )
                for permit, workflow_id, run_id in ledger.holders_to_check(now_ms(), _AT_ONCE)
            ]
            if not holders:
                continue
            try:
                found = await workflow.execute_activity(
                    FIND_CLOSED,
                    HolderCheck(holders=holders),
                    result_type=ClosedHolders,
                    start_to_close_timeout=timedelta(seconds=30),
                    retry_policy=RetryPolicy(maximum_attempts=3),
                    summary=f"are {len(holders)} holders still running?",
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise  # cut short by continue-as-new
                workflow.logger.warning("holders of %s not checked: %s", self.subject, error.cause)
                self.leave_mark()
                continue
            for permit in found.permits:
                ledger.reclaim(permit, now_ms())
            if ledger.ways.asks_first:
                for permit in found.open:
                    ledger.runs(permit, now_ms())
            self.changed()
            self.leave_mark()

    async def _tell_governors(self) -> None:
        """Say what is held and wanted of each pool, when it has changed."""
        ledger = self._ledger_now

        def due_ms() -> int | None:
            return now_ms() if ledger.demands_due() else ledger.demands_due_at_ms()

        told_ms = 0
        while not self.draining:
            await self.reach(due_ms, "tell the governors")
            since_last = timedelta(milliseconds=now_ms() - told_ms)
            if since_last < _TELL_EVERY:
                # What changes meanwhile travels along.
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self.draining,
                        timeout=_TELL_EVERY - since_last,
                        timeout_summary="what else changes",
                    )
            demands = ledger.demands()
            # Shielded: a signal cut short by continue-as-new looks like a governor that is away.
            told = await asyncio.shield(
                asyncio.gather(*(self._tell_governor(demand) for demand in demands))
            )
            told_ms = now_ms()
            ledger.demands_sent([demand for demand in told if demand is not None])
            self.leave_mark()
            if None in told and not self.draining:
                with suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self.draining,
                        timeout=_GOVERNOR_AWAY,
                        timeout_summary="a governor is away",
                    )
                self.leave_mark()

    async def _tell_governor(self, demand: Demand) -> Demand | None:
        governor = workflow.get_external_workflow_handle(workflow_id("governor", demand.pool))
        try:
            await governor.signal(DEMAND_SIGNAL, demand)
        except ApplicationError:
            workflow.logger.warning("no governor runs for pool %s", demand.pool)
            return None
        return demand

    def _state(self) -> str:
        return _RECORD.dump_json(self.record).decode()

    def _namespace_of(self, permit: str) -> str:
        of = self.record.permits.get(permit) or self.record.waiters.get(permit)
        return "" if of is None else of.namespace  # one in a block belongs to a gate from here

    def _around(self, record: LedgerRecord) -> Ledger:
        every_ms = self.options.check_holders_every_ms
        return Ledger(record, every_ms, self._ways)

    @property
    def _ledger_now(self) -> Ledger:
        if self._ledger is None:
            raise ValueError(f"ledger {self.subject} is being restored from Postgres; ask again")
        return self._ledger


def _is_elsewhere(namespace: str) -> bool:
    return namespace not in ("", workflow.info().namespace)
