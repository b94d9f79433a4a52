"""``headgate apply``: from what runs to what a configuration says, and nothing more."""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import uuid4

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate.clock import now_ms
from headgate.gate.kinds import KINDS, governing
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import BreakerView
from headgate.model.configuration import Configuration
from headgate.model.entity import CHANGED_SINCE, EntityOptions
from headgate.model.errors import BelowUsageError, ConflictError, UnavailableError
from headgate.model.ids import DEFAULT, GOVERNANCE_TASK_QUEUE, Kind, workflow_id
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolSettings, PoolView
from headgate.model.quota import Throttle
from headgate.model.settings import BreakerSettings, LedgerSettings, Reconfigure
from headgate.orchestrator.answers import last_polled_ms
from headgate.orchestrator.change import Change, change_of
from headgate.orchestrator.operate import new_command_id
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore

_AT_ONCE: Final = 8
_ASK_S: Final = 10.0
_TELL_S: Final = 20.0
Settings = BreakerSettings | LedgerSettings | PoolSettings
View = BreakerView | LedgerView | PoolView


@dataclass(slots=True)
class Plan:
    """What has to change for what runs to be as the configuration says.

    Attributes:
        changes: Line by line.
        settings: What the workflows are to be told.
        below_usage: Limits that would be below what is held now, in sentences.
        held: Units that jobs and calls hold, by tenant and resource, of the ledgers that run.
        applied: What was applied when this was reckoned.
        revisions: Of the workflows that have been told, by target.
    """

    changes: list[Change] = field(default_factory=list)
    settings: dict[tuple[Kind, str], Settings] = field(default_factory=dict)
    below_usage: list[str] = field(default_factory=list)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    applied: Configuration = field(default_factory=Configuration)
    revisions: dict[str, int] = field(default_factory=dict)

    def below_held(self) -> list[str]:
        """Return a sentence for each capacity that is lowered below what is held of it.

        That is no reason to refuse it: jobs go on, and the pool is divided when they have ended.
        """
        found: list[str] = []
        for change in self.changes:
            kind, _, pool = change.target.partition("/")
            settings = self.settings.get(("governor", pool))
            if kind != "governor" or not isinstance(settings, PoolSettings) or not change.before:
                continue
            before = PoolSettings.model_validate(change.before)
            sharing = {*before.tenants, *settings.tenants}
            for resource, units in settings.capacity.items():
                held = sum(self.held.get(tenant, {}).get(resource, 0) for tenant in sharing)
                if units < before.capacity.get(resource, 0) and units < held:
                    found.append(
                        f"pool {pool} is to have {units} {resource}, but {held} are held: nothing "
                        "is taken back, and nothing granted until enough has come back"
                    )
        return found

    def require_room(self, allow_below_usage: bool) -> None:
        """Refuse limits that would be below what is held, unless that is allowed.

        Raises:
            BelowUsageError: There are such limits.
        """
        if self.below_usage and not allow_below_usage:
            raise BelowUsageError(self.below_usage)


class Configurator:
    """Compares a configuration with what runs, and applies it.

    Args:
        client: Of the namespace.
        database: Migrated.
        task_queue: Of the governance workers.
        options: How workflows that are started here keep house.
        worker_within_s: How long to wait for a governance worker that is just being started.
        shown: Is told what is being done, how many are done and of how many.
    """

    def __init__(
        self,
        client: Client,
        database: Database,
        task_queue: str = GOVERNANCE_TASK_QUEUE,
        options: EntityOptions | None = None,
        worker_within_s: float = 2.0,
        shown: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._options = options or EntityOptions()
        self._worker_within_s = worker_within_s
        self._shown = shown
        self._worker_seen = False
        self._looking = asyncio.Lock()
        self._configuration = ConfigurationStore(database)
        self._snapshots = SnapshotStore(database)

    async def plan(
        self,
        wanted: Configuration,
        *,
        only_new: bool = False,
        based_on: Configuration | None = None,
    ) -> Plan:
        """Return what would change; changes nothing.

        Args:
            wanted: What is to be.
            only_new: Look only at what is to be otherwise than it was applied; not also at what
                runs otherwise than it was applied.
            based_on: What was applied when ``wanted`` was made; None: it is looked up.

        Raises:
            UnavailableError: Something that runs cannot be asked what it runs with.
        """
        applied = await self._configuration.load() if based_on is None else based_on
        plan = Plan(applied=applied)
        throttles = await self._configuration.resource_throttles()
        subjects: dict[Kind, set[str]] = {
            "breaker": {*wanted.downstreams, *applied.downstreams},
            "ledger": {*wanted.tenants, *applied.tenants},
            "governor": {*wanted.pools, *applied.pools},
        }
        limit = asyncio.Semaphore(_AT_ONCE)

        async def compare(kind: Kind, subject: str) -> None:
            async with limit:
                new = _wanted(wanted, throttles, kind, subject)
                if not only_new or new != _wanted(applied, throttles, kind, subject):
                    await self._compare(plan, kind, subject, new)

        for kind, named in subjects.items():
            named |= {*await self._snapshots.subjects(kind)}
        await self._counted(
            "asking what runs",
            [
                compare(kind, subject)
                for kind, named in subjects.items()
                for subject in sorted(named - {DEFAULT})
            ],
        )
        self._compare_documents(plan, applied, wanted)
        plan.changes.sort(key=lambda change: change.target)
        return plan

    async def apply(
        self,
        wanted: Configuration,
        actor: str,
        reason: str,
        allow_below_usage: bool = False,
        *,
        how: str | None = None,
        request_id: str | None = None,
    ) -> Plan:
        """Make what runs be as ``wanted`` says; what already is, is left alone.

        The configuration is stored first, in one transaction with the audit. A workflow that
        starts from then on begins with it, and when telling one that runs fails, applying again
        finishes the work.

        Args:
            wanted: What is to be.
            actor: Who.
            reason: Why.
            allow_below_usage: Also if a limit is then below what is held.
            how: How the actor was authenticated.
            request_id: The same for every attempt: it is done once, and a repeat is told what the
                first attempt has changed. None: whatever is asked is done.

        Raises:
            BelowUsageError: A limit would be below what is held, and that is not allowed.
            OutdatedError: Somebody else has applied something meanwhile; nothing was changed.
            UnavailableError: No governance worker runs, and nothing was changed; or a workflow
                could not be told.
        """
        if request_id is not None and (done := await self.done_by(request_id)) is not None:
            return Plan(changes=done)
        plan = await self.plan(wanted)
        if not plan.changes and request_id is not None:
            # A late repeat must not find this undone by others, and do it after all.
            nothing = {"configuration": {"before": None, "after": None}}
            await self._configuration.save(
                wanted,
                actor,
                reason,
                nothing,
                based_on=plan.applied,
                request_id=request_id,
                how=how,
            )
        if plan.changes:
            await self.carry_out(
                plan, wanted, actor, reason, allow_below_usage, how=how, request_id=request_id
            )
        return plan

    async def done_by(self, request_id: str) -> list[Change] | None:
        """Return what a request has changed, and tell whoever could not be told; None: not done.

        Raises:
            UnavailableError: One could not be told.
        """
        rows = await self._configuration.applied_by(request_id)
        if not rows:
            return None
        await self.finish([row["target"] for row in rows])
        return [
            change_of(row["target"], row["before"], row["after"])
            for row in rows
            if row["before"] != row["after"]
        ]

    async def carry_out(
        self,
        plan: Plan,
        wanted: Configuration,
        actor: str,
        reason: str,
        allow_below_usage: bool = False,
        *,
        request_id: str | None = None,
        how: str | None = None,
        if_revision: Mapping[str, int] | None = None,
    ) -> None:
        """Do what a plan says, unless something else has been applied since it was made.

        Args:
            plan: What changes.
            wanted: What it was made for.
            actor: Who.
            reason: Why.
            allow_below_usage: Also if a limit is then below what is held.
            request_id: By which it stands in the audit.
            how: How the actor was authenticated; None: as is known of the request.
            if_revision: By target: the ledger refuses it if people have set something since.

        Raises:
            ConflictError: One has refused. What is stored stays so: take it back.
            BelowUsageError: See ``apply``; so are the others.
            OutdatedError: See there.
            UnavailableError: See there.
        """
        plan.require_room(allow_below_usage)
        if plan.settings:
            await self._require_worker()
        await self._configuration.save(
            wanted,
            actor,
            reason,
            {c.target: {"before": c.before, "after": c.after} for c in plan.changes},
            based_on=plan.applied,
            request_id=request_id or new_command_id(),
            how=how,
        )
        await self._tell(plan, if_revision or {})

    async def finish(self, targets: Collection[str]) -> None:
        """Tell those that have not been told yet what was applied to them.

        Args:
            targets: Such as ``ledger/acme``; others are left alone.

        Raises:
            UnavailableError: One could not be told.
        """
        applied = await self._configuration.load()
        throttles = await self._configuration.resource_throttles()
        plan = Plan(applied=applied)
        for kind in KINDS:
            for target in targets:
                name, _, subject = target.partition("/")
                if name == kind and subject != DEFAULT:
                    new = _wanted(applied, throttles, kind, subject)
                    await self._compare(plan, kind, subject, new)
        await self._tell(plan, {})

    async def _tell(self, plan: Plan, if_revision: Mapping[str, int]) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def tell(kind: Kind, subject: str, settings: Settings) -> None:
            target = f"{kind}/{subject}"
            order: tuple[str, object] = ("configure", settings)
            if target in if_revision and isinstance(settings, LedgerSettings):
                decided = Reconfigure(settings=settings, if_revision=if_revision[target])
                order = ("reconfigure", decided)
            async with limit:
                try:
                    view = await self._workflow(kind, subject).update(
                        *order, f"apply:{uuid4()}", KINDS[kind].view, give_up_s=_TELL_S
                    )
                except WorkflowUpdateFailedError as error:
                    why = error.cause
                    if not isinstance(why, ApplicationError) or why.type != CHANGED_SINCE:
                        raise
                    view = await self.running(kind, subject)
                    # It may have been told by an attempt whose answer was lost.
                    at_ms = now_ms()
                    if view is None or _as_of(_settings(view), at_ms) != _as_of(settings, at_ms):
                        raise ConflictError(why.message) from error
            plan.revisions[target] = view.revision

        # Ledgers before governors, which raise nothing until they have heard what those hold who
        # have joined: a ledger that knows says so at once. (Who comes back is granted nothing
        # meanwhile, whatever it was given once.)
        kinds = list(KINDS)
        settings = sorted(plan.settings.items(), key=lambda one: kinds.index(one[0][0]))
        # One that cannot be told is no reason to leave the others half told.
        told = await self._counted(
            "telling what runs",
            [tell(kind, subject, new) for (kind, subject), new in settings],
            return_exceptions=True,
        )
        failed = [
            (key, end)
            for (key, _), end in zip(settings, told, strict=True)
            if isinstance(end, BaseException)
        ]
        for _, error in failed:
            if isinstance(error, ConflictError):
                raise error
            if not isinstance(error, UnavailableError | WorkflowUpdateFailedError | RPCError):
                raise error
        if failed:
            (kind, subject), end = failed[0]
            why = end.cause if isinstance(end, WorkflowUpdateFailedError) else end
            raise UnavailableError(
                f"stored, but {len(failed)} of {len(told)} could not be told; apply again to "
                f"finish. The first: {kind}/{subject}: {' '.join(str(why).split())}"
            )

    async def _counted(
        self,
        doing: str,
        steps: Sequence[Coroutine[Any, Any, None]],
        *,
        return_exceptions: bool = False,
    ) -> list[BaseException | None]:
        """Do all of it at once, as far as it may be, and show how many are done."""
        done = 0

        async def counted(step: Coroutine[Any, Any, None]) -> None:
            nonlocal done
            try:
                await step
            finally:
                done += 1
                self._shown(doing, done, len(steps))

        return await asyncio.gather(
            *(counted(step) for step in steps), return_exceptions=return_exceptions
        )

    async def _compare(self, plan: Plan, kind: Kind, subject: str, new: Settings) -> None:
        view = await self.running(kind, subject)
        if isinstance(view, LedgerView):
            plan.held[subject] = {
                name: units - view.leased.get(name, 0) for name, units in view.units_held.items()
            }
        at_ms = now_ms()
        new = _as_of(new, at_ms)
        now = None if view is None else _as_of(_settings(view), at_ms)
        if now == new or (now is None and new.source != "listed"):
            return
        if isinstance(view, LedgerView) and isinstance(new, LedgerSettings):
            plan.below_usage += await self._workflow(kind, subject).query(
                "below_usage", list[str], timeout_s=_ASK_S, argument=new
            )
        plan.settings[kind, subject] = new
        action: Literal["create", "update", "remove"] = "update"
        if now is None:
            action = "create"
        elif now.source == "listed" and new.source != "listed":
            action = "remove"
        plan.changes.append(
            Change(
                action,
                f"{kind}/{subject}",
                None if now is None else now.model_dump(mode="json"),
                new.model_dump(mode="json"),
            )
        )

    def _compare_documents(self, plan: Plan, applied: Configuration, wanted: Configuration) -> None:
        """Compare what is stored: defaults, pools, notifier, alerts, what is listed but differs.

        The last is what does not run, or runs right although it is not stored so.
        """
        pairs: dict[str, tuple[Any, Any]] = {
            "notifier": (applied.notifier, wanted.notifier),
            "alerts": (applied.alerts, wanted.alerts),
        }
        sections: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
            ("breaker", {**applied.downstreams}, {**wanted.downstreams}),
            ("ledger", {**applied.tenants}, {**wanted.tenants}),
            ("group", {**applied.groups}, {**wanted.groups}),
            ("governor", {**applied.pools}, {**wanted.pools}),
            ("activity", {**applied.activities}, {**wanted.activities}),
        )
        for section, before, after in sections:
            for name in sorted({*before, *after}):
                pairs[f"{section}/{name}"] = (before.get(name), after.get(name))
        planned = {change.target for change in plan.changes}
        for target, (old, new) in pairs.items():
            if old == new or target in planned:
                continue
            was = None if old is None else old.model_dump(mode="json")
            is_now = None if new is None else new.model_dump(mode="json")
            plan.changes.append(change_of(target, was, is_now))

    async def running(self, kind: Kind, subject: str) -> View | None:
        """Return the state of a workflow, or None when it does not run.

        Raises:
            UnavailableError: It runs, and does not answer.
        """
        handle = self._client.get_workflow_handle(workflow_id(kind, subject))
        deadline = time.monotonic() + _ASK_S
        while True:
            try:
                description = await handle.describe()
                if description.status is not WorkflowExecutionStatus.RUNNING:
                    return None
                await self._require_worker()
                state: View = await self._workflow(kind, subject).query(
                    "state", KINDS[kind].view, timeout_s=_ASK_S
                )
                return state
            except (RPCError, WorkflowQueryFailedError) as error:
                if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                    return None
                # One that has just been started may not have been restored yet.
                if time.monotonic() > deadline:
                    reason = " ".join(str(error).split())
                    raise UnavailableError(
                        f"{workflow_id(kind, subject)} does not answer ({reason}); "
                        f"is a governance worker running on task queue {self._task_queue}?"
                    ) from error
            await asyncio.sleep(0.1)

    async def _require_worker(self) -> None:
        """Make sure that somebody polls, before anything is stored that nobody would be told of.

        The server remembers a poller for some minutes, so this finds a worker that was never
        started, or in another namespace; one that has just died shows when it does not answer.

        Raises:
            UnavailableError: Nobody polls.
        """
        async with self._looking:
            deadline = time.monotonic() + self._worker_within_s
            while not self._worker_seen:
                polled_ms = await last_polled_ms(self._client, self._task_queue)
                self._worker_seen = polled_ms is not None
                if self._worker_seen:
                    return
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"no governance worker polls task queue {self._task_queue} in namespace "
                        f"{self._client.namespace}, and nothing was changed: "
                        "start one with headgate worker"
                    )
                await asyncio.sleep(0.1)

    def _workflow(self, kind: Kind, subject: str) -> GovernanceWorkflow:
        return governing(self._client, kind, subject, self._options, self._task_queue)


def _wanted(wanted: Configuration, throttles: list[Throttle], kind: Kind, subject: str) -> Settings:
    """Return what one workflow is to run with."""
    if kind == "breaker":
        return wanted.breaker(subject)
    if kind == "governor":
        return wanted.governor(subject)
    return wanted.ledger(subject).model_copy(update={"resource_throttles": throttles})


def _settings(view: View) -> Settings:
    """Return what one workflow runs with."""
    if isinstance(view, LedgerView):
        return LedgerSettings(
            quotas=view.quotas,
            source=view.quota_source,
            pools=view.pools,
            group=view.group,
            paused=view.paused,
            resource_throttles=view.resource_throttles,
            alerts=view.alert_rules,
        )
    return view.settings


def _as_of(settings: Settings, at_ms: int) -> Settings:
    """Return settings without the throttles that are over: ledgers are not told when they end."""
    if not isinstance(settings, LedgerSettings):
        return settings
    holding = [
        one for one in settings.resource_throttles if one.until_ms is None or one.until_ms > at_ms
    ]
    return settings.model_copy(update={"resource_throttles": holding})
