"""Jobs in another SDK, and with no SDK at all: the same permits by the same JSON."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from temporalio.api.command.v1 import (
    Command,
    CompleteWorkflowExecutionCommandAttributes,
    ScheduleActivityTaskCommandAttributes,
)
from temporalio.api.common.v1 import (
    ActivityType,
    Payload,
    Payloads,
    WorkflowExecution,
    WorkflowType,
)
from temporalio.api.enums.v1 import CommandType, EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    RespondWorkflowTaskCompletedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowHandle

from headgate.devstack.stack import Stack
from headgate.model.ids import workflow_id
from headgate.model.quota import Quota
from tests.foreign.packages import HERE, node_modules
from tests.harness import Governance, eventually, now_ms

# JavaScript --------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def javascript(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """A worker in JavaScript; the name of its task queue."""
    packages = await asyncio.to_thread(node_modules)
    if isinstance(packages, str):
        pytest.skip(f"no job in JavaScript: {packages}")
    for name in ("job.js", "worker.js"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(packages)
    task_queue = f"javascript-{uuid4().hex[:8]}"
    with (tmp_path / "errors").open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *("node", "worker.js", stack.temporal_address, task_queue),
            cwd=tmp_path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 90)
        assert line == b"ready\n", (tmp_path / "errors").read_text()
        yield task_queue
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.timeout(400)  # once, its packages are installed
async def test_a_job_in_javascript_is_granted_waits_and_gives_back(
    client: Client, governance: Governance, javascript: str, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))

    async def started(**fields: Any) -> tuple[WorkflowHandle[Any, Any], dict[str, Any]]:
        job: WorkflowHandle[Any, Any] = await client.start_workflow(
            "foreignJob",
            args=[governance.task_queue, {"tenant": name, "resource": "scan", **fields}],
            id=f"javascript-{uuid4().hex[:12]}",
            task_queue=javascript,
            execution_timeout=timedelta(minutes=2),
        )
        decisions = await eventually(lambda: job.query("known"), bool)
        return job, decisions[0]

    first, granted = await started()
    assert granted["outcome"] == "granted"
    (permit,) = (await governance.holders(name)).permits
    assert (permit.id, permit.workflow_id) == (granted["id"], first.id)
    denied_job, denied = await started()
    assert denied["reason"]["code"] == "quota_used_up"
    assert await denied_job.result() == [denied]

    second, waiting = await started(wait_until_ms=now_ms() + 60_000)
    assert waiting["outcome"] == "waiting"
    await first.signal("end")
    await first.result()
    await second.signal("end")
    _, told = await second.result()
    assert told["id"] == waiting["id"]
    await governance.until_scans(name, granted=2, released=2, held=0)


# Plain gRPC --------------------------------------------------------------------------------------


class PlainJob:
    """A job workflow by hand: what an SDK does on the wire, one workflow task after another."""

    def __init__(self, client: Client, governance: str) -> None:
        self._service = client.workflow_service
        self._namespace = client.namespace
        self._governance = governance
        self._task_queue = TaskQueue(name=f"plain-{uuid4().hex[:8]}")
        self.id = f"plain-{uuid4().hex[:12]}"
        self._task: PollWorkflowTaskQueueResponse

    async def start(self) -> None:
        await self._service.start_workflow_execution(
            StartWorkflowExecutionRequest(
                namespace=self._namespace,
                workflow_id=self.id,
                workflow_type=WorkflowType(name="PlainJob"),
                task_queue=self._task_queue,
                workflow_execution_timeout=Duration(seconds=60),
                request_id=uuid4().hex,
            )
        )
        await self._next_task()

    async def call(self, activity: str, argument: object) -> Any:
        """Schedule an activity of governance; return what it answers."""
        attributes = ScheduleActivityTaskCommandAttributes(
            activity_id=uuid4().hex,
            activity_type=ActivityType(name=activity),
            task_queue=TaskQueue(name=self._governance),
            input=Payloads(payloads=[_json(argument)]),
            schedule_to_close_timeout=Duration(seconds=30),
        )
        await self._respond(
            Command(
                command_type=CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
                schedule_activity_task_command_attributes=attributes,
            )
        )
        await self._next_task()
        (completed,) = (
            event
            for event in self._task.history.events
            if event.event_id > self._task.previous_started_event_id
            and event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
        )
        (payload,) = completed.activity_task_completed_event_attributes.result.payloads
        encoding = payload.metadata["encoding"]
        return None if encoding == b"binary/null" else json.loads(payload.data)

    async def end(self) -> None:
        done = CompleteWorkflowExecutionCommandAttributes()
        await self._respond(
            Command(
                command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
                complete_workflow_execution_command_attributes=done,
            )
        )

    async def signal(self, workflow: str, name: str, argument: object) -> None:
        await self._service.signal_workflow_execution(
            SignalWorkflowExecutionRequest(
                namespace=self._namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow),
                signal_name=name,
                input=Payloads(payloads=[_json(argument)]),
                request_id=uuid4().hex,
            )
        )

    async def _next_task(self) -> None:
        self._task = await self._service.poll_workflow_task_queue(
            PollWorkflowTaskQueueRequest(namespace=self._namespace, task_queue=self._task_queue),
            timeout=timedelta(seconds=30),
        )

    async def _respond(self, command: Command) -> None:
        await self._service.respond_workflow_task_completed(
            RespondWorkflowTaskCompletedRequest(
                namespace=self._namespace, task_token=self._task.task_token, commands=[command]
            )
        )


def _json(value: object) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value).encode())


async def test_a_job_without_any_sdk_holds_a_permit(
    client: Client, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    job = PlainJob(client, governance.task_queue)
    await job.start()
    ask = {"tenant": name, "resource": "scan"}
    granted = await job.call("headgate.admit", ask)
    assert granted["outcome"] == "granted"
    (permit,) = (await governance.holders(name)).permits
    assert (permit.id, permit.workflow_id) == (granted["id"], job.id)
    denied = await job.call("headgate.admit", ask)
    assert (denied["outcome"], denied["reason"]["code"]) == ("denied", "quota_used_up")
    assert await job.call("headgate.release", {"id": granted["id"], "tenant": name}) is None

    # And by a signal to the ledger, which the server keeps even while no governance worker runs.
    again = await job.call("headgate.admit", ask)
    assert again["outcome"] == "granted"
    await job.signal(workflow_id("ledger", name), "release", {"id": again["id"], "tenant": name})
    await governance.until_scans(name, granted=2, released=2, held=0)
    await job.end()
