"""An argument of ``permit()`` that is not valid fails the job, once and in plain words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from headgate import governance
from headgate.devstack.stack import Stack
from headgate.testing import FakeGate, FakeHeadgatePlugin
from tests.harness import soon_left

RIGHT: dict[str, Any] = {"tenant": "acme", "resource": "scan"}


@workflow.defn
class AskingJob:
    """Asks for what the test names; a timedelta comes as days, which JSON can carry."""

    @workflow.run
    async def run(self, arguments: dict[str, Any]) -> str:
        if "max_wait_days" in arguments:
            arguments["max_wait"] = timedelta(days=arguments.pop("max_wait_days"))
        if "also" in arguments and isinstance(arguments["also"], dict):
            arguments["also"] = MappingProxyType(arguments["also"])
        async with governance.permit(**arguments) as permit:
            return permit.resource


class Site:
    def __init__(self, client: Client, task_queue: str, gate: FakeGate) -> None:
        self.client = client
        self.task_queue = task_queue
        self.gate = gate

    async def run(self, arguments: dict[str, Any]) -> str:
        return await self.client.execute_workflow(
            AskingJob.run,
            arguments,
            id=f"asking-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(seconds=20),
        )


@asynccontextmanager
async def site(address: str) -> AsyncIterator[Site]:
    gate = FakeGate()
    client = await Client.connect(address, plugins=[FakeHeadgatePlugin(gate)])
    queue = f"asking-{uuid4().hex[:8]}"
    worker = Worker(client, task_queue=queue, workflows=[AskingJob])
    async with soon_left(worker):
        yield Site(client, queue, gate)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"units": -1}, "units is -1: write at least 1"),
    ({"units": 0}, "units is 0: write at least 1"),
    ({"units": 1.5}, "units is 1.5: write a whole number"),
    ({"units": "many"}, "units is 'many': write a whole number"),
    ({"also": {"slot": -1}}, "also.slot is -1: write at least 1"),
    ({"also": ["slot"]}, "also is ['slot']: write units by resource, such as {'slot': 1}"),
    ({"also": {"no name": 1}}, "also.no name is 'no name': write a name of at most 200 letters"),
    ({"also": {"scan": 99}}, "also names scan again: put all of it into units"),
    ({"tenant": ""}, "tenant is '': write a name of at most 200 letters"),
    ({"tenant": None}, "tenant is None: write text"),
    ({"resource": "a b"}, "resource is 'a b': write a name"),
    ({"downstream": ""}, "downstream is '': write a name"),
    ({"priority": 10**6}, "priority is 1000000: write at most 1000"),
    ({"max_wait": 5}, "max_wait is 5: write a timedelta, or leave it out"),
]


async def test_it_fails_the_job_with_a_type_and_says_what_to_write(stack: Stack) -> None:
    async with site(stack.temporal_address) as there:
        for wrong, says in WRONG:
            with pytest.raises(WorkflowFailureError) as failure:
                await there.run(RIGHT | wrong)
            cause = failure.value.cause
            assert isinstance(cause, ApplicationError), (wrong, cause)
            assert cause.type == "headgate.InvalidRequest"
            assert cause.non_retryable
            assert cause.message.startswith(f"governance.permit(): {says}")
        assert not there.gate.admitted
        assert not there.gate.refused


@activity.defn
async def asking_activity() -> None:
    async with governance.permit(**RIGHT):
        raise AssertionError("it has got one")


async def test_only_a_workflow_can_hold_a_permit() -> None:
    with pytest.raises(ApplicationError) as refused:
        await ActivityEnvironment().run(asking_activity)
    assert refused.value.type == "headgate.InvalidRequest"
    assert refused.value.non_retryable
    assert "ask in the workflow, " in refused.value.message
    assert "@governed" in refused.value.message


async def test_what_is_only_unusual_is_asked_for(stack: Stack) -> None:
    async with site(stack.temporal_address) as there:
        for unusual in (
            {"also": {"slot": 2}},
            {"max_wait_days": 999_999_999},  # the longest timedelta that there is
            {"max_wait_days": -1},
            {"priority": -1_000},
        ):
            assert await there.run(RIGHT | unusual) == "scan"
        assert len(there.gate.admitted) == 4
