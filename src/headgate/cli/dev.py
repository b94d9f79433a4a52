"""``headgate dev``: everything that Headgate needs, embedded, until Ctrl-C."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import typer

from headgate.devstack.dashboard import dashboard
from headgate.devstack.environment import write_environment
from headgate.devstack.stack import Stack
from headgate.devstack.workers import GOVERNANCE, SupervisedWorker, worker_environment
from headgate.store.database import Database
from headgate.store.migrate import migrate


def _port(purpose: str) -> Any:
    return typer.Option(None, min=1, max=65_535, help=f"Port of {purpose}. Without it: a free one.")


def command(
    state_dir: Path = typer.Option(Path(".headgate"), metavar="DIR", help="Keep the data there."),
    temporal_port: int | None = _port("Temporal"),
    ui_port: int | None = _port("the Temporal UI"),
    postgres_port: int | None = _port("Postgres"),
    dashboard_port: int | None = _port("the API and the dashboard"),
) -> None:
    """Start Temporal, Postgres, a governance worker and the dashboard; end them with Ctrl-C.

    What TEMPORAL_ADDRESS or HEADGATE_DATABASE_URL names already is used instead. The data stays in
    the state folder for the next time.
    """
    stack = Stack(
        state_dir,
        search_attributes=True,
        temporal_port=temporal_port,
        temporal_ui_port=ui_port,
        postgres_port=postgres_port,
    )
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(stack, dashboard_port))


async def _run(stack: Stack, dashboard_port: int | None) -> None:
    running = asyncio.current_task()
    assert running is not None
    stopping = False

    def stop() -> None:
        # Also while things are still starting; once, because ending must not be interrupted.
        nonlocal stopping
        if not stopping:
            stopping = True
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    print("starting Temporal and Postgres", flush=True)
    async with stack, Database(stack.dsn) as database:
        await migrate(database)
        worker = SupervisedWorker(
            "governance worker",
            GOVERNANCE,
            worker_environment(stack),
            stack.state_dir / "logs" / "governance.log",
            lambda line: print(line, flush=True),
        )
        async with worker.running(), dashboard(stack, database, dashboard_port) as address:
            print(
                f"Temporal     {stack.temporal_address}\n"
                f"Temporal UI  {stack.temporal_ui or '-'}\n"
                f"Dashboard    {address}\n"
                f"Postgres     {database.address}\n"
                f"For other terminals:  {write_environment(stack)}\n"
                "Ctrl-C ends all of it; the data stays.",
                flush=True,
            )
            await asyncio.Event().wait()
