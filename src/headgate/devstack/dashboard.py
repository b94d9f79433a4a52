"""The API and the dashboard of a running stack, on this machine alone."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.api.server import serving, settings_for
from headgate.api.service import Service, Temporal
from headgate.cli.connect import connect_temporal
from headgate.cli.user import current_user
from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.stack import Stack
from headgate.store.database import Database


async def client_of(stack: Stack) -> Client:
    """Return a client of the stack's Temporal.

    Raises:
        UnavailableError: It does not answer.
    """
    if stack.temporal is None:
        return await connect_temporal()  # with its namespace, its key, its certificates
    return await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)


@asynccontextmanager
async def dashboard(
    stack: Stack, database: Database, port: int | None = None
) -> AsyncIterator[str]:
    """Serve the API and the dashboard for the block.

    Args:
        stack: Running.
        database: Migrated.
        port: Where; a free port when None.

    Yields:
        The address.
    """
    namespace = "default" if stack.temporal else os.environ.get("TEMPORAL_NAMESPACE", "default")
    settings = await settings_for(
        database,
        LOOPBACK,
        current_user(),
        temporal_ui=stack.temporal_ui,
        namespace=namespace,
    )
    service = Service(database, Temporal(lambda: client_of(stack)), settings)
    async with serving(service, LOOPBACK, port or free_port()) as address:
        yield address
