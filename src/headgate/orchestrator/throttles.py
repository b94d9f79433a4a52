"""Pauses and cuts of a resource for all tenants: stored, and every ledger that runs is told."""

import asyncio
from typing import Final, Literal

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError

from headgate.gate.kinds import governing
from headgate.model.audit import AuditEntry
from headgate.model.breaker import BreakerView, Override
from headgate.model.breaker import Throttle as BreakerThrottle
from headgate.model.contract import Message
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ids import DEFAULT, GOVERNANCE_TASK_QUEUE
from headgate.model.ledger import LedgerCommand, LedgerView, Lift
from headgate.model.pool import CapacityOverride, PoolView
from headgate.model.quota import Throttle
from headgate.model.settings import LedgerSettings
from headgate.orchestrator.holders import Answered, command_whoever_has
from headgate.orchestrator.operate import is_running, new_command_id
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore

_AT_ONCE: Final = 8
_TELL_S: Final = 20.0


class Spread(Message):
    """What became of a throttle that holds for all tenants.

    Attributes:
        throttle: The throttle that was set or lifted.
        dry_run: Nothing was changed.
        told: Ledgers that run and have been told, or would be; the others learn it when they start.
    """

    throttle: Throttle
    dry_run: bool = False
    told: int = 0


class InForce(Message):
    """A pause, cut, other quota or other override that operators have set, wherever it holds.

    Attributes:
        kind: Whose it is: a ``resource`` of all tenants, a ``tenant``, a ``pool``, a ``breaker``.
        subject: Which one.
        what: What is done to it, in words.
        share: What is left; null where that is not a share.
        resource: Of a tenant: which of its resources; ``*``: all.
        id: By which it is lifted; null: by ``resume`` of the pool or breaker.
        actor: Who set it.
        reason: Why.
        since_ms: Since when.
        until_ms: Until when; null: until people end it.
        revision: Of the workflow that does it, for ``If-Match``; null for a resource of all
            tenants, which is done by no single one.
        saved_at_ms: When that workflow last changed and was saved; null likewise.
        age_ms: How long ago that was; 0 for a resource, which Postgres itself knows best.
    """

    kind: Literal["resource", "tenant", "pool", "breaker"]
    subject: str
    what: str
    share: float | None = None
    resource: str | None = None
    id: str | None = None
    actor: str
    reason: str
    since_ms: int
    until_ms: int | None = None
    revision: int | None = None
    saved_at_ms: int | None = None
    age_ms: int = 0


async def throttles_in_force(database: Database, now_ms: int) -> list[InForce]:
    """Return all that operators have set and that holds now, as Postgres has it.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    store = SnapshotStore(database)
    everyone = await ConfigurationStore(database).resource_throttles()
    found = [_of_ledger("resource", one.resource, one) for one in everyone]
    known = {one.id for one in everyone}
    for ledger, saved_at_ms in await store.set_by_people("ledger", LedgerView):
        there = [
            InForce(
                kind="tenant",
                subject=ledger.tenant,
                what=one.changes.words,
                resource=one.resource,
                id=one.id,
                actor=one.actor,
                reason=one.reason,
                since_ms=one.begins_at_ms,
                until_ms=one.ends_at_ms,
            )
            for one in ledger.overrides
            if one.begins_at_ms <= now_ms
        ]
        own = [one for one in ledger.throttles if one.id not in known]
        there += [_of_ledger("tenant", ledger.tenant, one) for one in own]
        found += _seen(there, ledger.revision, saved_at_ms, now_ms)
    for pool, saved_at_ms in await store.set_by_people("governor", PoolView):
        there = [_of_pool(pool.pool, one) for one in reversed(pool.set_by_people)]
        found += _seen(there, pool.revision, saved_at_ms, now_ms)
    for view, saved_at_ms in await store.set_by_people("breaker", BreakerView):
        there = []
        if view.override is not None:
            there.append(_of_breaker(view.downstream, view.override.mode, None, view.override))
        if (cut := view.throttle) is not None:
            there.append(_of_breaker(view.downstream, _cut(cut.share), cut.share, cut))
        found += _seen(there, view.revision, saved_at_ms, now_ms)
    return [one for one in found if one.until_ms is None or one.until_ms > now_ms]


def _seen(found: list[InForce], revision: int, saved_at_ms: int, now_ms: int) -> list[InForce]:
    """Say how old it is, and at which revision its workflow was then."""
    age = {"saved_at_ms": saved_at_ms, "age_ms": max(0, now_ms - saved_at_ms)}
    return [one.model_copy(update={"revision": revision, **age}) for one in found]


def _of_pool(pool: str, override: CapacityOverride) -> InForce:
    units = ", ".join(f"{units} {name}" for name, units in override.capacity.items())
    return InForce(
        kind="pool",
        subject=pool,
        what=_cut(override.share) if override.share is not None else f"has {units}",
        share=override.share,
        actor=override.actor,
        reason=override.reason,
        since_ms=override.since_ms,
        until_ms=override.until_ms,
    )


def _of_ledger(kind: Literal["resource", "tenant"], subject: str, one: Throttle) -> InForce:
    return InForce(
        kind=kind,
        subject=subject,
        what=_cut(one.share),
        share=one.share,
        resource=one.resource,
        id=one.id,
        actor=one.actor,
        reason=one.reason,
        since_ms=one.since_ms,
        until_ms=one.until_ms,
    )


def _of_breaker(
    downstream: str, what: str, share: float | None, one: Override | BreakerThrottle
) -> InForce:
    return InForce(
        kind="breaker",
        subject=downstream,
        what=what,
        share=share,
        actor=one.actor,
        reason=one.reason,
        since_ms=one.since_ms,
        until_ms=one.until_ms,
    )


def _cut(share: float) -> str:
    return "paused" if share == 0 else f"cut to {share * 100:g}%"


class ResourceThrottles:
    """The pauses and cuts that hold for all tenants.

    Args:
        client: Of the namespace.
        database: Migrated.
        task_queue: Of the governance workers.
        options: How workflows keep house.
    """

    def __init__(
        self,
        client: Client,
        database: Database,
        task_queue: str = GOVERNANCE_TASK_QUEUE,
        options: EntityOptions | None = None,
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._options = options
        self._configuration = ConfigurationStore(database)
        self._snapshots = SnapshotStore(database)

    async def set(self, throttle: Throttle, *, dry_run: bool = False) -> Spread:
        """Pause or cut a resource, or all of them (``*``), for every tenant.

        A repeat, with the same id, is answered with what the first attempt has set, and sets
        nothing again; ledgers that could not be told then are told what holds now.

        Raises:
            ConfigurationError: Nobody has ever had a quota for the resource.
            UnavailableError: Postgres does not answer and nothing was changed; or it is stored, but
                a ledger could not be told.
        """
        await self._require_resource(throttle.resource)
        if not dry_run:
            entry = AuditEntry(
                at_ms=throttle.since_ms,
                actor=throttle.actor,
                reason=throttle.reason,
                action="throttle",
                target=f"resource/{throttle.resource}",
                after=throttle.model_dump(mode="json"),
                request_id=throttle.id,
            )
            throttle = await self._configuration.add_resource_throttle(throttle, entry)
        return await self._spread(throttle, dry_run=dry_run)

    async def lift(self, id: str, command: LedgerCommand, now_ms: int) -> Spread | None:
        """End one, by its id; a repeat of the command is answered as the first attempt was.

        Returns:
            What was ended, or None when there is none of this id.

        Raises:
            UnavailableError: As ``set``.
        """

        def entry(ended: Throttle) -> AuditEntry:
            return AuditEntry(
                at_ms=now_ms,
                actor=command.actor,
                reason=command.reason,
                action="lift",
                target=f"resource/{ended.resource}",
                before=ended.model_dump(mode="json"),
                request_id=command.id,
            )

        stored = self._configuration
        if command.dry_run:
            there = await stored.resource_throttles()
            ended = next((one for one in there if one.id == id), None)
        else:
            ended = await stored.end_resource_throttle(id, entry)
            if ended is None:
                ended = await stored.resource_throttle_lifted(id, command.id)
        if ended is None:
            return None
        return await self._spread(ended, dry_run=command.dry_run)

    async def _spread(self, changed: Throttle, *, dry_run: bool) -> Spread:
        told = await self._tell_ledgers(dry_run=dry_run)
        return Spread(throttle=changed, dry_run=dry_run, told=told)

    async def _require_resource(self, resource: str) -> None:
        if resource == DEFAULT:
            return
        applied = await self._configuration.load()
        known = {name for tenant in applied.tenants.values() for name in tenant.quotas}
        known |= {name for pool in applied.pools.values() for name in pool.capacities}
        if resource not in known:
            # Those for whom '*' stands in the configuration have been counted where it is used.
            known |= {name for view in await self._snapshots.ledgers() for name in view.accounts}
        if resource not in known:
            names = ", ".join(sorted(known - {DEFAULT})) or "none"
            raise ConfigurationError(
                f"nobody has a quota for resource {resource!r}; there are: {names}"
            )

    async def _tell_ledgers(self, *, dry_run: bool) -> int:
        """Tell every ledger that runs what holds now; one that starts later reads what is stored.

        Returns:
            How many there are.
        """
        limit = asyncio.Semaphore(_AT_ONCE)

        async def tell(tenant: str) -> bool:
            async with limit:
                if not await is_running(self._client, "ledger", tenant):
                    return False
                if not dry_run:
                    await self._configure(tenant)
                return True

        tenants = await self._snapshots.subjects("ledger")
        # One that cannot be told is no reason to leave the others untold.
        told = await asyncio.gather(*map(tell, tenants), return_exceptions=True)
        errors = [end for end in told if isinstance(end, BaseException)]
        for error in errors:
            if not isinstance(error, UnavailableError | WorkflowUpdateFailedError | RPCError):
                raise error
        if errors:
            first = " ".join(str(errors[0]).split())
            raise UnavailableError(
                f"stored, but {len(errors)} of {len(told)} ledgers could not be told; headgate "
                f"apply with the file in force finishes it. The first: {first}"
            )
        return told.count(True)

    async def _configure(self, tenant: str) -> None:
        stored = await self._configuration.settings_of("ledger", tenant)
        if stored is None:
            throttles = await self._configuration.resource_throttles()
            settings = LedgerSettings(resource_throttles=throttles)
        else:
            settings = LedgerSettings.model_validate_json(stored)
        ledger = governing(self._client, "ledger", tenant, self._options, self._task_queue)
        await ledger.update(
            "configure", settings, f"throttle:{new_command_id()}", LedgerView, _TELL_S
        )


async def lift_anywhere(
    client: Client,
    database: Database,
    command: LedgerCommand,
    now_ms: int,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    options: EntityOptions | None = None,
) -> Spread | Answered:
    """End a throttle or an override by its id, of all tenants or of one.

    Args:
        client: Of the namespace.
        database: Migrated.
        command: With the action ``lift``.
        now_ms: Unix time.
        task_queue: Of the governance workers.
        options: How workflows that are started here keep house.

    Raises:
        ConfigurationError: There is none of this id, as far as Postgres knows.
        UnavailableError: Temporal, the governance workers or Postgres do not answer.
    """
    assert isinstance(command.action, Lift)
    throttles = ResourceThrottles(client, database, task_queue, options)
    ended = await throttles.lift(command.action.id, command, now_ms)
    if ended is not None:
        return ended
    return await command_whoever_has(
        client, database, command.action.id, command, task_queue, options
    )
