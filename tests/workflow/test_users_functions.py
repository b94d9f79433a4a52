"""A function of the user's that fails while a job runs fails that job, with words about it."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from headgate import governed
from headgate.devstack.stack import Stack
from headgate.testing import FakeGate, FakeHeadgatePlugin
from tests.harness import soon_left


@workflow.defn
class PagesJob:
    """Has some pages scanned."""

    @workflow.run
    async def run(self, pages: int) -> None:
        await workflow.execute_activity("scan", pages, start_to_close_timeout=timedelta(seconds=10))


async def failure(stack: Stack, **plugin: Any) -> ApplicationError:
    """Run a job to its failure, and return what it failed with; its units are 60 // pages."""

    @governed(downstream="scanner", resource="scan", units=lambda pages: 60 // pages)
    @activity.defn
    async def scan(pages: int) -> None: ...

    ours = FakeHeadgatePlugin(FakeGate(), **plugin)
    client = await Client.connect(stack.temporal_address, plugins=[ours])
    queue = f"pages-{uuid4().hex[:8]}"
    worker = Worker(client, task_queue=queue, workflows=[PagesJob], activities=[scan])
    async with soon_left(worker):
        with pytest.raises(WorkflowFailureError) as failed:
            await client.execute_workflow(
                PagesJob.run,
                0,
                id=queue,
                task_queue=queue,
                execution_timeout=timedelta(seconds=20),
            )
    cause = failed.value.cause
    error = cause.cause if isinstance(cause, ActivityError) else cause
    assert isinstance(error, ApplicationError), cause
    return error


async def test_a_tenant_that_raises_fails_the_job(stack: Stack) -> None:
    def tenant() -> str:
        raise KeyError("customer")

    error = await failure(stack, tenant=tenant)
    assert (error.type, error.non_retryable) == ("headgate.InvalidRequest", True)
    assert error.message == (
        "HeadgatePlugin: the function tenant raised KeyError('customer'): have it return a name, "
        "or None where it does not know"
    )


async def test_a_tenant_that_fails_the_job_by_itself_has_the_word(stack: Stack) -> None:
    def tenant() -> str:
        raise ApplicationError("no customer", type="acme.NoCustomer", non_retryable=True)

    assert (await failure(stack, tenant=tenant)).type == "acme.NoCustomer"


async def test_units_that_raise_refuse_the_call_for_good(stack: Stack) -> None:
    error = await failure(stack, tenant=lambda: "acme")
    assert (error.type, error.non_retryable) == ("headgate.CallDenied", True)
    assert error.message == (
        "@governed: units of scan raised ZeroDivisionError('integer division or modulo by zero'): "
        "a whole number of at least 1 is needed"
    )
    assert isinstance(error.cause, ApplicationError)  # with the place in the user's code
    assert error.cause.type == "ZeroDivisionError"
