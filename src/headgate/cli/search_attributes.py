"""``headgate search-attributes``: make breakers searchable by state in Temporal."""

import asyncio

import typer

from headgate.cli import options
from headgate.cli.connect import connect_temporal
from headgate.cli.tables import print_json
from headgate.orchestrator.search_attributes import register, require_registered


def command(
    do_register: bool = typer.Option(False, "--register", help="Register what is missing."),
    as_json: bool = options.JSON,
) -> None:
    """Check that the namespace has the search attributes HeadgateKind and BreakerState.

    They are optional: governance workers use them when started with --search-attributes.
    """
    asyncio.run(_run(do_register, as_json))


async def _run(do_register: bool, as_json: bool) -> None:
    client = await connect_temporal()
    registered: list[str] = []
    if do_register:
        registered = list(await register(client))
    else:
        await require_registered(client)
    if as_json:
        print_json({"namespace": client.namespace, "registered": registered})
        return
    for name in registered:
        print(f"registered {name}")
    print(f"namespace {client.namespace} has HeadgateKind and BreakerState")
