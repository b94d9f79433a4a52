"""``headgate nexus-endpoint``: let jobs in other namespaces reach Headgate by Nexus."""

import asyncio

import typer

from headgate.cli.connect import connect_temporal
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.orchestrator.nexus_endpoint import create_endpoint, require_endpoint


def command(
    name: str = typer.Option("headgate", "--name", help="The endpoint's name, as callers use it."),
    create: bool = typer.Option(False, "--create", help="Create it if it is not there."),
) -> None:
    """Check that a Nexus endpoint leads to the governance workers of this namespace.

    Governance workers answer the service HeadgateService in any case; only jobs in other
    namespaces need an endpoint. It belongs to the whole Temporal cluster.
    """
    asyncio.run(_run(name, create))


async def _run(name: str, create: bool) -> None:
    client = await connect_temporal()
    if not create:
        await require_endpoint(client, name)
    elif await create_endpoint(client, name):
        print(f"created {name}")
    print(
        f"endpoint {name} leads to task queue {GOVERNANCE_TASK_QUEUE} "
        f"of namespace {client.namespace}"
    )
