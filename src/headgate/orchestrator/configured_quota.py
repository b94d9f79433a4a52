"""One quota of the configuration, changed by itself: what is not about it is left as it is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from pydantic import ValidationError

from headgate.model.configuration import Configuration
from headgate.model.contract import STORED
from headgate.model.entity import changed_since
from headgate.model.errors import ConfigurationError, ConflictError, NotFoundError
from headgate.model.ids import DEFAULT
from headgate.model.ledger import LedgerView
from headgate.model.plan import PlannedChange
from headgate.model.quota import Quota
from headgate.orchestrator.change import Change
from headgate.orchestrator.configure import Configurator, Plan
from headgate.store.configuration import ConfigurationStore, OutdatedError
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore

_ATTEMPTS: Final = 5
"""Others may apply something at the same moment; what they do then is reckoned with."""


_TAKEN_BACK: Final = ":taken-back"
_REASON_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class QuotaOrder:
    """Another quota in the configuration.

    Args:
        tenant: Whose; ``*``: of all that are not listed.
        resource: Of what; ``*``: of all that are not named.
        change: From the quota as it is configured, that of ``*`` where the resource is not named,
            or None, to what is to hold from now on; None: the resource is not named any more.
        actor: Who.
        reason: Why.
        request_id: The same for every attempt; it is done once.
        how: How the actor was authenticated; None: as is known of the request.
        if_revision: Refuse it if people have set something since, by the ledger's revision.
        allow_below_usage: Also if a limit is then below what is held.
        dry_run: Change nothing.
    """

    tenant: str
    resource: str
    change: Callable[[Quota | None], Quota | None]
    actor: str
    reason: str
    request_id: str
    how: str | None = None
    if_revision: int | None = None
    allow_below_usage: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class QuotaSet:
    """What became of it: the changes, and the revision of the ledger, if it was told."""

    changes: list[PlannedChange]
    revision: int | None = None


async def set_quota(configurator: Configurator, database: Database, order: QuotaOrder) -> QuotaSet:
    """Change one quota of the configuration, and tell whom it concerns.

    Returns:
        What has changed, or would; a repeat is told what the first attempt has changed.

    Raises:
        NotFoundError: The configuration lists no such tenant, or no such quota to take away.
        ConflictError: People have set something since ``if_revision``.
        BelowUsageError: A limit would be below what is held, and that is not allowed; a dry run
            raises it as well.
        ConfigurationError: The configuration would not make sense.
        UnavailableError: As of ``Configurator.apply``.
    """
    store, target = ConfigurationStore(database), f"ledger/{order.tenant}"
    for attempt in range(1, _ATTEMPTS + 1):
        # In this order: whatever has been done by then, also by this request, is reckoned with.
        applied = await store.load()
        await _require_not_taken_back(store, order)
        if not order.dry_run and (done := await configurator.done_by(order.request_id)) is not None:
            return QuotaSet([_shown(change) for change in done])
        await _require_unchanged(configurator, database, order)
        wanted = _changed(applied, order)
        plan = await configurator.plan(wanted, only_new=True, based_on=applied)
        shown = [_shown(change) for change in plan.changes]
        if order.dry_run:
            plan.require_room(order.allow_below_usage)
            return QuotaSet(shown)
        if not plan.changes:
            _note_that_nothing_changed(plan, applied, order)
        try:
            await configurator.carry_out(
                plan,
                wanted,
                order.actor,
                order.reason,
                order.allow_below_usage,
                request_id=order.request_id,
                how=order.how,
                if_revision=None if order.if_revision is None else {target: order.if_revision},
            )
        except OutdatedError:
            if attempt == _ATTEMPTS:
                raise
            continue
        except ConflictError as error:
            await _take_back(configurator, database, order, applied, str(error))
            raise
        return QuotaSet(shown, plan.revisions.get(target))
    raise AssertionError("the last attempt returns or raises")


async def _take_back(
    configurator: Configurator,
    database: Database,
    order: QuotaOrder,
    before: Configuration,
    why: str,
) -> None:
    """Store what was configured before: people set something while this was stored.

    It is stored first so that no ledger is ever told what nobody would find stored.
    """
    old = before.tenants[order.tenant].quotas.get(order.resource)
    back = replace(
        order,
        change=lambda _: old,
        reason=f"taken back: {why}"[:_REASON_MAX],
        request_id=order.request_id + _TAKEN_BACK,
        if_revision=None,
        allow_below_usage=True,
    )
    await set_quota(configurator, database, back)


async def _require_not_taken_back(store: ConfigurationStore, order: QuotaOrder) -> None:
    if order.if_revision is not None and await store.applied_by(order.request_id + _TAKEN_BACK):
        raise ConflictError("people had changed it since, and it was taken back: look at it anew")


def _changed(applied: Configuration, order: QuotaOrder) -> Configuration:
    document = applied.model_dump(mode="json", exclude_unset=True)
    if order.tenant not in applied.tenants:
        raise NotFoundError(
            f"the configuration lists no tenant {order.tenant!r}: list it in headgate.yaml and "
            "apply that; what holds for those that are not listed is the quota of tenant '*'"
        )
    known = applied.tenants[order.tenant].quotas
    new = order.change(known.get(order.resource, known.get(DEFAULT)))
    quotas = document["tenants"][order.tenant]["quotas"]
    if new is not None:
        quotas[order.resource] = new.model_dump(mode="json", exclude_unset=True)
    elif quotas.pop(order.resource, None) is None:
        raise NotFoundError(
            f"the configuration has no quota of {order.tenant} for {order.resource!r}"
        )
    elif not quotas:
        raise ConfigurationError(
            f"{order.resource} is the only quota of {order.tenant}, and a tenant has one or more: "
            "take the tenant out of the file, and apply that"
        )
    try:
        # What an older release has stored and this one would refuse is not what is set here.
        return Configuration.model_validate(document, context=STORED)
    except ValidationError as error:
        raise ConfigurationError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _note_that_nothing_changed(plan: Plan, applied: Configuration, order: QuotaOrder) -> None:
    """Let it stand in the audit all the same: a late repeat must not find it undone, and do it."""
    tenant = applied.tenants[order.tenant].model_dump(mode="json")
    plan.changes.append(Change("update", f"ledger/{order.tenant}", tenant, tenant))


async def _require_unchanged(
    configurator: Configurator, database: Database, order: QuotaOrder
) -> None:
    if order.if_revision is None:
        return
    if order.tenant == DEFAULT:
        raise ConflictError("'*' has no ledger, and no revision: leave out If-Match")
    if not order.dry_run:
        # What somebody else has stored and is about to tell: from here on its revision counts it.
        # What is stored after this was looked up is noticed when this one is to be stored.
        await configurator.finish([f"ledger/{order.tenant}"])
    view = await configurator.running("ledger", order.tenant)
    if view is None:
        view = await SnapshotStore(database).ledger(order.tenant)
    told, now = (view.told_revision, view.revision) if isinstance(view, LedgerView) else (0, 0)
    if (why := changed_since(order.if_revision, told, now)) is not None:
        raise ConflictError(why)


def _shown(change: Change) -> PlannedChange:
    return PlannedChange(action=change.action, target=change.target, lines=change.lines())
