"""``headgate nexus-endpoint``: let jobs in other namespaces reach Headgate by Nexus."""

import asyncio

import typer

from headgate.cli import options
from headgate.cli.connect import connect_temporal
from headgate.cli.tables import print_json
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.orchestrator.nexus_endpoint import create_endpoint, require_endpoint


def command(
    name: str = typer.Option("headgate", "--name", help="The endpoint's name, as callers use it."),
    create: bool = typer.Option(False, "--create", help="Create it if it is not there."),
    as_json: bool = options.JSON,
) -> None:
    """Check that a Nexus endpoint leads to the governance workers of this namespace.

    Governance workers answer the service HeadgateService in any case; only jobs in other
    namespaces need an endpoint. It belongs to the whole Temporal cluster.
    """
    asyncio.run(_run(name, create, as_json))


async def _run(name: str, create: bool, as_json: bool) -> None:
    client = await connect_temporal()
    is_new = False
    if create:
        is_new = await create_endpoint(client, name)
    else:
        await require_endpoint(client, name)
    if as_json:
        print_json(
            {
                "endpoint": name,
                "created": is_new,
                "task_queue": GOVERNANCE_TASK_QUEUE,
                "namespace": client.namespace,
            }
        )
        return
    if is_new:
        print(f"created {name}")
    print(
        f"endpoint {name} leads to task queue {GOVERNANCE_TASK_QUEUE} "
        f"of namespace {client.namespace}"
    )
