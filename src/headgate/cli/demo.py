"""``headgate demo``: the whole of Headgate at work, on this machine."""

import asyncio
import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from headgate.devstack.demo import Demo
from headgate.devstack.environment import write_environment
from headgate.devstack.scenario import Recorded, Scenario, Scheduled
from headgate.devstack.screen import Board, screen
from headgate.devstack.stack import Stack
from headgate.devstack.trace import COLUMNS, parse_time, read_trace
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.times import utc


def command(
    seconds: float | None = typer.Option(
        None, help="Submit jobs for so long, then let them end. Without it: until Ctrl-C."
    ),
    headless: bool = typer.Option(
        False, "--headless", help="Print events on standard error, draw nothing."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="Print the figures as one JSON object at the end; draw nothing."
    ),
    trace: Path | None = typer.Option(
        None,
        metavar="FILE",
        help=f"Play a recorded workload: CSV with the columns {', '.join(COLUMNS)}.",
    ),
    since: str | None = typer.Option(
        None, "--from", metavar="TIME", help="Begin the trace there, as in 2024-11-20T22:00:00Z."
    ),
    speed: float = typer.Option(1.0, help="Play the trace so many times as fast."),
    state_dir: Path | None = typer.Option(
        None, metavar="DIR", help="Keep the data there. Without it: nowhere."
    ),
) -> None:
    """Run jobs of several tenants against downstreams that fail, slow down and recover.

    Starts Temporal, Postgres, a governance worker, an orchestrator worker, three HTTP downstreams
    and a webhook receiver. Ctrl-C ends it early, with the figures; once more ends it at once. Ends
    with code 1 when something happened that must never happen, or part of the figures is missing.
    """
    began_s = time.monotonic()
    scenario = _scenario(trace, since, speed)
    if seconds is not None and not (0 < seconds < math.inf):
        raise ConfigurationError(f"--seconds {seconds:g}: write a number above 0")
    # What the SDK warns of by itself, such as that it asks again, is not for these eyes.
    errors = LoggingConfig(TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=errors)))
    try:
        figures = asyncio.run(_run(scenario, seconds, headless or as_json, state_dir, began_s))
    except asyncio.CancelledError:
        sys.exit(130)
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        _print_summary(figures)
    if "problems" in figures:
        sys.exit(1)


def _scenario(trace: Path | None, since: str | None, speed: float) -> Scenario:
    if trace is None:
        if since is not None or speed != 1.0:
            raise ConfigurationError("--from and --speed are for a --trace FILE, which is missing")
        return Scheduled()
    if not (0 < speed < math.inf):
        raise ConfigurationError(f"--speed {speed:g}: write a number above 0")
    begin = parse_time(since) if since is not None else None
    calls = read_trace(trace, begin)
    begin_ms = calls[0].at_ms if begin is None else int(begin.timestamp() * 1000)
    return Recorded(calls, begin_ms, speed)


async def _run(
    scenario: Scenario,
    seconds: float | None,
    headless: bool,
    state_dir: Path | None,
    began_s: float,
) -> dict[str, object]:
    stopping = asyncio.Event()
    playing = asyncio.current_task()
    assert playing is not None

    def stop() -> None:
        if stopping.is_set():
            playing.cancel()
        else:
            stopping.set()
            tell("ending; Ctrl-C once more ends at once, without figures")

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    board = Board()
    console = Console(stderr=headless)
    drawn = console.is_terminal and not headless

    def tell(line: str) -> None:
        stamped = f"{datetime.now().astimezone():%H:%M:%S} {line}"
        board.events.append(stamped)
        if not drawn:
            print(stamped, file=sys.stderr, flush=True)

    with _folder(state_dir) as folder:
        tell("starting Temporal and Postgres")
        async with Stack(folder, search_attributes=True) as stack:
            board.ui = stack.temporal_ui
            board.environment = write_environment(stack)
            tell(f"Temporal at {stack.temporal_address}, its UI at {stack.temporal_ui or '-'}")
            tell(f"for headgate commands in other terminals:  {board.environment}")
            demo = Demo(stack, scenario, began_s, tell, board)
            if not drawn:
                return await demo.run(stopping, seconds)
            until = "until Ctrl-C" if seconds is None else f"for {seconds:g} s"

            def headline() -> None:
                board.headline = f"demo {until}, {time.monotonic() - began_s:.0f} s so far"

            async with screen(console, board, headline):
                return await demo.run(stopping, seconds)


@contextlib.contextmanager
def _folder(state_dir: Path | None) -> Iterator[Path]:
    if state_dir is not None:
        yield state_dir
        return
    with tempfile.TemporaryDirectory(prefix="headgate-demo-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # as root, Postgres runs as another user and must get in
        yield path


def _print_summary(figures: dict[str, object]) -> None:
    console = Console(highlight=False)
    for name, value in figures.items():
        # What there are many of, or what has parts of its own, stands on lines of its own.
        lines: list[str] = []
        if isinstance(value, list):
            lines = [_step(one) if isinstance(one, dict) else str(one) for one in value]
            value = len(value)
        elif isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()):
            lines = [f"{key}: {_parts(one)}" for key, one in value.items()]
            value = ""
        elif isinstance(value, dict):
            value = _parts(value)
        console.print(f"[bold]{name}[/bold]: {value}".rstrip())
        for line in lines:
            console.print(f"  {line}", markup=False, soft_wrap=True)


def _parts(of: dict[str, object]) -> str:
    return ", ".join(f"{key} {part}" for key, part in of.items())


def _step(step: dict[str, Any]) -> str:
    """Return a change of a breaker as it was told while it happened."""
    change = f"{step['from']} -> {step['to']}"
    return f"{utc(step['at_ms'])} {step['downstream']}: {change}: {step['reason']}"
