"""Who would gain and who would lose, before anything is applied: by a file, or in one pool."""

import asyncio
import time
from collections.abc import Callable

from pydantic import ValidationError
from temporalio.client import Client

from headgate.model.configuration import Configuration
from headgate.model.errors import ConfigurationError, NotFoundError, UnavailableError
from headgate.model.ids import DEFAULT, GOVERNANCE_TASK_QUEUE
from headgate.model.plan import Forecast, PlannedChange, PoolForecast, Seen, WhatIf
from headgate.model.pool import PoolView
from headgate.orchestrator.ask import ask_pool
from headgate.orchestrator.configure import Configurator
from headgate.orchestrator.pool_forecast import ledgers_of, pool_forecast
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore


async def forecast(
    client: Client,
    database: Database,
    wanted: Configuration,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    shown: Callable[[str, int, int], None] = lambda *_: None,
) -> Forecast:
    """Return what a configuration would change, and who would gain and lose; changes nothing.

    Each pool is divided by the very code of its governor, on the demand that there is now, with
    what operators have set. What it does not foresee is how demand answers to the change.

    Args:
        client: Of the namespace.
        database: Migrated.
        wanted: The proposed configuration.
        task_queue: Of the governance workers.
        shown: Is told what is being done, how many are done and of how many.

    Raises:
        UnavailableError: Something that runs cannot be asked what it runs with.
    """
    plan = await Configurator(client, database, task_queue, shown=shown).plan(wanted)
    applied = await ConfigurationStore(database).load()
    saved = {view.pool: view for view in await SnapshotStore(database).pools()}
    now_ms = time.time_ns() // 1_000_000

    async def seen(pool: str) -> tuple[Seen, PoolView | None]:
        try:
            return "live", await ask_pool(client, pool)
        except UnavailableError:
            return ("saved", saved[pool]) if pool in saved else ("new", None)

    names = sorted(wanted.pools)
    views = await asyncio.gather(*map(seen, names))
    sharing = {tenant for pool in wanted.pools.values() for tenant in wanted.members(pool)}
    sharing |= {tenant for _, view in views if view is not None for tenant in view.members}
    ledgers = await ledgers_of(database, sorted(sharing))
    return Forecast(
        changes=[
            PlannedChange(action=change.action, target=change.target, lines=change.lines())
            for change in plan.changes
        ],
        below_usage=plan.below_usage,
        pools=[
            pool_forecast(wanted, applied, pool, source, view, ledgers, now_ms)
            for pool, (source, view) in zip(names, views, strict=True)
        ],
        at_ms=now_ms,
    )


async def what_would_be(database: Database, pool: str, wish: WhatIf) -> PoolForecast:
    """Return what a pool would give to whom if it, or its tenants' quotas, were different.

    On the demand that was last saved; changes nothing. Another capacity is taken as an operator
    would set it: guarantees may be more than that.

    Args:
        database: Migrated.
        pool: Which.
        wish: What would be different from what is configured.

    Raises:
        NotFoundError: The pool, or a tenant, is not configured.
        ConfigurationError: It could not be so.
    """
    applied = await ConfigurationStore(database).load()
    wanted = _with(applied, pool, wish)
    view = await SnapshotStore(database).pool(pool)
    ledgers = await ledgers_of(database, wanted.members(wanted.pools[pool]))
    source: Seen = "new" if view is None else "saved"
    now_ms = time.time_ns() // 1_000_000
    # Thousands of tenants take a second or two, in which the API has others to answer.
    return await asyncio.to_thread(
        pool_forecast, wanted, applied, pool, source, view, ledgers, now_ms, capacity=wish.capacity
    )


def _with(applied: Configuration, pool: str, wish: WhatIf) -> Configuration:
    """Return a configuration with what is wished; raises as ``what_would_be``."""
    document = applied.model_dump(mode="json", exclude_unset=True)
    spec = document.get("pools", {}).get(pool)
    if spec is None:
        raise NotFoundError(f"the configuration lists no pool {pool!r}")
    capacity = applied.pools[pool].capacities
    if unknown := sorted({*wish.capacity} - {*capacity}):
        raise ConfigurationError(f"pool {pool} has no resource {unknown[0]}")
    if wish.capacity:
        # Less than this is set by people, for whom nothing has to add up.
        most = {name: max(units, capacity[name]) for name, units in wish.capacity.items()}
        spec["capacity"] = {**capacity, **most}
        spec.pop("resource", None)
    if wish.strategy is not None:
        spec["strategy"] = wish.strategy.value
    for tenant, changes in wish.quotas.items():
        if tenant not in document.get("tenants", {}):
            raise NotFoundError(f"the configuration lists no tenant {tenant!r}")
        quotas = document["tenants"][tenant]["quotas"]
        for resource, change in changes.items():
            before = quotas.get(resource, quotas.get(DEFAULT, {}))
            quotas[resource] = {**before, **change.model_dump(mode="json")}
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        path = first.get("ctx", {}).get("path", first["loc"])
        place = ".".join(str(part) for part in path)
        text = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{place}: {text}" if place else text) from error
