"""Pools: who gets what and why, how full they are, and what another division would give."""

import math
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, model_validator

from headgate.api.access import Operator, Viewer
from headgate.api.paging import (
    MOST_PAGE,
    Cursor,
    Fresh,
    Limit,
    Page,
    Search,
    page_of,
    part_of,
    read,
)
from headgate.api.reads import fresh, one, tag
from headgate.api.service import service_of
from headgate.api.writes import Done, ForATime, Reason, Writing
from headgate.model.contract import Name
from headgate.model.limits import PressureView
from headgate.model.plan import PoolForecast, WhatIf
from headgate.model.pool import MemberView, PoolCommand, PoolView, Units
from headgate.orchestrator.operate import command_pool
from headgate.orchestrator.whatif import what_would_be
from headgate.store.pages import Saved

router = APIRouter(prefix="/v1/pools", tags=["pools"])

_AT_ONCE = 500


class Pressure(Fresh[PressureView]):
    """How full a pool is."""

    pool: str


class Pool(Fresh[PoolView]):
    """A pool, with at most 200 of its tenants: `/members` lists them all.

    Attributes:
        member_count: How many share it.
    """

    member_count: int


class Member(BaseModel):
    """A tenant in a pool."""

    tenant: str
    data: MemberView


class PoolOrder(ForATime):
    """What to do to a pool.

    Attributes:
        action: ``set_capacity``, ``throttle``, or ``resume`` to end either.
        reason: Why; it stands in the audit.
        capacity: With ``set_capacity``: units by resource; those not named stay.
        share: With ``throttle``: what is left of the capacity, set or configured.
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


@router.get("")
async def list_pools(
    request: Request, _: Viewer, limit: Limit = 50, cursor: Cursor = None, search: Search = None
) -> Page[Pool]:
    """List pools by name: policy, capacity, and who holds, wants and has been given what."""
    after = read(cursor, str)
    saved = await service_of(request).pages.page(
        "governor", limit + 1, search=search, after=None if after is None else str(after[0])
    )
    return page_of(saved, limit, lambda row: (row.subject,), _pool)


@router.get("/{pool:segment}")
async def get_pool(request: Request, response: Response, _: Viewer, pool: Name) -> Pool:
    """Show a pool: policy, capacity, and who holds, wants and has been given what."""
    saved = await one(service_of(request), "governor", pool)
    tag(response, saved.revision)
    return _pool(saved)


@router.get("/{pool:segment}/members")
async def list_members(
    request: Request,
    _: Viewer,
    pool: Name,
    limit: Limit = 50,
    cursor: Cursor = None,
    search: Search = None,
) -> Page[Member]:
    """List the tenants that share a pool, by name: what each holds, wants and has been given."""
    after = read(cursor, str)
    view = fresh(await one(service_of(request), "governor", pool), PoolView).data
    names = sorted(
        name
        for name in view.members
        if (search is None or search.lower() in name.lower())
        and (after is None or name > str(after[0]))
    )
    return page_of(
        names[: limit + 1],
        limit,
        lambda name: (name,),
        lambda name: Member(tenant=name, data=view.members[name]),
    )


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
    return await what_would_be(service_of(request).database, pool, body)


backpressure = APIRouter(prefix="/v1/backpressure", tags=["pools"])
_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "In how many seconds to offer more work; not there: at once.",
        "schema": {"type": "integer", "minimum": 1},
    }
}


@backpressure.get("")
async def list_backpressure(
    request: Request, _: Viewer, limit: Limit = 200, cursor: Cursor = None
) -> Page[Pressure]:
    """Show how full pools are, the fullest first: whether producers should slow down."""
    pools: list[Pressure] = []
    after: str | None = None
    while saved := await service_of(request).pages.page("governor", _AT_ONCE, after=after):
        pools += [_pressure(fresh(row, PoolView)) for row in saved]
        after = saved[-1].subject
    pools.sort(key=lambda pool: (-pool.data.level.rank, pool.pool))
    return part_of(pools, limit, cursor)


@backpressure.get("/{pool:segment}", responses={200: {"headers": _RETRY_AFTER}})
async def get_backpressure(request: Request, response: Response, _: Viewer, pool: Name) -> Pressure:
    """Show how full a pool is, and after what time to offer more work: also as `Retry-After`."""
    pressure = _pressure(fresh(await one(service_of(request), "governor", pool), PoolView))
    if pressure.data.retry_after_ms:
        response.headers["Retry-After"] = str(math.ceil(pressure.data.retry_after_ms / 1_000))
    return pressure


def _pool(saved: Saved) -> Pool:
    whole = fresh(saved, PoolView)
    view = whole.data
    names = sorted(view.members)[:MOST_PAGE]
    shown = view.model_copy(
        update={
            "members": {name: view.members[name] for name in names},
            "unheard": view.unheard[:MOST_PAGE],
            "left": dict(list(view.left.items())[:MOST_PAGE]),
            "settings": view.settings.model_copy(
                update={"tenants": dict(list(view.settings.tenants.items())[:MOST_PAGE])}
            ),
        }
    )
    return Pool(
        revision=whole.revision,
        saved_at_ms=whole.saved_at_ms,
        age_ms=whole.age_ms,
        data=shown,
        member_count=len(view.members),
    )


def _pressure(pool: Fresh[PoolView]) -> Pressure:
    return Pressure(
        pool=pool.data.pool,
        revision=pool.revision,
        saved_at_ms=pool.saved_at_ms,
        age_ms=pool.age_ms,
        data=pool.data.pressure,
    )
