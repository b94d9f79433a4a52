"""What people who override a quota should know: that it does nothing, or more than there is."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

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
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.view.words import what_gives_more

_UNLIMITED: Final = 10**9
"""Stands for no limit, where limits are compared."""


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
        pool = view.pools.get(action.resource)
        if pool in applied.pools:
            override = QuotaOverride.model_validate(reply.after)
            seen = await ask_pool(client, pool)
            ledgers = await ledgers_of(database, applied.members(applied.pools[pool]))
            accounts = {**ledgers, tenant: view}
            hints += of_pool(applied, seen, accounts, tenant, override, reply.before)
        if _is_new(view, action.resource):
            hints += _of_name(applied, tenant, action.resource)
    except HeadgateError:
        pass
    return reply.model_copy(update={"message": "; ".join([reply.message, *hints])})


def of_pool(
    applied: Configuration,
    pool: PoolView,
    ledgers: dict[str, LedgerView],
    tenant: str,
    override: QuotaOverride,
    old: Mapping[str, Any],
) -> Iterator[str]:
    """Yield what there is to know of an override of what a pool shares.

    The pool is divided by the very code of its governor, with the override and without, as if the
    tenant wanted all of it while the others want what they do.

    Args:
        applied: The configuration.
        pool: As it is.
        ledgers: The accounts of its tenants, with the override or still without.
        tenant: Whose quota it is.
        override: Set, or only tried.
        old: What it changes, as it was.
    """
    view, resource = ledgers[tenant], override.resource
    others = [one for one in view.overrides if one.id != override.id]

    def divided(overrides: list[QuotaOverride]) -> PoolForecast:
        eager = view.model_copy(update={"overrides": overrides, "waiting_units": {**pool.capacity}})
        whole = {**ledgers, tenant: eager}
        return pool_forecast(applied, pool.pool, "live", pool, whole, override.begins_at_ms)

    before, after = divided(others), divided([*others, override])
    if not after.enforced or after.strategy is Strategy.UNLIMITED:
        return
    changed = override.changes.values
    for one in after.conditions:
        if one.type == OVERCOMMITTED and one not in before.conditions:
            yield f"in pool {pool.pool} {one.message}"
    guaranteeing = after.strategy in GUARANTEEING
    if changed.get("guaranteed") and not guaranteeing:
        yield f"pool {pool.pool} is divided by {after.strategy}, which does not use guarantees"
    if "max_active" not in changed:
        return
    most, capacity = _given(after, tenant, resource), after.capacity[resource]
    was, wanted = (
        _UNLIMITED if limit is None else limit
        for limit in (old["max_active"], changed["max_active"])
    )
    is_in_vain = wanted > was and most <= _given(before, tenant, resource)
    if is_in_vain or capacity < wanted < _UNLIMITED:
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
