"""Real processes killed with SIGKILL while jobs hold permits and wait for them.

What a worker knew is gone with it. Nothing may be granted twice because of that, and nothing may
be lost for good: every job ends, every permit is resolved, and the books add up.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest_asyncio
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from headgate.devstack.process import GuardedProcess
from headgate.devstack.stack import Stack
from headgate.devstack.workers import GOVERNANCE, worker_environment
from headgate.model.entity import EntityOptions
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.harness import Governance, apply, eventually, is_conserved
from tests.jobs import ScanJob, ScanJobInput, Scanner

QUOTA = 3
JOBS = 12


class Process:
    """A worker process that can be killed and started again."""

    def __init__(self, name: str, stack: Stack, *arguments: str) -> None:
        self._name = name
        self._stack = stack
        self._arguments = arguments
        self._process: GuardedProcess | None = None

    async def start(self) -> None:
        self._process = await GuardedProcess.start(
            (sys.executable, *self._arguments),
            name=self._name,
            log=self._stack.state_dir / "logs" / f"{self._name}.log",
            env=worker_environment(self._stack),
            cwd=Path(__file__).parents[2],
            stop_signal=signal.SIGINT,
        )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        await self._process.stop()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Process"]:
        await self.start()
        try:
            yield self
        finally:
            assert self._process is not None
            await self._process.stop()


class Fleet:
    """Governance and orchestrator as processes, and the scanner here, where it can count."""

    def __init__(self, stack: Stack, database: Database, client: Client, tenant: str) -> None:
        self.stack = stack
        self.tenant = tenant
        self.scanner = Scanner()
        self.governance_worker = Process("governance", stack, *GOVERNANCE)
        self.job_queue = f"jobs-{uuid4().hex[:8]}"
        self.job_worker = Process("jobs", stack, "-m", "tests.chaos.job_worker", self.job_queue)
        options = EntityOptions()
        self.governance = Governance(client, database, GOVERNANCE_TASK_QUEUE, options)
        self._client = client
        self._scanner_queue = f"scanner-{uuid4().hex[:8]}"

    @asynccontextmanager
    async def running(self, quota: Quota | None = None) -> AsyncIterator["Fleet"]:
        scanner = Worker(
            self._client, task_queue=self._scanner_queue, activities=[self.scanner.scan]
        )
        async with self.governance_worker.running(), self.job_worker.running(), scanner:
            # The ledger runs, and the worker is there.
            await self.governance.set_quotas(self.tenant, scan=quota or Quota(max_active=QUOTA))
            yield self

    async def jobs_that_hold_and_wait(
        self, waiting: int | None = JOBS - QUOTA
    ) -> list[WorkflowHandle[ScanJob, str]]:
        """Start more jobs than may run, and return once so many wait while the others run."""
        self.scanner.open.clear()
        job = ScanJobInput(tenant=self.tenant, scanner_queue=self._scanner_queue)
        jobs = [
            await self._client.start_workflow(
                ScanJob.run,
                job,
                id=f"job-{uuid4().hex[:12]}",
                task_queue=self.job_queue,
                task_timeout=timedelta(seconds=2),
            )
            for _ in range(JOBS)
        ]
        if waiting is not None:
            await eventually(
                lambda: self.governance.account(self.tenant),
                lambda account: account.waiting.get("scan") == waiting,
                within_s=40,
            )
        return jobs

    async def everything_ends_well(self, jobs: list[WorkflowHandle[ScanJob, str]]) -> None:
        for job in jobs:
            await job.result()
        assert self.scanner.most_active <= QUOTA
        assert self.scanner.calls == JOBS
        view = await eventually(
            lambda: self.governance.account(self.tenant),
            lambda account: account.accounts["scan"].held == 0,
            within_s=40,
        )
        assert is_conserved(view)
        assert view.accounts["scan"].granted == JOBS
        assert not view.waiting


@pytest_asyncio.fixture
async def fleet(fragile: Stack, name: str) -> AsyncIterator[Fleet]:
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    async with Database(fragile.dsn) as database:
        await apply(database, None, {name: {"quotas": {"scan": {"max_active": QUOTA}}}})
        async with Fleet(fragile, database, client, name).running() as running:
            yield running


async def test_the_governance_worker_is_killed(fleet: Fleet) -> None:
    jobs = await fleet.jobs_that_hold_and_wait()
    await fleet.governance_worker.kill()
    # Those that run end while nobody can take their permits back; nobody else may start.
    fleet.scanner.open.set()
    await eventually(_active(fleet), lambda active: active == 0)
    await fleet.governance_worker.start()
    await fleet.everything_ends_well(jobs)


async def test_the_orchestrator_worker_is_killed(fleet: Fleet) -> None:
    jobs = await fleet.jobs_that_hold_and_wait()
    await fleet.job_worker.kill()
    fleet.scanner.open.set()
    await eventually(_active(fleet), lambda active: active == 0)
    account = (await fleet.governance.account(fleet.tenant)).accounts["scan"]
    assert (account.held, account.released) == (QUOTA, 0)  # the jobs live, so do their permits
    await fleet.job_worker.start()
    await fleet.everything_ends_well(jobs)


async def test_temporal_itself_is_killed(fleet: Fleet) -> None:
    jobs = await fleet.jobs_that_hold_and_wait()
    assert fleet.stack.temporal is not None
    await fleet.stack.temporal.kill()
    fleet.scanner.open.set()
    await fleet.stack.temporal.start()
    await fleet.everything_ends_well(jobs)


def _active(fleet: Fleet) -> Callable[[], Awaitable[int]]:
    async def active() -> int:
        return fleet.scanner.active

    return active
