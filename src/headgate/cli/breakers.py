"""``headgate breakers``: how every breaker stands, and how far it is from opening."""

import asyncio
from typing import Final

import typer

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.tables import ago, bar, print_json, rest, show, table
from headgate.gate.clock import now_ms
from headgate.model.breaker import BreakerState
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.times import lasting
from headgate.store.overview import OverviewStore
from headgate.view.standing import BreakerStanding
from headgate.view.words import GLYPHS

_SORTS: Final = ("trouble", "name", "rejected")


def command(
    search: str = typer.Argument("", help="A part of the name; without it: all of them."),
    state: list[str] = typer.Option([], "--state", help="Only in this state, such as OPEN."),
    sort: str = typer.Option("trouble", "--sort", help="trouble, name or rejected."),
    limit: int = typer.Option(50, "--limit", min=1, help="Show at most so many."),
    as_json: bool = options.JSON,
) -> None:
    """Show how every breaker stands, and how far it is from opening, as Postgres has it."""
    if sort not in _SORTS:
        raise ConfigurationError(f"--sort {sort}: write trouble, name or rejected")
    wanted = {_state(text) for text in state}
    found = [
        one
        for one in asyncio.run(_breakers())
        if search.lower() in one.downstream.lower() and (not wanted or one.state in wanted)
    ]
    shown = ordered(found, sort)[:limit]
    if as_json:
        print_json({"breakers": shown, "matching": len(found), "at_ms": now_ms()})
        return
    if not found:
        print("no breaker matches" if search or state else "no breaker is known yet")
        return
    rows = table(
        *("Downstream", "State", "Failing", "Left", "Opens after", "Rejected", "Changed"),
        whole=("Downstream",),
    )
    for one in shown:
        rows.add_row(
            one.downstream,
            state_words(one, now_ms()),
            failing(one),
            left(one),
            opens_after(one),
            str(one.rejected),
            ago(one.saved_at_ms),
        )
    show(rows)
    rest(len(found) - len(shown), "breaker")


def ordered(found: list[BreakerStanding], sort: str) -> list[BreakerStanding]:
    """Return breakers sorted: what is in trouble first, or by name, or by what they rejected."""
    if sort == "name":
        return sorted(found, key=lambda one: one.downstream)
    if sort == "rejected":
        return sorted(found, key=lambda one: (-one.rejected, one.downstream))
    return sorted(
        found,
        key=lambda one: (one.state is BreakerState.CLOSED, one.margin.share, one.downstream),
    )


def state_words(one: BreakerStanding, at_ms: int) -> str:
    """Return the state, with what is left of its time."""
    words = f"{GLYPHS[one.state]} {one.state}"
    if one.until_ms is not None and one.until_ms > at_ms:
        words += f" {lasting(one.until_ms - at_ms)}"
    return words


def failing(one: BreakerStanding) -> str:
    """Return the share of calls that failed, of how many, and the share at which it opens."""
    if not one.calls:
        return "-"
    return f"{one.failures / one.calls:.0%} of {one.calls}"


def left(one: BreakerStanding) -> str:
    """Return what is left of the way to opening, drawn and in per cent."""
    if one.own_state is not BreakerState.CLOSED:
        return "-"
    return f"{bar(one.margin.share, 5)} {one.margin.share:.0%}"


def opens_after(one: BreakerStanding) -> str:
    """Return how many failures would open it."""
    missing = one.margin.failures
    return "-" if missing is None else f"{missing} failure{'' if missing == 1 else 's'}"


async def _breakers() -> list[BreakerStanding]:
    async with reading() as db:
        return await OverviewStore(db).breakers(now_ms())


def _state(text: str) -> BreakerState:
    try:
        return BreakerState(text.upper().replace("-", "_"))
    except ValueError:
        names = [state.value for state in BreakerState]
        raise ConfigurationError(
            f"--state {text}: write {', '.join(names[:-1])} or {names[-1]}"
        ) from None
