"""The governance worker: runs the breakers, ledgers and governors."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import typer
from temporalio.client import Client
from temporalio.worker import Worker

from headgate.cli.connect import connect_temporal, database
from headgate.model.errors import UnavailableError
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.orchestrator.governance_parts import GovernanceParts
from headgate.orchestrator.plugin import HeadgatePlugin
from headgate.store.database import Database


@asynccontextmanager
async def governance_worker(
    client: Client,
    database: Database,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
    max_cached_workflows: int = 2_000,
    search_attributes: bool = False,
    deliver: bool = True,
) -> AsyncIterator[Worker]:
    """Run a governance worker for the block.

    Args:
        client: Of the namespace, without the plugin; with the converter of the job workers.
        database: Migrated.
        task_queue: Where to poll.
        max_cached_workflows: More than the number of breakers and ledgers in use.
        search_attributes: Keep ``HeadgateKind`` and ``BreakerState`` up to date.
        deliver: Deliver alerts here.

    Raises:
        ConfigurationError: The database is not migrated, the namespace does not have these search
            attributes, or a channel of alerts lacks a secret.
    """
    parts = GovernanceParts(database, search_attributes=search_attributes, deliver=deliver)
    await parts.check(client)  # the worker will, but only once it runs
    worker = Worker(
        client,
        task_queue=task_queue,
        max_cached_workflows=max_cached_workflows,
        plugins=[HeadgatePlugin(task_queue=task_queue, governance=parts)],
    )
    async with worker:
        yield worker


async def run(search_attributes: bool, deliver: bool) -> None:
    """Run a governance worker until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with database() as db:
        client = await connect_temporal()
        try:
            async with governance_worker(
                client, db, search_attributes=search_attributes, deliver=deliver
            ):
                logging.getLogger("headgate").info(
                    "governance worker polls %s in namespace %s",
                    GOVERNANCE_TASK_QUEUE,
                    client.namespace,
                )
                await stopping.wait()
        except RuntimeError as error:
            raise UnavailableError(f"governance worker cannot run: {error}") from error


def command(
    search_attributes: bool = typer.Option(
        False,
        "--search-attributes",
        envvar="HEADGATE_SEARCH_ATTRIBUTES",
        help="Make breakers searchable by state in Temporal; see headgate search-attributes.",
    ),
    deliver: bool = typer.Option(
        True,
        "--deliver/--no-deliver",
        envvar="HEADGATE_DELIVER",
        help="Deliver alerts here too; without, headgate notifier run does.",
    ),
) -> None:
    """Run a governance worker: breakers, ledgers, governors, snapshots and alerts.

    Takes Temporal's client environment (TEMPORAL_ADDRESS and the rest), HEADGATE_DATABASE_URL and,
    for orchestrators with a converter or codec of their own, HEADGATE_DATA_CONVERTER.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("temporalio").setLevel(logging.WARNING)
    asyncio.run(run(search_attributes, deliver))
