"""An embedded stack with one governance worker, for benchmarks on the real parts."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.cli.worker import governance_worker
from headgate.devstack.stack import Stack
from headgate.store.database import Database
from headgate.store.migrate import migrate


@asynccontextmanager
async def governed_site() -> AsyncIterator[Client]:
    """Yield a client of a namespace that is governed for the block."""
    async with governed_site_and_database() as (client, _):
        yield client


@asynccontextmanager
async def governed_site_and_database() -> AsyncIterator[tuple[Client, Database]]:
    """The same, with what is saved of it."""
    async with AsyncExitStack() as resources:
        folder = Path(
            resources.enter_context(tempfile.TemporaryDirectory(prefix="headgate-bench-"))
        )
        folder.chmod(0o755)  # Postgres runs as another user when this runs as root
        stack = await resources.enter_async_context(Stack(folder, temporal_ui=False))
        database = await resources.enter_async_context(Database(stack.dsn))
        await migrate(database)
        client = await Client.connect(
            stack.temporal_address, data_converter=pydantic_data_converter
        )
        await resources.enter_async_context(governance_worker(client, database))
        yield client, database
