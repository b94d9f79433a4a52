"""The workers of one client with the plugin: those of jobs and those of governance."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from headgate import HeadgatePlugin
from headgate.devstack.stack import Stack
from headgate.model.entity import EntityOptions
from headgate.store.database import Database
from tests.harness import Governance, soon_left
from tests.jobs import ScanJob, ScanJobInput, Scanner


class Site:
    """A client whose plugin may run governance workers as well.

    Args:
        client: With the plugin.
        governance: The governance workflows, as this client reaches them.
    """

    def __init__(self, client: Client, governance: Governance) -> None:
        self.client = client
        self.governance = governance
        self.scanner = Scanner()
        self.task_queue = f"jobs-{uuid4().hex[:8]}"

    @classmethod
    async def connect(
        cls, stack: Stack, database: Database, options: EntityOptions, **connect: Any
    ) -> Self:
        """Connect with a plugin that knows the database, and whatever else is wanted."""
        queue = f"governance-{uuid4().hex[:8]}"
        plugin = HeadgatePlugin(task_queue=queue, options=options, governance=stack.dsn)
        client = await Client.connect(stack.temporal_address, plugins=[plugin], **connect)
        return cls(client, Governance(client, database, queue, options))

    def governance_worker(self, **options: Any) -> Worker:
        return Worker(self.client, task_queue=self.governance.task_queue, **options)

    def job_worker(self, **options: Any) -> Worker:
        parts = {
            "task_queue": self.task_queue,
            "workflows": [ScanJob],
            "activities": [self.scanner.scan],
        }
        return Worker(self.client, **{**parts, **options})

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Self]:
        """Run one worker of each sort, with the same options."""
        async with AsyncExitStack() as workers:
            await workers.enter_async_context(soon_left(self.governance_worker(**options)))
            await workers.enter_async_context(soon_left(self.job_worker(**options)))
            yield self

    async def start(
        self, job: ScanJobInput, task_queue: str | None = None
    ) -> WorkflowHandle[ScanJob, str]:
        return await self.client.start_workflow(
            ScanJob.run,
            job,
            id=f"job-{uuid4().hex[:12]}",
            task_queue=task_queue or self.task_queue,
            execution_timeout=timedelta(minutes=2),
        )

    async def run(self, job: ScanJobInput, task_queue: str | None = None) -> str:
        return await (await self.start(job, task_queue)).result()
