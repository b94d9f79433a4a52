"""``headgate status``: does work flow, and what needs attention first?"""

import asyncio
from typing import Final

import typer

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.page import counted
from headgate.cli.tables import ago, print_json, say
from headgate.gate.clock import now_ms
from headgate.orchestrator.times import lasting
from headgate.store.overview import OverviewStore
from headgate.view.status import Attention, Status, Verdict

EXIT_CODES: Final = {Verdict.FLOWING: 0, Verdict.BLOCKED: 1, Verdict.STALE: 3}


def command(
    limit: int = typer.Option(10, "--limit", min=0, help="Show at most so many things to look at."),
    as_json: bool = options.JSON,
) -> None:
    """Say in one line whether work flows, and what needs attention first.

    Reads Postgres only. Ends with 0: flowing; 1: blocked; 2: it cannot be told, because Postgres or
    the configuration of this command is not well; 3: stale, what is known is old.
    """
    found = asyncio.run(_status())
    if as_json:
        print_json(found)
    else:
        _print(found, limit)
    raise typer.Exit(EXIT_CODES[found.verdict])


async def _status() -> Status:
    async with reading() as db:
        return await OverviewStore(db).status(now_ms())


def _print(found: Status, limit: int) -> None:
    say(found.line)
    totals = found.totals
    say(
        f"{counted(totals.breakers, 'breaker')}, {counted(totals.tenants, 'tenant')}, "
        f"{counted(totals.pools, 'pool')}; last change saved {ago(found.saved_at_ms)}, "
        f"governance worker seen {ago(found.worker_seen_ms)}, "
        f"Temporal answered it {ago(found.temporal_answered_ms)}"
    )
    for one in found.attention[:limit]:
        _print_attention(one, found.at_ms)
    if (more := len(found.attention) - limit) > 0:
        print(f"and {more} more: headgate status --limit {len(found.attention)}")


def _print_attention(one: Attention, at_ms: int) -> None:
    since = "" if one.since_ms is None else f", since {lasting(at_ms - one.since_ms)}"
    print(f"\n{one.severity:8} {one.subject}{since}")
    say(f"         {one.message}", 9)
    print(f"         {one.command}")
