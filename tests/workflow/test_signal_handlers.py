"""A job with handlers of its own for whatever comes: the signals of ledgers are not among it."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.worker import Worker

from headgate import governance
from headgate.devstack.stack import Stack
from headgate.testing import FakeGate, FakeHeadgatePlugin
from tests.harness import soon_left


@workflow.defn
class HearingJob:
    """Takes any signal, and waits for a permit."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @workflow.signal(dynamic=True)
    def anything(self, name: str, arguments: Sequence[RawValue]) -> None:
        self.heard.append(name)

    @workflow.run
    async def run(self) -> list[str]:
        async with governance.permit(tenant="acme", resource="scan"):
            return self.heard


async def test_a_job_that_takes_any_signal_is_granted_its_permit(stack: Stack) -> None:
    gate = FakeGate()
    line = gate.keep_waiting(resource="scan")
    client = await Client.connect(stack.temporal_address, plugins=[FakeHeadgatePlugin(gate)])
    queue = f"hearing-{uuid4().hex[:8]}"
    async with soon_left(Worker(client, task_queue=queue, workflows=[HearingJob])):
        job = await client.start_workflow(
            HearingJob.run,
            id=f"hearing-{uuid4().hex[:8]}",
            task_queue=queue,
            execution_timeout=timedelta(seconds=30),
        )
        await line.until(1)
        await job.signal("mine")
        line.grant()
        assert await job.result() == ["mine"]
