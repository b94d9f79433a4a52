"""The Nexus endpoint by which other namespaces reach ``HeadgateService``."""

from temporalio.api.nexus.v1 import Endpoint, EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import (
    CreateNexusEndpointRequest,
    ListNexusEndpointsRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ids import GOVERNANCE_TASK_QUEUE


async def require_endpoint(
    client: Client, name: str, task_queue: str = GOVERNANCE_TASK_QUEUE
) -> None:
    """Make sure that an endpoint leads to the governance workers.

    Raises:
        ConfigurationError: There is none of this name, or it leads elsewhere.
        UnavailableError: The server does not tell.
    """
    if not await _is_there(client, name, task_queue):
        raise ConfigurationError(
            f"there is no Nexus endpoint {name!r}: run headgate nexus-endpoint --name {name} "
            f"--create, or {by_hand(client.namespace, name, task_queue)}"
        )


async def create_endpoint(
    client: Client, name: str, task_queue: str = GOVERNANCE_TASK_QUEUE
) -> bool:
    """Create the endpoint unless it is there.

    Args:
        client: Of the namespace in which governance runs.
        name: Of the endpoint; the whole Temporal cluster has one of that name.
        task_queue: Of the governance workers.

    Returns:
        Whether it was created.

    Raises:
        ConfigurationError: There is one of this name that leads elsewhere.
        UnavailableError: The server does not let us; the message names the command to run.
    """
    if await _is_there(client, name, task_queue):
        return False
    worker = EndpointTarget.Worker(namespace=client.namespace, task_queue=task_queue)
    spec = EndpointSpec(name=name, target=EndpointTarget(worker=worker))
    try:
        await client.operator_service.create_nexus_endpoint(CreateNexusEndpointRequest(spec=spec))
    except RPCError as error:
        raise UnavailableError(
            f"Nexus endpoint {name!r} cannot be created: {error}; as an administrator, run "
            f"{by_hand(client.namespace, name, task_queue)}"
        ) from error
    return True


def by_hand(namespace: str, name: str, task_queue: str) -> str:
    """Return the command of Temporal's own tool that creates the endpoint."""
    return (
        f"temporal operator nexus endpoint create --name {name} "
        f"--target-namespace {namespace} --target-task-queue {task_queue}"
    )


async def _is_there(client: Client, name: str, task_queue: str) -> bool:
    found = await _find(client, name)
    if found is None:
        return False
    worker = found.spec.target.worker
    if (worker.namespace, worker.task_queue) != (client.namespace, task_queue):
        where = f"task queue {worker.task_queue!r} of namespace {worker.namespace!r}"
        if not worker.namespace:
            where = found.spec.target.external.url or "nowhere"
        raise ConfigurationError(
            f"Nexus endpoint {name!r} leads to {where}, not to task queue {task_queue!r} of "
            f"namespace {client.namespace!r}: choose another --name"
        )
    return True


async def _find(client: Client, name: str) -> Endpoint | None:
    try:
        answer = await client.operator_service.list_nexus_endpoints(
            ListNexusEndpointsRequest(name=name, page_size=1)
        )
    except RPCError as error:
        raise UnavailableError(f"the Nexus endpoints cannot be listed: {error}") from error
    return next(iter(answer.endpoints), None)
