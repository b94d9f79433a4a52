"""Calls of one job that are made in two processes: each has a gate, and a block, of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority
from temporalio.worker import Worker

from headgate import HeadgatePlugin, governed
from headgate.devstack.stack import Stack
from headgate.model.lease import LeaseView
from headgate.model.ledger import Account
from headgate.model.quota import Quota
from tests.harness import Governance, eventually, is_conserved, soon_left


@workflow.defn
class TravellingJob:
    """Makes a call on each of the task queues, and may wait then until it is told to end."""

    def __init__(self) -> None:
        self._may_end = False

    @workflow.run
    async def run(self, task_queues: list[str], waits: bool) -> None:
        # Where it waits, both at once: neither process can know yet what it holds in the other.
        together = [task_queues] if waits else [[one] for one in task_queues]
        for some in together:
            await asyncio.gather(*map(self._call, some))
        await workflow.wait_condition(lambda: self._may_end or not waits)

    async def _call(self, task_queue: str) -> None:
        await workflow.execute_activity(
            "kept", task_queue=task_queue, start_to_close_timeout=timedelta(seconds=30)
        )

    @workflow.signal
    def end(self) -> None:
        self._may_end = True


class Fleet:
    """Two workers as two processes have them: each with its client, its plugin and its gate."""

    def __init__(self, stack: Stack, governance: Governance, name: str) -> None:
        self._address = stack.temporal_address
        self._governance = governance
        self._tenant = name
        self.task_queues = [f"calls-{n}-{uuid4().hex[:8]}" for n in range(2)]
        self.client: Client

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        async with self.process(0), self.process(1):
            yield self

    @asynccontextmanager
    async def process(self, number: int) -> AsyncIterator["Fleet"]:
        """One of the two."""
        async with soon_left(await self._worker(self.task_queues[number])):
            yield self

    async def _worker(self, task_queue: str) -> Worker:
        @governed(downstream=f"{self._tenant}-d", resource="scan", hold="job")
        @activity.defn
        async def kept() -> None: ...

        plugin = HeadgatePlugin(
            task_queue=self._governance.task_queue, options=self._governance.options
        )
        self.client = await Client.connect(self._address, plugins=[plugin])
        workflows = [TravellingJob] if task_queue == self.task_queues[0] else []
        return Worker(self.client, task_queue=task_queue, workflows=workflows, activities=[kept])

    async def start(self, *, waits: bool) -> WorkflowHandle[TravellingJob, None]:
        return await self.client.start_workflow(
            TravellingJob.run,
            args=[self.task_queues, waits],
            id=f"task-{uuid4().hex[:12]}",
            task_queue=self.task_queues[0],
            priority=Priority(fairness_key=self._tenant),
            execution_timeout=timedelta(seconds=45),
        )


async def test_a_job_in_the_blocks_of_two_gates_comes_back_from_both(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=3))

    async def blocks() -> list[LeaseView]:
        return (await governance.holders(name)).leases

    async with Fleet(stack, governance, name).running() as fleet:
        job = await fleet.start(waits=True)
        # Each gate tells of the job within some seconds.
        await eventually(blocks, lambda all: sorted(one.in_use for one in all) == [1, 1], 20)
        await job.signal(TravellingJob.end)
        await job.result()
        await eventually(blocks, lambda all: not any(one.in_use for one in all), 40)
        await (await fleet.start(waits=False)).result()  # and the ledger goes on
    view = await eventually(
        lambda: governance.account(name), lambda v: v.units_held.get("scan") == 0
    )
    assert (view.accounts["scan"].granted, view.accounts["scan"].reclaimed) == (4, 0)
    assert is_conserved(view)
    kinds = {e.event_type for e in (await governance.handle("ledger", name).fetch_history()).events}
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in kinds


async def test_a_job_too_short_to_be_told_of_comes_back_from_both(
    stack: Stack, governance: Governance, name: str
) -> None:
    """What it holds elsewhere comes back when the gate there next asks: nobody looks after it."""
    await governance.set_quotas(name, scan=Quota(max_active=10))

    async def account() -> Account:
        return (await governance.account(name)).accounts.get("scan", Account())

    async with Fleet(stack, governance, name).running() as fleet:
        await (await fleet.start(waits=False)).result()
        found = await eventually(account, lambda one: (one.granted, one.held) == (2, 0), 40)
    assert (found.released, found.reclaimed) == (2, 0)


async def test_a_job_goes_on_with_what_it_holds_when_its_process_has_been_replaced(
    stack: Stack, governance: Governance, name: str
) -> None:
    """There is room for one: it must not wait for what it holds itself, after a deployment say."""
    await governance.set_quotas(name, scan=Quota(max_active=1))

    fleet = Fleet(stack, governance, name)
    async with fleet.process(0):
        job = await fleet.start(waits=False)
        await eventually(lambda: granted(governance, name), lambda count: count == 1)
    async with fleet.process(1), fleet.process(0):
        await job.result()
        view = await eventually(
            lambda: governance.account(name), lambda v: v.units_held.get("scan") == 0, 40
        )
    account = view.accounts["scan"]
    assert (account.granted, account.released, account.reclaimed) == (1, 1, 0)
    assert is_conserved(view)


async def test_a_job_goes_on_with_what_it_holds_in_the_block_of_another_process(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    async with Fleet(stack, governance, name).running() as fleet:
        await (await fleet.start(waits=False)).result()  # once the first gate has told of it
        view = await eventually(
            lambda: governance.account(name), lambda v: v.accounts["scan"].held == 0, 40
        )
    assert view.accounts["scan"].granted == 1
    assert is_conserved(view)


async def granted(governance: Governance, tenant: str) -> int:
    account = (await governance.account(tenant)).accounts.get("scan", Account())
    return account.granted
