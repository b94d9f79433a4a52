"""Pools: who gets what and why, how full they are, and what another division would give."""

from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError, model_validator

from headgate.api.access import Operator, Viewer
from headgate.api.paging import Cursor, Fresh, Limit, Page, Search, page_of, read
from headgate.api.problems import ProblemError, not_found
from headgate.api.reads import fresh, one, tag, view_of
from headgate.api.service import Service, service_of
from headgate.api.writes import Done, ForATime, Reason, Writing
from headgate.gate.clock import now_ms
from headgate.model.configuration import Configuration
from headgate.model.contract import Contract, Name
from headgate.model.ledger import LedgerView
from headgate.model.limits import PressureView
from headgate.model.plan import PoolForecast
from headgate.model.pool import PoolCommand, PoolView, Strategy, Units
from headgate.model.quota import QuotaChanges
from headgate.orchestrator.operate import command_pool
from headgate.orchestrator.whatif import pool_forecast

router = APIRouter(prefix="/v1/pools", tags=["pools"])


class Pressure(Fresh[PressureView]):
    """How full a pool is."""

    pool: str


class Pressures(BaseModel):
    """How full all pools are, the fullest first."""

    items: list[Pressure]


class PoolOrder(ForATime):
    """What to do to a pool.

    Attributes:
        action: ``set_capacity``, ``throttle``, or ``resume`` to end either.
        reason: Why; it stands in the audit.
        capacity: With ``set_capacity``: units by resource; those not named stay.
        share: With ``throttle``: what is left of the capacity.
        for_ms: How long it holds; null, and ``until_ms`` too: until ``resume``.
        until_ms: In place of ``for_ms``: until when, Unix time.
        dry_run: Answer what it would be, change nothing.
    """

    action: Literal["set_capacity", "throttle", "resume"]
    reason: Reason
    capacity: Annotated[dict[Name, Units], Field(max_length=50)] = {}
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "PoolOrder":
        if (self.action == "set_capacity") != bool(self.capacity):
            raise ValueError("capacity goes with set_capacity, and only with it")
        if (self.action == "throttle") != (self.share is not None):
            raise ValueError("share goes with throttle, and only with it")
        return self


class WhatIf(Contract):
    """A pool as it might be; what is not said stays as it is.

    Attributes:
        capacity: Units by resource.
        strategy: How it is divided.
        quotas: What would be different in the quotas of its tenants, by tenant and resource.
    """

    capacity: Annotated[dict[Name, Units], Field(max_length=50)] = {}
    strategy: Strategy | None = None
    quotas: Annotated[dict[Name, dict[Name, QuotaChanges]], Field(max_length=500)] = {}


@router.get("")
async def list_pools(
    request: Request, _: Viewer, limit: Limit = 50, cursor: Cursor = None, search: Search = None
) -> Page[Fresh[PoolView]]:
    """List pools by name: policy, capacity, and who holds, wants and has been given what."""
    after = read(cursor, str)
    saved = await service_of(request).pages.page(
        "governor", limit + 1, search=search, after=None if after is None else str(after[0])
    )
    return page_of(saved, limit, lambda row: (row.subject,), lambda row: fresh(row, PoolView))


@router.get("/{pool:segment}")
async def get_pool(request: Request, response: Response, _: Viewer, pool: Name) -> Fresh[PoolView]:
    """Show a pool: policy, capacity, and who holds, wants and has been given what."""
    saved = await one(service_of(request), "governor", pool)
    tag(response, saved.revision)
    return fresh(saved, PoolView)


@router.post("/{pool:segment}/commands")
async def command(
    write: Writing, principal: Operator, pool: Name, body: PoolOrder
) -> Done[PoolView]:
    """Set or cut the capacity of a pool for a time, or end that."""
    service = write.service
    id = await write.begin(principal, body, "governor", pool)
    order = write.order(PoolCommand, id, principal, body)
    view = await command_pool(
        await service.temporal.client(),
        service.database,
        pool,
        order,
        service.task_queue,
        service.options,
    )
    return write.done(id, body.dry_run, "governor", pool, view, view.revision)


@router.post("/{pool:segment}/what-if")
async def what_if(request: Request, _: Viewer, pool: Name, body: WhatIf) -> PoolForecast:
    """Tell who would gain and who would lose, on the demand of now; changes nothing."""
    return await forecast_pool(service_of(request), pool, body)


async def forecast_pool(service: Service, pool: str, wish: WhatIf) -> PoolForecast:
    """Return what a pool would give to whom.

    Raises:
        ProblemError: It is not configured, or could not be so.
    """
    applied = await service.configuration.load()
    wanted = _wanted(applied, pool, wish)
    found = await service.pages.one("governor", pool)
    view = None if found is None else view_of(found.view, PoolView)
    ledgers = {
        saved.subject: view_of(saved.view, LedgerView)
        for saved in await service.pages.named("ledger", wanted.members(wanted.pools[pool]))
    }
    return pool_forecast(wanted, pool, "new" if view is None else "saved", view, ledgers, now_ms())


def _wanted(applied: Configuration, pool: str, wish: WhatIf) -> Configuration:
    document = applied.model_dump(mode="json", exclude_unset=True)
    spec = document.get("pools", {}).get(pool)
    if spec is None:
        raise not_found(f"the configuration lists no pool {pool!r}")
    if unknown := sorted({*wish.capacity} - {*applied.pools[pool].capacities}):
        raise ProblemError(409, "refused", f"pool {pool} has no resource {unknown[0]}")
    if wish.capacity:
        spec["capacity"] = {**applied.pools[pool].capacities, **wish.capacity}
        spec.pop("resource", None)
    if wish.strategy is not None:
        spec["strategy"] = wish.strategy.value
    for tenant, changes in wish.quotas.items():
        if tenant not in document.get("tenants", {}):
            raise not_found(f"the configuration lists no tenant {tenant!r}")
        quotas = document["tenants"][tenant]["quotas"]
        for resource, change in changes.items():
            before = quotas.get(resource, quotas.get("*", {}))
            quotas[resource] = {**before, **change.model_dump(mode="json")}
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ProblemError(409, "refused", text) from error


backpressure = APIRouter(prefix="/v1/backpressure", tags=["pools"])


@backpressure.get("")
async def list_backpressure(request: Request, _: Viewer) -> Pressures:
    """Show how full pools are, the fullest first: whether producers should slow down."""
    saved = await service_of(request).pages.page("governor", 1_000)
    pools = [fresh(row, PoolView) for row in saved]
    pools.sort(key=lambda pool: (-pool.data.pressure.level.rank, pool.data.pool))
    return Pressures(items=[_pressure(pool) for pool in pools])


@backpressure.get("/{pool:segment}")
async def get_backpressure(request: Request, _: Viewer, pool: Name) -> Pressure:
    """Show how full a pool is, and after what time to offer more work."""
    return _pressure(fresh(await one(service_of(request), "governor", pool), PoolView))


def _pressure(pool: Fresh[PoolView]) -> Pressure:
    return Pressure(
        pool=pool.data.pool,
        revision=pool.revision,
        saved_at_ms=pool.saved_at_ms,
        age_ms=pool.age_ms,
        data=pool.data.pressure,
    )
