"""``HeadgateService``: jobs of another namespace get the same permits, by Nexus."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from nexusrpc import HandlerError, HandlerErrorType
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import NexusOperationError
from temporalio.worker import Worker

from headgate.devstack.stack import Stack
from headgate.model.entity import ClosedHolders, HolderCheck, HolderRef
from headgate.model.errors import ConfigurationError
from headgate.model.quota import Quota
from headgate.model.remote import AdmitRequest
from headgate.orchestrator.nexus_endpoint import create_endpoint, require_endpoint
from tests.foreign.jobs import NexusJob, RawNexusCall
from tests.harness import Governance, apply, eventually, now_ms, soon_left

Handle = WorkflowHandle[NexusJob, list[dict[str, Any]]]


@dataclass
class Neighbour:
    """A worker in a namespace, and the endpoint by which its jobs reach governance."""

    client: Client
    endpoint: str
    task_queue: str

    async def start(self, ask: AdmitRequest) -> Handle:
        return await self.client.start_workflow(
            NexusJob.run,
            args=[self.endpoint, ask],
            id=f"neighbour-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(minutes=2),
        )

    async def started(self, ask: AdmitRequest) -> tuple[Handle, dict[str, Any]]:
        """Start a job; return it with the first answer that it got."""
        job = await self.start(ask)
        decisions = await eventually(lambda: job.query(NexusJob.known), bool)
        return job, decisions[0]

    async def call(self, operation: str, argument: Any) -> Any:
        return await self.client.execute_workflow(
            RawNexusCall.run,
            args=[self.endpoint, operation, argument],
            id=f"neighbour-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(minutes=2),
        )

    async def refusal(self, operation: str, argument: Any) -> str:
        """Call what is not valid; return in which words it is refused."""
        with pytest.raises(WorkflowFailureError) as failure:
            await self.call(operation, argument)
        assert isinstance(failure.value.cause, NexusOperationError)
        cause = failure.value.cause.cause
        assert isinstance(cause, HandlerError)
        assert (cause.type, cause.retryable) == (HandlerErrorType.BAD_REQUEST, False)
        return cause.message


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def namespace(stack: Stack) -> str:
    """Another namespace on the same server."""
    name = f"neighbour-{uuid4().hex[:6]}"
    client = await Client.connect(stack.temporal_address)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(
            namespace=name, workflow_execution_retention_period=Duration(seconds=86_400)
        )
    )
    return name


@pytest_asyncio.fixture
async def neighbour(
    stack: Stack, governance: Governance, namespace: str
) -> AsyncIterator[Neighbour]:
    async with _running(stack, governance, namespace) as running:
        yield running


@pytest_asyncio.fixture
async def inmate(stack: Stack, governance: Governance) -> AsyncIterator[Neighbour]:
    """The same in the namespace of governance."""
    async with _running(stack, governance, governance.client.namespace) as running:
        yield running


@asynccontextmanager
async def _running(
    stack: Stack, governance: Governance, namespace: str
) -> AsyncIterator[Neighbour]:
    endpoint = f"headgate-{uuid4().hex[:8]}"
    assert await create_endpoint(governance.client, endpoint, governance.task_queue)
    client = await Client.connect(
        stack.temporal_address, namespace=namespace, data_converter=pydantic_data_converter
    )
    # The server takes a moment to know a new namespace everywhere.
    await eventually(lambda: client.count_workflows("TaskQueue = 'none'"), lambda _: True)
    task_queue = f"neighbour-{uuid4().hex[:8]}"
    worker = Worker(client, task_queue=task_queue, workflows=[NexusJob, RawNexusCall])
    async with soon_left(worker):
        yield Neighbour(client, endpoint, task_queue)


def ask(tenant: str, **fields: Any) -> AdmitRequest:
    return AdmitRequest.model_validate({"tenant": tenant, "resource": "scan", **fields})


async def test_a_job_of_another_namespace_holds_a_permit(
    neighbour: Neighbour, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    job, decision = await neighbour.started(ask(name))
    assert decision["outcome"] == "granted"
    (permit,) = (await governance.holders(name)).permits
    run_id = (await job.describe()).run_id
    assert (permit.workflow_id, permit.run_id) == (job.id, run_id)
    assert permit.namespace == neighbour.client.namespace
    (denied,) = await (await neighbour.start(ask(name))).result()
    assert denied["outcome"] == "denied"
    assert denied["reason"]["code"] == "quota_used_up"
    await job.signal(NexusJob.end)
    await job.result()
    await governance.until_scans(name, granted=1, released=1, held=0)


async def test_one_that_waits_asks_again_until_its_turn_has_come(
    neighbour: Neighbour, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    first, _ = await neighbour.started(ask(name))
    second, waiting = await neighbour.started(ask(name, wait_until_ms=now_ms() + 60_000))
    assert waiting["outcome"] == "waiting"
    assert waiting["reason"]["position"] == 1
    await first.signal(NexusJob.end)
    await first.result()
    await second.signal(NexusJob.end)
    decisions = await second.result()
    assert {decision["id"] for decision in decisions} == {waiting["id"]}
    assert {decision["outcome"] for decision in decisions[:-1]} == {"waiting"}
    assert decisions[-1]["outcome"] == "granted"
    await governance.until_scans(name, granted=2, released=2, held=0)


async def test_a_live_holder_of_another_namespace_keeps_its_permit_and_a_closed_one_does_not(
    neighbour: Neighbour, governance: Governance, name: str
) -> None:
    await governance.watchful().set_quotas(name, scan=Quota(max_active=2))
    alive, granted = await neighbour.started(ask(name))
    closed, _ = await neighbour.started(ask(name))
    await closed.terminate()
    await governance.until_scans(name, reclaimed=1, held=1)
    (permit,) = (await governance.holders(name)).permits
    assert (permit.id, permit.workflow_id) == (granted["id"], alive.id)
    await alive.signal(NexusJob.end)
    await alive.result()


@pytest.mark.parametrize("elsewhere", ["no-such-namespace", None])
async def test_a_holder_about_which_nothing_can_be_learned_keeps_its_permit(
    governance: Governance, namespace: str, elsewhere: str | None
) -> None:
    there = elsewhere or namespace
    unknown = HolderRef(permit="p1", workflow_id="unknown", run_id="", namespace=there)
    ours = HolderRef(permit="p2", workflow_id="unknown", run_id="")
    found = await governance.client.execute_activity(
        "headgate.find_closed_holders",
        HolderCheck(holders=[unknown, ours]),
        id=f"check-{uuid4().hex[:8]}",
        task_queue=governance.task_queue,
        result_type=ClosedHolders,
        start_to_close_timeout=timedelta(seconds=30),
    )
    assert found.permits == ["p2"]


async def test_a_job_of_the_same_namespace_may_use_nexus_too(
    inmate: Neighbour, governance: Governance, name: str
) -> None:
    await governance.watchful().set_quotas(name, scan=Quota(max_active=1))
    job, decision = await inmate.started(ask(name))
    assert decision["outcome"] == "granted"
    await job.terminate()
    await governance.until_scans(name, reclaimed=1, held=0)


async def test_what_cannot_be_read_is_refused_in_plain_words(
    neighbour: Neighbour, governance: Governance, name: str
) -> None:
    words = await neighbour.refusal("admit", {"tenant": "acme", "resource": "scan", "units": -1})
    assert words == (
        "HeadgateService.admit: units is -1: Input should be greater than or equal to 1"
    )
    words = await neighbour.refusal("release", {"id": "p1"})
    assert words == "HeadgateService.release: tenant: Field required"
    listed = f"listed-{name}"
    await apply(governance.database, {listed: {}}, {"acme": {"quotas": {"scan": {}}}})
    nowhere = {"tenant": "acme", "resource": "scan", "downstream": name}
    words = await neighbour.refusal("admit", nowhere)
    assert words == (
        f"HeadgateService.admit: {name} is no downstream (there is: {listed}): list it under "
        "downstreams"
    )
    assert await governance.is_unheard_of("breaker", name)
    words = await neighbour.refusal("admit", None)
    assert words.startswith("HeadgateService.admit: ")


async def test_an_endpoint_is_created_once_and_never_redirected(
    governance: Governance, task_queue: str
) -> None:
    endpoint = f"headgate-{uuid4().hex[:8]}"
    with pytest.raises(ConfigurationError, match=f"nexus endpoint create --name {endpoint}"):
        await require_endpoint(governance.client, endpoint, task_queue)
    assert await create_endpoint(governance.client, endpoint, task_queue)
    assert not await create_endpoint(governance.client, endpoint, task_queue)
    await require_endpoint(governance.client, endpoint, task_queue)
    with pytest.raises(ConfigurationError, match=f"leads to task queue '{task_queue}'"):
        await create_endpoint(governance.client, endpoint, "another")
