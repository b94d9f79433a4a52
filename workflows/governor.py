"""GovernorWorkflow: divides one pool between the ledgers of its tenants."""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, ClassVar, NoReturn

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.exceptions import ApplicationError

from headgate.allocation.governor import Governor
from headgate.allocation.governor_record import GovernorInput, GovernorRecord
from headgate.allocation.left import have_said_so
from headgate.allocation.operator import nothing_to_resume, obey
from headgate.allocation.ways import Ways
from headgate.model.alert_rules import AlertRules
from headgate.model.audit import AuditEntry
from headgate.model.entity import ALLOCATE_SIGNAL, NOT_FOUND, WATCH_LIMIT_SIGNAL
from headgate.model.ids import Kind, workflow_id
from headgate.model.limits import CapacityNews, PressureView
from headgate.model.pool import MOST_NAMED, Demand, PoolCommand, PoolSettings, PoolView
from headgate.model.snapshot import Restored, SaveResult, Snapshot
from headgate.packed import PACKED_FROM, pack, unpack
from headgate.workflows.details import pool_details
from headgate.workflows.entity import Entity, decoded, now_ms, require, require_unchanged

_RECORD = TypeAdapter(GovernorRecord)
_AT_ONCE = 100
_MOST_SHOWN = 50
"""Members in the Temporal UI: it is told of every change."""

_AS_MEANT = "headgate-pools-as-meant"
_MOST_KNOWN = "headgate-most-known"
_ENDS_SOMETHING = "headgate-pools-resume-what-is-set"
_LEFT_AS_SAID = "headgate-pools-left-as-said"
_LEFT_ASKED = "headgate-asked-when-left"
_GROUPS_PASSED = "headgate-full-groups-passed"
_STACK = "headgate-capacities-stack"


@workflow.defn
class GovernorWorkflow(Entity):
    """Hears what ledgers hold and want, and tells them what they may hold."""

    kind: ClassVar[Kind] = "governor"

    @workflow.init
    def __init__(self, start: GovernorInput) -> None:
        super().__init__(start.pool, start.options, start.saved_revision)
        self._ways = Ways(
            as_before=not workflow.patched(_AS_MEANT),
            knows_most=workflow.patched(_MOST_KNOWN),
            asks_who_left=workflow.patched(_LEFT_ASKED),
            passes_full_groups=workflow.patched(_GROUPS_PASSED),
            stacks=workflow.patched(_STACK),
        )
        record = start.record
        if start.packed is not None:
            record = _RECORD.validate_json(unpack(start.packed))
        self._governor = Governor(record, self._ways) if record is not None else None

    @workflow.run
    async def run(self, start: GovernorInput) -> None:
        """Live until continued as new."""
        await self.live()

    # Messages ----------------------------------------------------------------------------------

    @workflow.signal(description="A ledger says what it holds and wants (model.pool.Demand).")
    def demand(self, *arguments: Any) -> None:
        """Take in a demand. Takes whatever is sent; what cannot be used is left aside."""
        demand = decoded(Demand, arguments)
        if demand is not None:
            self.when_ready(lambda: self._governor_now.demand(demand, now_ms()))

    @workflow.signal(
        description="The breaker of the downstream that the pool follows says how many calls may "
        "be in flight (model.limits.CapacityNews)."
    )
    def capacity_follows(self, *arguments: Any) -> None:
        """Take in a limit. Takes whatever is sent, so that what cannot be used is counted."""
        news = decoded(CapacityNews, arguments)
        if news is None:
            self.when_ready(self._count_malformed)
        else:
            self.when_ready(lambda: self._governor_now.follow(news, now_ms()))

    @workflow.update(description="Take new settings (headgate apply).")
    async def configure(self, settings: PoolSettings) -> PoolView:
        """Change capacity, strategy or tenants; what is held stays held."""
        await workflow.wait_condition(lambda: self._governor is not None)
        self._configure(self._governor_now, settings, now_ms())
        self.changed()
        return self._governor_now.view(MOST_NAMED)

    @configure.validator
    def _is_settings(self, settings: PoolSettings) -> None:
        require(PoolSettings, settings)

    @workflow.update(description="An operator sets or throttles the capacity, or resumes.")
    async def command(self, command: PoolCommand) -> PoolView:
        """Do what an operator says; with dry_run, answer what it would be."""
        await workflow.wait_condition(lambda: self._governor is not None)
        governor = self._governor_now
        require_unchanged(
            command.if_revision, governor.record, command.id in governor.record.commands
        )
        why = nothing_to_resume(governor.record, command)
        if why is not None and workflow.patched(_ENDS_SOMETHING):
            raise ApplicationError(why, type=NOT_FOUND, non_retryable=True)
        if command.dry_run:
            copy = _RECORD.validate_json(_RECORD.dump_json(governor.record))
            governor = Governor(copy, self._ways)
        try:
            message = obey(governor, command, now_ms())
        except ValueError as error:
            raise ApplicationError(str(error), non_retryable=True) from error
        self.changed()
        return governor.view(MOST_NAMED).model_copy(update={"message": message})

    @command.validator
    def _is_command(self, command: PoolCommand) -> None:
        require(PoolCommand, command)

    @workflow.query(description="The pool: capacity, and who holds, wants and has been given what.")
    def state(self) -> PoolView:
        """Return the pool, of many members the first."""
        return self._governor_now.view(MOST_NAMED)

    @workflow.query(description="The same with all members, in JSON, compressed where it is long.")
    def whole(self) -> str:
        """Return a ``PoolView`` as ``headgate.packed`` packs it."""
        return pack(self._governor_now.view().model_dump_json())

    @workflow.query(description="How full the pool is, for those who produce work for it.")
    def backpressure(self) -> PressureView:
        """Return the level, as of the last workflow task: a timer ends it when it is time."""
        return self._governor_now.pressure()

    # The shell's side --------------------------------------------------------------------------

    @property
    def core(self) -> Governor | None:
        """The governor, once it has been restored."""
        return self._governor

    @property
    def record(self) -> GovernorRecord:
        """The record of the governor."""
        return self._governor_now.record

    @property
    def alert_rules(self) -> AlertRules | None:
        """See base class."""
        return self.record.settings.alerts

    def restore(self, restored: Restored, now_ms: int) -> None:
        """Go on from the snapshot, with the settings that were applied since."""
        settings = (
            PoolSettings.model_validate_json(restored.settings)
            if restored.settings is not None
            else PoolSettings()
        )
        if restored.state is None:
            self._governor = Governor.begin(
                self.subject, settings, restored.incarnation, self._ways
            )
            return
        record = _RECORD.validate_json(unpack(restored.state))
        self._governor = Governor.restore(record, restored.incarnation, self._ways)
        self._configure(self._governor, settings, now_ms)

    @staticmethod
    def _configure(governor: Governor, settings: PoolSettings, at_ms: int) -> None:
        matters = have_said_so(governor.record, settings.tenants)
        as_said = matters and workflow.patched(_LEFT_AS_SAID)
        governor.configure(settings, at_ms, as_said=as_said)

    def dump(self) -> tuple[str, str]:
        """See base class."""
        view = self._governor_now.view().model_dump_json()
        return pack(self._state()), pack(view)

    def _state(self) -> str:
        return _RECORD.dump_json(self.record).decode()

    def details(self) -> str:
        """See base class."""
        return pool_details(self._governor_now.view(_MOST_SHOWN))

    def unsaved_audit(self) -> list[AuditEntry]:
        """See base class."""
        return self.record.audit

    def saved(self, snapshot: Snapshot, result: SaveResult) -> None:
        """See base class."""
        self.record.audit = self.record.audit[len(snapshot.audit) :]

    def continue_as_new(self) -> NoReturn:
        """See base class."""
        carried = GovernorInput(self.subject, self.record, self.saved_revision, self.options)
        state = self._state()
        if len(state) >= PACKED_FROM:
            carried.record, carried.packed = None, pack(state)
        workflow.continue_as_new(carried)

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """See base class."""
        return (self._tell_ledgers(), self._ask_for_limit())

    async def _tell_ledgers(self) -> None:
        """Tell the ledgers what they may hold, those that lose first."""
        governor = self._governor_now
        while not self.draining:
            await workflow.wait_condition(governor.has_to_tell)
            batch = governor.to_tell()[:_AT_ONCE]
            # Shielded: a signal cut short by continue-as-new looks like a ledger that is not there.
            await asyncio.shield(asyncio.gather(*(self._tell_one(tenant) for tenant in batch)))
            self.changed()
            self.leave_mark()

    async def _ask_for_limit(self) -> None:
        """Ask the breaker of the downstream that the pool follows for its limit, once.

        It says by itself when the limit changes; but it may have done so before the pool followed
        it, or after the snapshot that this governor was restored from.
        """
        governor = self._governor_now
        while not self.draining:
            await workflow.wait_condition(lambda: governor.asks_for_limit() is not None)
            downstream = governor.asks_for_limit()
            assert downstream is not None
            breaker = workflow.get_external_workflow_handle(workflow_id("breaker", downstream))
            with suppress(ApplicationError):  # it does not run: it speaks up when it does
                await breaker.signal(WATCH_LIMIT_SIGNAL, self.subject)
            governor.asked_for_limit(downstream)
            self.leave_mark()

    async def _tell_one(self, tenant: str) -> None:
        governor = self._governor_now
        if tenant not in self.record.members:
            return  # it has left the pool since this was planned, in the same workflow task
        allocation = governor.allocation_of(tenant)
        ledger = workflow.get_external_workflow_handle(workflow_id("ledger", tenant))
        runs = True
        try:
            await ledger.signal(ALLOCATE_SIGNAL, allocation)
        except ApplicationError:
            runs = False  # no such ledger: nobody has asked for a permit of this tenant yet
        governor.told(tenant, allocation.sequence, runs)

    def _count_malformed(self) -> None:
        self.record.malformed += 1
        self.record.revision += 1

    @property
    def _governor_now(self) -> Governor:
        if self._governor is None:
            raise ValueError(f"governor {self.subject} is being restored from Postgres; ask again")
        return self._governor
