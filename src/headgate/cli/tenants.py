"""``headgate tenants``: what tenants use, have at hand and wait for."""

import asyncio
from typing import Final, cast, get_args

import typer

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.tables import ago, print_json, rest, show, table
from headgate.gate.clock import now_ms
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.times import lasting
from headgate.store.overview import OverviewStore, TenantOrder, TenantPage
from headgate.view.standing import ResourceStanding

_ORDERS: Final[tuple[str, ...]] = get_args(TenantOrder)


def command(
    search: str = typer.Argument("", help="A part of the name; without it: all of them."),
    sort: str = typer.Option("name", "--sort", help=f"{', '.join(_ORDERS[:-1])} or {_ORDERS[-1]}."),
    limit: int = typer.Option(50, "--limit", min=1, max=10_000, help="Show at most so many."),
    offset: int = typer.Option(0, "--offset", min=0, help="Leave out so many first."),
    as_json: bool = options.JSON,
) -> None:
    """Show what tenants use, have leased, borrow, have free and wait for, as Postgres has it.

    Units: used by jobs; leased: in blocks of gates, at hand for the next jobs; borrowed: of both,
    what is above the guarantee in a pool; free: could be granted at once.
    """
    if sort not in _ORDERS:
        raise ConfigurationError(f"--sort {sort}: write {', '.join(_ORDERS[:-1])} or {_ORDERS[-1]}")
    page = asyncio.run(_tenants(search, cast(TenantOrder, sort), limit, offset))
    if as_json:
        print_json({**page.model_dump(mode="json"), "at_ms": now_ms()})
        return
    if not page.tenants:
        print("no tenant matches" if search or offset else "no tenant has asked for anything yet")
        return
    numbers = ("Used", "Leased", "Borrowed", "Free", "Waiting")
    rows = table(
        *("Tenant", "Resource", *numbers, "Window", "Changed"), right=numbers, whole=("Tenant",)
    )
    for tenant in page.tenants:
        for number, one in enumerate(tenant.resources):
            rows.add_row(
                tenant.tenant if number == 0 else "",
                one.resource + (" *" if one.is_changed else ""),
                *amounts(one),
                str(one.waiting),
                window(one, now_ms()),
                ago(tenant.saved_at_ms) if number == 0 else "",
            )
        if not tenant.resources:
            rows.add_row(tenant.tenant, "-", *"-----", "-", ago(tenant.saved_at_ms))
    show(rows)
    if any(one.is_changed for tenant in page.tenants for one in tenant.resources):
        print("* changed by people for a time: headgate quota show TENANT")
    rest(page.matching - offset - len(page.tenants), "tenant")


def amounts(one: ResourceStanding) -> tuple[str, str, str, str]:
    """Return what is used, leased, borrowed and free."""
    free = "paused" if one.paused else "any" if one.free is None else str(one.free)
    return str(one.used), str(one.leased), str(one.borrowed), free


def window(one: ResourceStanding, at_ms: int) -> str:
    """Return the calendar window of which the least is left, and when it begins anew."""
    found = one.window
    if found is None:
        return "-"
    return f"{found.used}/{found.limit} {found.kind.removeprefix('per_')}, " + (
        f"{lasting(found.resets_at_ms - at_ms)} left"
    )


async def _tenants(search: str, order: TenantOrder, limit: int, offset: int) -> TenantPage:
    async with reading() as db:
        return await OverviewStore(db).tenants(
            now_ms(), search=search, order=order, limit=limit, offset=offset
        )
