"""The page that tells who would gain and lose in a pool that is divided otherwise."""

import shlex
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from headgate.api.dashboard.forms import BETWEEN, said, shortened
from headgate.api.dashboard.pages import Text, Viewer, members_of
from headgate.api.dashboard.render import render
from headgate.api.paging import Cursor, part_of, place
from headgate.api.problems import not_found
from headgate.api.reads import fresh, one, view_of
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.model.contract import Name
from headgate.model.errors import ConfigurationError
from headgate.model.ledger import LedgerView
from headgate.model.plan import PoolForecast, TenantForecast, WhatIf
from headgate.model.pool import PoolView, Strategy
from headgate.orchestrator.mistakes import first_mistake
from headgate.orchestrator.whatif import what_would_be

router = APIRouter(include_in_schema=False)

_FIELDS: Final = (
    "weight",
    "guaranteed",
    "max_active",
    "borrow_limit",
    "lend_limit",
    "priority",
)
"""Of a quota: those by which a pool is divided."""
_ROWS: Final = 20
_MOST_CHANGED: Final = 50
_MOST_SHOWN: Final = 100


@router.get("/pools/{pool:segment}/what-if")
async def what_if(
    request: Request, principal: Viewer, pool: Name, search: Text = None, cursor: Cursor = None
) -> Response:
    """Show who would gain and who would lose by another capacity, strategy, or other quotas."""
    if (shorter := shortened(request)) is not None:
        return shorter
    fields = said(request)
    service = service_of(request)
    view = fresh(await one(service, "governor", pool), PoolView).data
    configured = await service.configuration.load()
    if pool not in configured.pools:
        raise not_found(f"the configuration lists no pool {pool!r}, so nothing can be tried on it")
    written = _written(fields)
    forecast, problem = None, None
    if any(written.values()):
        try:
            wish = WhatIf.model_validate(written)
            forecast = await what_would_be(service.database, pool, wish)
        except ValidationError as error:
            problem = first_mistake(error, WhatIf)
        except ConfigurationError as error:
            problem = str(error)
    sharing = {*configured.members(configured.pools[pool])}
    changed = sorted({*written["quotas"]} & sharing)
    others = [
        tenant
        for tenant, _ in members_of(view, search, "waiting")
        if tenant in sharing and tenant not in changed
    ]
    page = part_of(others, _ROWS, cursor)
    shown = changed[:_MOST_CHANGED] + page.items
    ledgers = {
        row.subject: view_of(row.view, LedgerView)
        for row in await service.pages.named("ledger", shown)
    }
    return render(
        request,
        principal,
        "what_if.html",
        view=view,
        fields=_FIELDS,
        between=BETWEEN,
        rows=[
            {
                "tenant": tenant,
                "resource": resource,
                "quota": configured.tenants[tenant].quota(resource),
                "written": written["quotas"].get(tenant, {}).get(resource, {}),
                "member": view.members.get(tenant),
                "overrides": _overrides(ledgers.get(tenant), resource),
            }
            for tenant in shown
            for resource in configured.pools[pool].capacities
        ],
        changed=len(changed),
        others=len(others),
        start=place(cursor),
        next=page.next_cursor,
        search=search,
        strategies=list(Strategy),
        said=fields,
        forecast=forecast,
        tally=None if forecast is None else _tally(forecast),
        tenants=[] if forecast is None else _by_difference(forecast)[:_MOST_SHOWN],
        problem=problem,
        command=_command(pool, written),
    )


def _written(fields: dict[str, str]) -> dict[str, Any]:
    """Return a ``WhatIf`` as the form has it, not validated; ``none`` takes a limit away."""
    capacity: dict[str, str] = {}
    quotas: dict[str, dict[str, dict[str, str | None]]] = {}
    for name, text in fields.items():
        tenant, *rest = name.split(BETWEEN)
        if name.startswith("capacity."):
            capacity[name.removeprefix("capacity.")] = text
        elif len(rest) == 2:
            resource, field = rest
            of = quotas.setdefault(tenant, {}).setdefault(resource, {})
            of[field] = None if text == "none" else text
    return {"capacity": capacity, "strategy": fields.get("strategy"), "quotas": quotas}


def _overrides(ledger: LedgerView | None, resource: str) -> list[str]:
    """Return what people have set for a time: it holds in place of what is written here."""
    if ledger is None:
        return []
    now = now_ms()
    return [
        one.changes.words
        for one in ledger.overrides
        if one.resource == resource and one.begins_at_ms <= now < one.ends_at_ms
    ]


def _tally(forecast: PoolForecast) -> dict[str, int]:
    """Return how many tenants would gain, lose, and have what they have, of any resource."""
    gain = {one.tenant for one in forecast.tenants if one.difference > 0}
    lose = {one.tenant for one in forecast.tenants if one.difference < 0}
    all_of_them = {one.tenant for one in forecast.tenants}
    return {"gain": len(gain), "lose": len(lose), "same": len(all_of_them - gain - lose)}


def _by_difference(forecast: PoolForecast) -> list[TenantForecast]:
    """Return who would lose and who would gain, the most first; then all others."""
    return sorted(forecast.tenants, key=lambda one: (-abs(one.difference), one.tenant))


def _command(pool: str, written: dict[str, Any]) -> str:
    """Return the same as a command line."""
    words = ["headgate", "pool", "what-if", pool]
    words += [f"{resource}={units}" for resource, units in written["capacity"].items()]
    if written["strategy"] is not None:
        words += ["--strategy", written["strategy"]]
    for tenant, resources in written["quotas"].items():
        for resource, fields in resources.items():
            changes = [f"{name}={'none' if v is None else v}" for name, v in fields.items()]
            words += ["--quota", " ".join([tenant, resource, *changes])]
    return shlex.join(words)
