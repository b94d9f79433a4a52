"""What ``headgate top`` draws: a verdict, then breakers, tenants and pools, as far as they fit."""

from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headgate.cli.breakers import failing, left, opens_after, ordered, state_words
from headgate.cli.page import counted
from headgate.cli.tables import ago, bar
from headgate.cli.tenants import amounts
from headgate.model.breaker import BreakerState
from headgate.model.limits import PressureLevel
from headgate.store.overview import TenantOrder, TenantPage
from headgate.view.standing import BreakerStanding, PoolStanding, ResourceStanding
from headgate.view.status import Status, Verdict

ORDERS: Final[tuple[TenantOrder, ...]] = ("waiting", "usage", "held", "changed", "name")

_ALARMING: Final = (BreakerState.OPEN, BreakerState.FORCED_OPEN)
_VERDICTS: Final = {
    Verdict.FLOWING: ("● FLOWING", "bold green"),
    Verdict.BLOCKED: ("✕ BLOCKED", "bold red"),
    Verdict.STALE: ("? STALE", "bold yellow"),
}
_PRESSURES: Final = {
    PressureLevel.NORMAL: "",
    PressureLevel.ELEVATED: "yellow",
    PressureLevel.SATURATED: "bold yellow",
    PressureLevel.EMERGENCY: "bold red",
}
_FIXED: Final = 7
"""Lines that are always there: the head, three titles, and a line of keys."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read at one time.

    Attributes:
        status: The verdict.
        breakers: All of them.
        tenants: The first of them.
        pools: All of them.
        order: Of the tenants.
        paused: Nothing is read anew.
        trouble: Why nothing could be read the last time; this is from before.
    """

    status: Status
    breakers: list[BreakerStanding]
    tenants: TenantPage
    pools: list[PoolStanding]
    order: TenantOrder
    paused: bool = False
    trouble: str | None = None


def render(seen: Seen, height: int, now_ms: int) -> RenderableType:
    """Return the screen.

    Args:
        seen: What to draw.
        height: Lines that there are.
        now_ms: Unix time.
    """
    room = max(3, height - _FIXED)
    wanted = [
        len(seen.breakers),
        sum(max(1, len(one.resources)) for one in seen.tenants.tenants),
        sum(len(one.capacity) for one in seen.pools),
    ]
    breakers, tenants, pools = _divided(room, wanted)
    return Group(
        _head(seen),
        _breakers(seen, breakers, now_ms),
        _tenants(seen, tenants),
        _pools(seen, pools),
        _keys(seen),
    )


def _divided(room: int, wanted: list[int]) -> list[int]:
    """Divide the lines: nobody gets more than it wants, and what is left goes to the others."""
    given = [0] * len(wanted)
    while room > 0 and (short := [n for n in range(len(wanted)) if given[n] < wanted[n]]):
        for n in short[:room]:
            given[n] += 1
        room -= len(short[:room])
    return given


def _head(seen: Seen) -> RenderableType:
    word, style = _VERDICTS[seen.status.verdict]
    line = seen.status.line
    if seen.trouble is not None:
        word, style, line = "? STALE", "bold yellow", seen.trouble
    totals, read = seen.status.totals, ""
    if seen.paused or seen.trouble is not None:
        read = f"READ {ago(seen.status.at_ms)}  "
    second = (
        f"{read}{counted(totals.breakers, 'breaker')}  {counted(totals.tenants, 'tenant')}  "
        f"{counted(totals.pools, 'pool')}  saved {ago(seen.status.saved_at_ms)}, "
        f"worker {ago(seen.status.worker_seen_ms)}"
    )
    return Group(
        Text.assemble((word, style), "  ", line.removeprefix("flowing; "), no_wrap=True),
        Text(second, "dim", no_wrap=True),
    )


def _breakers(seen: Seen, lines: int, now_ms: int) -> Table:
    found = _table("BREAKER", "STATE", "FAILING", "LEFT", "OPENS AFTER", "REJECTED")
    for one in ordered(seen.breakers, "trouble")[:lines]:
        style = "bold red" if one.state in _ALARMING else ""
        if not style and one.state is not BreakerState.CLOSED:
            style = "yellow"
        found.add_row(
            one.downstream,
            Text(state_words(one, now_ms), style),
            failing(one),
            left(one),
            opens_after(one),
            str(one.rejected),
        )
    return _with_rest(found, len(seen.breakers) - lines)


def _tenants(seen: Seen, lines: int) -> Table:
    found = _table(
        *("TENANT", "RESOURCE", "HELD OF ROOM", "USED", "LEASED", "BORROWED", "FREE", "WAIT")
    )
    rows = [
        (tenant.tenant if number == 0 else "", one)
        for tenant in seen.tenants.tenants
        for number, one in enumerate(tenant.resources)
    ]
    for name, one in rows[:lines]:
        found.add_row(
            name,
            one.resource,
            _usage(one),
            *amounts(one),
            Text(str(one.waiting), "yellow" if one.waiting else ""),
        )
    shown = len({one.tenant for _, one in rows[:lines]})
    return _with_rest(found, seen.tenants.matching - shown)


def _pools(seen: Seen, lines: int) -> Table:
    found = _table(*("POOL", "RESOURCE", "HELD OF CAPACITY", "GIVEN", "WANTED", "WAIT", "PRESSURE"))
    rows = [(pool, resource) for pool in seen.pools for resource in pool.capacity]
    for pool, resource in rows[:lines]:
        capacity, held = pool.capacity[resource], pool.held.get(resource, 0)
        found.add_row(
            pool.pool,
            resource,
            _filled(held, capacity),
            str(pool.allocated.get(resource, 0)),
            str(pool.wanted.get(resource, 0)),
            str(pool.waiting),
            Text(pool.pressure.value, _PRESSURES[pool.pressure]),
        )
    return _with_rest(found, len(rows) - lines)


def _keys(seen: Seen) -> Text:
    paused = "space goes on (paused)" if seen.paused else "space pause"
    return Text(f"q quit   s tenants by {seen.order}   {paused}", "dim", no_wrap=True)


def _usage(one: ResourceStanding) -> Text:
    held = one.used + one.leased
    return Text(f"{held} of ∞") if one.room is None else _filled(held, one.room)


def _filled(held: int, room: int) -> Text:
    part = held / room if room else float(held > 0)
    style = "red" if part >= 1 else "yellow" if part >= 0.8 else "green"
    return Text.assemble((bar(part, 6), style), f" {held}/{room}")


def _table(*columns: str) -> Table:
    found = Table(box=None, pad_edge=False, header_style="bold dim", padding=(0, 2, 0, 0))
    for column in columns:
        number = column in ("REJECTED", "USED", "LEASED", "BORROWED", "FREE", "WAIT", "GIVEN")
        right = number or column == "WANTED"
        first = column in ("BREAKER", "TENANT", "POOL")
        found.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=8 if first else None,
            ratio=1 if first else None,
        )
    found.expand = True
    return found


def _with_rest(found: Table, more: int) -> Table:
    """Say in the head of the first column how many rows are not shown."""
    if more > 0:
        found.columns[0].header = f"{found.columns[0].header} +{more}"
    return found
