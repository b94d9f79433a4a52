"""What people who override a quota should know: that it does nothing, or more than there is."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from temporalio.client import Client

from headgate.allocation.rights import OVERCOMMITTED
from headgate.model.configuration import Configuration
from headgate.model.errors import HeadgateError
from headgate.model.ids import DEFAULT
from headgate.model.ledger import CommandReply, LedgerCommand, LedgerView, SetOverride
from headgate.model.plan import PoolForecast
from headgate.model.pool import GUARANTEEING, PoolView, Strategy
from headgate.model.quota import QuotaOverride
from headgate.orchestrator.ask import ask, ask_pool
from headgate.orchestrator.pool_forecast import ledgers_of, pool_forecast
from headgate.quota.proposed import limits_with
from headgate.quota.record import LedgerRecord
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.view.words import what_gives_more

MOST_RECKONED: Final = 1_000
"""A pool of more tenants takes too long to be divided twice for a hint; ``headgate plan`` does."""


async def with_hints(
    client: Client, database: Database, tenant: str, command: LedgerCommand, reply: CommandReply
) -> CommandReply:
    """Return the answer to an override with what there is to know of it in its message.

    What cannot be found out is left out: the override has been done already.
    """
    action = command.action
    if not reply.accepted or not isinstance(action, SetOverride):
        return reply
    hints: list[str] = []
    try:
        view = await ask(client, "ledger", tenant, "state", LedgerView)
        applied = await ConfigurationStore(database).load()
        pool = applied.ledger(tenant).pools.get(action.resource)
        if pool is not None and len(applied.members(applied.pools[pool])) <= MOST_RECKONED:
            override = QuotaOverride.model_validate(reply.after)
            seen = await ask_pool(client, pool)
            ledgers = await ledgers_of(database, applied.members(applied.pools[pool]))
            # What it replaces is gone already, or not yet: the same either way.
            gone = {override.id, reply.before.get("id")}
            others = [one for one in view.overrides if one.id not in gone]
            hints += await asyncio.to_thread(
                lambda: list(of_pool(applied, seen, ledgers, tenant, override, others))
            )
        if _is_new(view, action.resource):
            hints += _of_name(applied, tenant, action.resource)
    except HeadgateError:
        pass
    return reply.model_copy(update={"message": "; ".join([reply.message, *hints])})


def of_pool(
    applied: Configuration,
    pool: PoolView,
    ledgers: Mapping[str, LedgerRecord],
    tenant: str,
    override: QuotaOverride,
    others: list[QuotaOverride],
) -> Iterator[str]:
    """Yield what there is to know of an override of what a pool shares.

    The pool is divided by the very code of its governor, with the override and without, as if the
    tenant wanted all of it while the others want what they do.

    Args:
        applied: The configuration.
        pool: As it is.
        ledgers: The accounts of its tenants, as far as they have been saved.
        tenant: Whose quota it is.
        override: Set, or only tried.
        others: That hold without it.
    """
    resource, at_ms = override.resource, override.begins_at_ms
    known = ledgers.get(tenant) or LedgerRecord(tenant, None, "none")

    def reckoned(overrides: list[QuotaOverride]) -> tuple[PoolForecast, int | None]:
        record = replace(known, overrides={one.id: one for one in overrides})
        limits = limits_with(record, applied.ledger(tenant), resource, at_ms)
        whole = {**ledgers, tenant: record}
        forecast = pool_forecast(
            applied, applied, pool.pool, "live", pool, whole, at_ms, eager=tenant
        )
        return forecast, None if limits is None else limits.max_active

    (before, old), (after, new) = reckoned(others), reckoned([*others, override])
    if not after.enforced or after.strategy is Strategy.UNLIMITED:
        return
    changed, guaranteeing = override.changes.values, after.strategy in GUARANTEEING
    for one in after.conditions:
        if one.type == OVERCOMMITTED and one not in before.conditions:
            yield f"in pool {pool.pool} {one.message}"
    if changed.get("guaranteed") and not guaranteeing:
        yield f"pool {pool.pool} is divided by {after.strategy}, which does not use guarantees"
    most, capacity = _given(after, tenant, resource), after.capacity[resource]
    is_higher = new is None or (old is not None and new > old)
    is_in_vain = is_higher and most <= _given(before, tenant, resource)
    is_too_high = new is not None and new > capacity
    if "max_active" in changed and (is_in_vain or is_too_high):
        yield (
            f"pool {pool.pool} has {capacity} {resource}, and gives {tenant} {most} at most as "
            f"things are; {what_gives_more(pool.pool, guaranteeing=guaranteeing)}"
        )


def _given(forecast: PoolForecast, tenant: str, resource: str) -> int:
    """Return what a tenant would be given."""
    return next(
        one.target for one in forecast.tenants if (one.tenant, one.resource) == (tenant, resource)
    )


def _is_new(view: LedgerView, resource: str) -> bool:
    known = {*view.accounts, *view.waiting, *view.pools, *(view.quotas or {})}
    return resource not in known


def _of_name(applied: Configuration, tenant: str, resource: str) -> list[str]:
    """A name that stands nowhere may be a slip of the pen, which a quota of ``*`` covers."""
    quotas = [resource in one.quotas for one in applied.tenants.values()]
    pools = [resource in one.capacities for one in applied.pools.values()]
    if any(quotas) or any(pools):
        return []
    return [
        f"{tenant} has never used {resource}, and no quota and no pool names it; it falls under "
        f"'{DEFAULT}'"
    ]
