"""The demo on a terminal: breakers, tenants, jobs and the last events, live."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headgate.devstack.tally import Books, Jobs
from headgate.model.breaker import BreakerState, BreakerView
from headgate.model.ledger import LedgerView, LimitView
from headgate.view.words import GLYPHS

_COLOURS: Final = {
    BreakerState.CLOSED: "green",
    BreakerState.OPEN: "bold red",
    BreakerState.HALF_OPEN: "yellow",
    BreakerState.RAMP: "yellow",
    BreakerState.FORCED_OPEN: "bold red",
    BreakerState.FORCED_CLOSED: "cyan",
    BreakerState.SHADOW: "cyan",
}
_MAX_ROWS: Final = 12
_EVENTS: Final = 8


@dataclass(slots=True)
class Board:
    """All that the screen shows.

    Attributes:
        headline: One line at the top.
        ui: The address of the Temporal UI.
        dashboard: The address of the dashboard.
        environment: What to type for ``headgate`` commands in other terminals.
        books: What Postgres has.
        jobs: How the jobs stand.
        events: The last events, newest last.
    """

    headline: str = ""
    ui: str | None = None
    dashboard: str | None = None
    environment: str | None = None
    books: Books = field(default_factory=Books)
    jobs: Jobs = field(default_factory=Jobs)
    events: deque[str] = field(default_factory=lambda: deque(maxlen=_EVENTS))


@asynccontextmanager
async def screen(
    console: Console, board: Board, refresh: Callable[[], object]
) -> AsyncIterator[None]:
    """Show ``board`` for the block, drawn anew four times a second.

    Args:
        console: A terminal.
        board: What to show; changed by others meanwhile.
        refresh: Called before each drawing.
    """
    with Live(render(board), console=console, auto_refresh=False, transient=False) as live:

        async def draw() -> None:
            while True:
                refresh()
                live.update(render(board), refresh=True)
                await asyncio.sleep(0.25)

        drawing = asyncio.create_task(draw())
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
            refresh()
            live.update(render(board), refresh=True)


def render(board: Board) -> RenderableType:
    """Return the whole screen."""
    jobs = board.jobs
    counts = "   ".join(
        f"{name} {count}"
        for name, count in (
            ("started", jobs.started),
            ("succeeded", jobs.ended["succeeded"]),
            ("failed", jobs.ended["failed"]),
            ("refused", jobs.ended["refused"]),
            ("under way or waiting", jobs.running),
        )
    )
    head = Text.assemble(("Headgate  ", "bold"), board.headline)
    if board.dashboard:
        head.append(f"\nDashboard    {board.dashboard}", "dim")
    if board.ui:
        head.append(f"\nTemporal UI  {board.ui}", "dim")
    if board.environment:
        head.append(f"\nElsewhere    {board.environment}", "dim")
    events = Text("\n".join(board.events) or "nothing yet", "dim")
    return Group(
        head,
        Text(),
        _breakers(board.books.breakers),
        Text(),
        _tenants(board.books.ledgers),
        Text.assemble(("\nJobs      ", "bold"), counts),
        Text("\nLast events", "bold"),
        events,
    )


def _breakers(breakers: list[BreakerView]) -> Table:
    table = _table("Downstream", "State", "Failing", "Calls", "Failed", "Rejected", "Why")
    now_ms = time.time() * 1000
    # Those in trouble first; with many, the rest is only counted.
    order = sorted(breakers, key=lambda b: (b.state is BreakerState.CLOSED, -b.failures))
    for breaker in order[:_MAX_ROWS]:
        left = ""
        if breaker.until_ms is not None:
            left = f" {max(0.0, (breaker.until_ms - now_ms) / 1000):.1f} s"
        state = Text(f"{GLYPHS[breaker.state]} {breaker.state}{left}", _COLOURS[breaker.state])
        window = breaker.calls_in_window
        share = f"{breaker.failures_in_window / window:.0%} of {window}" if window else "-"
        table.add_row(
            breaker.downstream,
            state,
            share,
            str(breaker.successes + breaker.failures),
            str(breaker.failures),
            str(breaker.rejected),
            breaker.reason,
        )
    return _with_rest(table, len(order), "downstreams")


def _tenants(ledgers: list[LedgerView]) -> Table:
    table = _table("Tenant", "Resource", "Held", "", "Waiting", "Granted", "Denied", "Of a pool")
    rows = [
        (ledger, resource, account)
        for ledger in ledgers
        for resource, account in ledger.accounts.items()
    ]
    rows.sort(key=lambda row: (-sum(row[0].waiting.values()), row[0].tenant, row[1]))
    for ledger, resource, account in rows[:_MAX_ROWS]:
        now = ledger.limits.get(resource, LimitView())
        limit = now.max_active if now.allocated is None else now.allocated
        held = ledger.units_held.get(resource, 0)
        table.add_row(
            ledger.tenant + ("" if ledger.quota_source == "listed" else " (default)"),
            resource,
            f"{held}/{'∞' if limit is None else limit}",
            _bar(held, limit),
            str(ledger.waiting.get(resource, 0)),
            str(account.granted),
            str(account.denied),
            _of_pool(now, held),
        )
    return _with_rest(table, len(rows), "accounts")


def _of_pool(limit: LimitView, held: int) -> Text:
    """Say what a tenant has of a pool: what it borrows, or lends to others."""
    if limit.pool is None:
        return Text("")
    allocated, guaranteed = limit.allocated or 0, limit.guaranteed
    text = Text(f"{guaranteed} guaranteed")
    if held > guaranteed:
        text.append(f", borrows {held - guaranteed}", "yellow")
    elif allocated < guaranteed:
        text.append(f", lends {guaranteed - allocated}", "cyan")
    return text


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        is_number = column in ("Calls", "Failed", "Rejected", "Waiting", "Granted", "Denied")
        table.add_column(column, justify="right" if is_number else "left", no_wrap=True)
    return table


def _with_rest(table: Table, total: int, what: str) -> Table:
    table.title_justify = "left"
    if total > _MAX_ROWS:
        table.caption = f"and {total - _MAX_ROWS} more {what}"
        table.caption_justify = "left"
    return table


def _bar(held: int, limit: int | None) -> Text:
    if not limit:
        return Text("")
    cells = round(10 * min(held, limit) / limit)
    colour = "red" if held >= limit else "yellow" if held * 100 >= 80 * limit else "green"
    return Text.assemble(("█" * cells, colour), ("·" * (10 - cells), "dim"))
