"""A worker whose client was not given the plugin."""

from datetime import timedelta
from uuid import uuid4

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, Worker

from headgate import governance

with workflow.unsafe.imports_passed_through():  # asyncpg does not bear to be imported once more
    from headgate.devstack.stack import Stack
    from headgate.testing import FakeGate, FakeHeadgatePlugin
    from tests.harness import eventually, soon_left


@workflow.defn
class HoldingJob:
    """Holds a permit for a moment."""

    @workflow.run
    async def run(self) -> str:
        async with governance.permit(tenant="acme", resource="scan") as permit:
            return permit.resource


async def failed_tasks(job: WorkflowHandle[HoldingJob, str]) -> list[str]:
    return [
        event.workflow_task_failed_event_attributes.failure.message
        for event in (await job.fetch_history()).events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    ]


async def test_a_job_that_asks_there_says_what_is_missing_and_goes_on_where_it_is_not(
    stack: Stack,
) -> None:
    queue = f"holding-{uuid4().hex[:8]}"
    bare = await Client.connect(stack.temporal_address)
    async with soon_left(Worker(bare, task_queue=queue, workflows=[HoldingJob])):
        job = await bare.start_workflow(
            HoldingJob.run,
            id=queue,
            task_queue=queue,
            execution_timeout=timedelta(minutes=1),
        )
        (said, *_) = await eventually(lambda: failed_tasks(job), bool)
    assert said.startswith("governance.permit(): this worker has no gate to ask")
    assert "plugins=[HeadgatePlugin()]" in said
    plugin = FakeHeadgatePlugin(FakeGate())
    client = await Client.connect(stack.temporal_address, plugins=[plugin])
    async with soon_left(Worker(client, task_queue=queue, workflows=[HoldingJob])):
        assert await job.result() == "scan"
    replayer = Replayer(workflows=[HoldingJob], data_converter=pydantic_data_converter)
    await replayer.replay_workflow(await job.fetch_history())
