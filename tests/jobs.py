"""The job of the tests' orchestrator: one governed call, which does what the test wants."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

from headgate import governance
from headgate.model.why import WHY_QUERY, JobAsk


@dataclass
class ScanJobInput:
    tenant: str
    downstream: str | None = None
    resource: str = "scan"
    max_wait_ms: int | None = None
    priority: int = 0
    units: int = 1
    linger_ms: int = 0
    scanner_queue: str | None = None
    also: dict[str, int] | None = None


@workflow.defn
class ScanJob:
    @workflow.run
    async def run(self, job: ScanJobInput) -> str:
        wait = None if job.max_wait_ms is None else timedelta(milliseconds=job.max_wait_ms)
        async with governance.permit(
            tenant=job.tenant,
            resource=job.resource,
            downstream=job.downstream,
            units=job.units,
            also=job.also,
            priority=job.priority,
            max_wait=wait,
        ) as permit:
            await workflow.execute_activity_method(
                Scanner.scan,
                permit.id,
                task_queue=job.scanner_queue,
                start_to_close_timeout=timedelta(seconds=30),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
            if job.linger_ms:
                await workflow.sleep(timedelta(milliseconds=job.linger_ms))
            return permit.id


class Scanner:
    """The downstream of the tests, in the process of the orchestrator."""

    def __init__(self) -> None:
        self.broken = False
        self.calls = 0
        self.active = 0
        self.most_active = 0
        self.open = asyncio.Event()
        self.open.set()

    @activity.defn
    async def scan(self, permit: str) -> str:
        self.calls += 1
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await self.open.wait()
            if self.broken:
                raise RuntimeError("scanner is broken")
            return permit
        finally:
            self.active -= 1


@workflow.defn
class PingJob:
    """One governed call that is not tried again."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            ping,
            start_to_close_timeout=timedelta(seconds=1),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@activity.defn
async def ping() -> None:
    pass


@workflow.defn
class JobOfBefore:
    """A job whose gate does not look ahead: of all that is in its way it knows what it says."""

    @workflow.init
    def __init__(self, ask: JobAsk) -> None:
        self._ask = ask

    @workflow.run
    async def run(self, ask: JobAsk) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query(name=WHY_QUERY)
    def why(self) -> list[JobAsk]:
        return [self._ask]
