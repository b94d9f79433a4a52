"""``headgate search-attributes``: make breakers searchable by state in Temporal."""

import asyncio

import typer

from headgate.cli.connect import connect_temporal
from headgate.orchestrator.search_attributes import register, require_registered


def command(
    do_register: bool = typer.Option(False, "--register", help="Register what is missing."),
) -> None:
    """Check that the namespace has the search attributes HeadgateKind and BreakerState.

    They are optional: governance workers use them when started with --search-attributes.
    """
    asyncio.run(_run(do_register))


async def _run(do_register: bool) -> None:
    client = await connect_temporal()
    if do_register:
        for name in await register(client):
            print(f"registered {name}")
    else:
        await require_registered(client)
    print(f"namespace {client.namespace} has HeadgateKind and BreakerState")
