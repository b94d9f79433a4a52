"""``headgate plan``: who would gain and who would lose, before anything is applied."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import typer

from headgate.cli import options
from headgate.cli.configuration import read
from headgate.cli.connect import connect_temporal
from headgate.cli.options import reading
from headgate.cli.progress import progress
from headgate.cli.tables import print_json, say, show, table
from headgate.model.configuration import Configuration
from headgate.model.plan import Forecast, PoolForecast
from headgate.orchestrator.whatif import forecast
from headgate.view.words import effect

_SIGN: Final = {"create": "+", "update": "~", "remove": "-"}
_MOST_LINES: Final = 6


def command(
    file: Path = typer.Option(
        ..., "-f", "--file", help="The configuration, headgate.yaml; -: standard input."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Divide the pools of FILE on the demand of now, and show who gains and who loses.

    Nothing is changed. What demand will be once this is applied nobody knows.
    """
    with progress() as shown:
        found = asyncio.run(_forecast(read(file), shown))
    if as_json:
        print_json(found)
        return
    _print_changes(found)
    for pool in found.pools:
        print()
        print_pool(pool)


async def _forecast(wanted: Configuration, shown: Callable[[str, int, int], None]) -> Forecast:
    async with reading() as db:
        return await forecast(await connect_temporal(), db, wanted, shown=shown)


def _print_changes(found: Forecast) -> None:
    if not found.changes:
        print("nothing would change: what runs is as the file says")
    for change in found.changes:
        print(f"{_SIGN[change.action]} {change.target}")
        # What is new or goes stands in the file; what differs is worth a line.
        lines = change.lines if change.action == "update" else []
        for line in lines[:_MOST_LINES]:
            say(f"    {line}", 6)
        if len(lines) > _MOST_LINES:
            print(f"    and {len(lines) - _MOST_LINES} more; see headgate apply --dry-run")
    for sentence in found.below_usage:
        say(f"! {sentence}: headgate apply needs --allow-below-usage", 2)


def print_pool(pool: PoolForecast) -> None:
    """Print what a pool would give to whom."""
    has = ", ".join(
        f"{pool.capacity_before[resource]} -> {units} {resource}"
        if pool.capacity_before.get(resource, units) != units
        else f"{units} {resource}"
        for resource, units in pool.capacity.items()
    )
    source = {
        "live": "",
        "saved": ", as last saved",
        "new": ", new: the demand is that of the ledgers",
    }[pool.source]
    if pool.override is not None:
        has += f" (set by {pool.override.actor}: {pool.override.reason})"
    observes = "" if pool.enforced else ", would only observe"
    say(f"pool {pool.pool}: {has}, {pool.strategy.value}{observes}{source}")
    several = len(pool.capacity) > 1
    resource = ("Resource",) if several else ()
    numbers = ("Held", "Wanted", "Now", "Then", "Change")
    rows = table("Tenant", *resource, *numbers, "Effect", right=numbers, whole=("Tenant",))
    for one in pool.tenants:
        rows.add_row(
            one.tenant,
            *((one.resource,) if several else ()),
            str(one.held),
            str(one.wanted),
            "-" if one.before is None else str(one.before),
            str(one.target),
            f"{one.difference:+d}" if one.difference else "0",
            effect(one),
        )
    show(rows)
    for tenant in pool.leaves:
        print(f"{tenant} would no longer share it")
    for condition in pool.conditions:
        say(f"{condition.type}: {condition.message}", 2)
