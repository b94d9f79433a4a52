"""``headgate top``: breakers, tenants and pools, live."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.live import Live

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.tables import print_json
from headgate.cli.top_screen import ORDERS, Seen, render
from headgate.gate.clock import now_ms
from headgate.model.errors import UnavailableError
from headgate.store.overview import OverviewStore, TenantOrder

_MOST_TENANTS = 60


def command(
    every: float = typer.Option(1.0, "--every", min=0.2, max=60, help="Seconds between two looks."),
    once: bool = typer.Option(False, "--once", help="Draw it once and end, as without a terminal."),
    as_json: bool = options.JSON,
) -> None:
    """Show breakers, tenants and pools live, what needs attention first, as Postgres has it.

    Keys: q quits, s sorts tenants by another number, space pauses. With --json what would be drawn
    is printed once.
    """
    if as_json:
        seen = asyncio.run(_once())
        parts = {"breakers": seen.breakers, "tenants": seen.tenants, "pools": seen.pools}
        print_json({"status": seen.status, **parts})
        return
    console = Console(highlight=False)
    if once or not (console.is_terminal and sys.stdin.isatty()):
        seen = asyncio.run(_once())
        console.print(render(seen, console.height if console.is_terminal else 1_000, now_ms()))
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(console, every))


class _Keys:
    """What was pressed, as far as it means something."""

    def __init__(self) -> None:
        self.order: TenantOrder = ORDERS[0]
        self.is_paused = False
        self.is_over = False
        self.pressed = asyncio.Event()

    def read(self) -> None:
        """Take what is there."""
        pressed = os.read(sys.stdin.fileno(), 64).decode(errors="replace")
        for key in pressed or "q":  # nothing: the terminal is gone
            if key in "q\x03\x04":
                self.is_over = True
            elif key == "s":
                self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
            elif key == " ":
                self.is_paused = not self.is_paused
        self.pressed.set()


async def _once() -> Seen:
    async with reading() as db:
        return await _look(OverviewStore(db), ORDERS[0])


async def _watch(console: Console, every_s: float) -> None:
    async with reading() as db:
        store = OverviewStore(db)
        seen = await _look(store, ORDERS[0])
        keys = _Keys()
        with _one_key_at_a_time(), Live(console=console, screen=True, auto_refresh=False) as live:
            loop = asyncio.get_running_loop()
            loop.add_reader(sys.stdin.fileno(), keys.read)
            try:
                while not keys.is_over:
                    seen = await _again(store, keys, seen)
                    live.update(render(seen, console.height, now_ms()), refresh=True)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(every_s):
                            await keys.pressed.wait()
                    keys.pressed.clear()
            finally:
                loop.remove_reader(sys.stdin.fileno())


async def _again(store: OverviewStore, keys: _Keys, before: Seen) -> Seen:
    """Look again; while Postgres is away, what was seen before stays, and says so."""
    if keys.is_paused:
        return _changed(before, keys, None)
    try:
        return await _look(store, keys.order)
    except UnavailableError as error:
        return _changed(before, keys, str(error))


def _changed(before: Seen, keys: _Keys, trouble: str | None) -> Seen:
    return Seen(
        before.status,
        before.breakers,
        before.tenants,
        before.pools,
        before.order,
        keys.is_paused,
        trouble,
    )


async def _look(store: OverviewStore, order: TenantOrder) -> Seen:
    at_ms = now_ms()
    return Seen(
        await store.status(at_ms),
        await store.breakers(at_ms),
        await store.tenants(at_ms, order=order, limit=_MOST_TENANTS),
        await store.pools(),
        order,
    )


@contextlib.contextmanager
def _one_key_at_a_time() -> Iterator[None]:
    """Have the terminal hand over each key at once and not show it; as before afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
