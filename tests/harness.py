"""A governance worker and an orchestrator for tests, and ways to wait for a condition."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar
from uuid import uuid4

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from headgate import HeadgatePlugin
from headgate.cli.worker import governance_worker
from headgate.gate.kinds import governing
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import (
    BreakerState,
    BreakerView,
    CallOutcome,
    OutcomeBucket,
    ProbeOutcome,
    ProbeReply,
    ProbeRequest,
    Report,
    Transition,
    Verdict,
)
from headgate.model.configuration import Configuration
from headgate.model.entity import EntityOptions
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import (
    Account,
    Acquire,
    Exchange,
    ExchangeReply,
    Holder,
    LedgerPage,
    LedgerView,
)
from headgate.model.policy import BreakerPolicy
from headgate.model.pool import PoolSettings, PoolView
from headgate.model.quota import Quota
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore
from tests.jobs import ScanJob, ScanJobInput, Scanner

Result = TypeVar("Result")


async def completed_tasks(client: Client, id: str) -> list[int]:
    """Return the events at which workflow tasks of a workflow were completed: points of a reset."""
    history = await client.get_workflow_handle(id).fetch_history()
    return [
        event.event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]


async def reset(client: Client, id: str, event: int | None = None) -> None:
    """Set a workflow back, and forget what came after.

    Args:
        client: Of its namespace.
        id: Of the workflow.
        event: One of ``completed_tasks``; None: where it had just been restored.
    """
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=id),
            reason="test",
            request_id=uuid4().hex,
            workflow_task_finish_event_id=event or (await completed_tasks(client, id))[1],
            reset_reapply_exclude_types=[
                ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
                ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
            ],
        )
    )


async def eventually(
    check: Callable[[], Awaitable[Result]], is_right: Callable[[Result], bool], within_s: float = 15
) -> Result:
    """Return what `check` gives once it is right; the last answer is in the failure."""
    deadline = time.monotonic() + within_s
    found: Result | Exception
    while True:
        try:
            found = await check()
            if is_right(found):
                return found
        except (WorkflowQueryFailedError, RPCError) as error:  # it is just being restored, or away
            found = error
        assert time.monotonic() < deadline, f"not within {within_s} s; last: {found}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def soon_left(worker: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
    """Run a worker for the block, and do not wait for ever for its end.

    About once in ten runs of the whole suite the SDK's shutdown of some worker does not come back
    (cause not found yet). What the test was about has been asserted by then, and a worker of a
    task queue of its own is in nobody's way: nor is its Notifier, which goes on looking for what to
    deliver in a database that the next test uses, as after its block no ``Database`` connects.
    """
    running = asyncio.Event()
    leaving = asyncio.Event()

    async def run() -> None:
        async with worker:
            running.set()
            await leaving.wait()

    task = asyncio.create_task(run())
    started = asyncio.create_task(running.wait())
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        started.cancel()
        task.result()
    try:
        yield
    finally:
        leaving.set()
        done, _ = await asyncio.wait([task], timeout=20)
        for ended in done:
            ended.result()


class Governance:
    """A governance worker on a task queue of its own, and its workflows."""

    def __init__(
        self, client: Client, database: Database, task_queue: str, options: EntityOptions
    ) -> None:
        self.client = client
        self.database = database
        self.task_queue = task_queue
        self.options = options

    def with_options(self, **options: int) -> "Governance":
        """The same worker, for workflows that keep house in another way."""
        changed = self.options.model_copy(update=options)
        return Governance(self.client, self.database, self.task_queue, changed)

    def watchful(self) -> "Governance":
        """The same worker, for ledgers that soon look whether their holders still run."""
        return self.with_options(check_holders_every_ms=300)

    @asynccontextmanager
    async def running(self, max_cached_workflows: int = 100) -> AsyncIterator[Self]:
        worker = governance_worker(
            self.client, self.database, self.task_queue, max_cached_workflows
        )
        async with soon_left(worker):
            yield self

    def breaker(self, downstream: str) -> GovernanceWorkflow:
        return governing(self.client, "breaker", downstream, self.options, self.task_queue)

    def ledger(self, tenant: str) -> GovernanceWorkflow:
        return governing(self.client, "ledger", tenant, self.options, self.task_queue)

    def governor(self, pool: str) -> GovernanceWorkflow:
        return governing(self.client, "governor", pool, self.options, self.task_queue)

    async def pool(self, pool: str) -> PoolView:
        return await self.governor(pool).query("state", PoolView, 10)

    def handle(self, kind: Kind, subject: str) -> WorkflowHandle[Any, Any]:
        """Without a run id, so it follows the workflow through continue-as-new."""
        return self.client.get_workflow_handle(workflow_id(kind, subject))

    async def runs(self, kind: Kind, subject: str) -> list[str]:
        """The ids of all runs that there have been."""
        query = f"WorkflowId = '{workflow_id(kind, subject)}'"
        return [run.run_id async for run in self.client.list_workflows(query)]

    async def is_unheard_of(self, kind: Kind, subject: str) -> bool:
        """Return whether no workflow governs a subject, nor ever has."""
        try:
            await self.handle(kind, subject).describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    async def set_policy(self, downstream: str, policy: BreakerPolicy) -> None:
        await self.configure_breaker(downstream, BreakerSettings(policy=policy, source="listed"))

    async def configure_breaker(self, downstream: str, settings: BreakerSettings) -> None:
        await self.breaker(downstream).update("configure", settings, uuid4().hex, BreakerView, 10)

    async def set_quotas(self, tenant: str, **quotas: Quota) -> None:
        settings = LedgerSettings(quotas=dict(quotas), source="listed")
        await self.ledger(tenant).update("configure", settings, uuid4().hex, LedgerView, 10)

    async def set_pool(
        self,
        pool: str,
        shares: dict[str, Quota],
        group_of: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        """Apply a pool to its governor and to the ledger of each of its tenants."""
        tenants = {tenant: (group_of or {}).get(tenant) for tenant in shares}
        applied = PoolSettings(tenants=tenants, source="listed", **settings)
        await self.governor(pool).update("configure", applied, uuid4().hex, PoolView, 10)
        for tenant, quota in shares.items():
            ledger = LedgerSettings(
                quotas=dict.fromkeys(applied.capacity, quota),
                pools=dict.fromkeys(applied.capacity, pool),
                source="listed",
            )
            await self.ledger(tenant).update("configure", ledger, uuid4().hex, LedgerView, 10)

    async def breaker_state(self, downstream: str) -> BreakerView:
        return await self.breaker(downstream).query("state", BreakerView, 10)

    async def verdict(self, downstream: str) -> Verdict:
        return await self.breaker(downstream).query("verdict", Verdict, 10)

    async def account(self, tenant: str) -> LedgerView:
        return await self.ledger(tenant).query("state", LedgerView, 10)

    async def until_scans(self, tenant: str, **expected: int) -> Account:
        """Wait until the account of the resource ``scan`` has these numbers.

        A job's end and its release are two things: gates hand in releases in batches.
        """

        async def account() -> Account:
            return (await self.account(tenant)).accounts.get("scan", Account())

        return await eventually(
            account, lambda found: expected.items() <= found.model_dump().items()
        )

    async def holders(self, tenant: str) -> LedgerPage:
        return await self.ledger(tenant).query("holders", LedgerPage, 10)

    async def exchange(
        self, tenant: str, acquires: list[Acquire], releases: list[str] | None = None
    ) -> ExchangeReply:
        message = Exchange(gate="test", acquires=acquires, releases=releases or [])
        return await self.ledger(tenant).update("exchange", message, uuid4().hex, ExchangeReply, 10)

    async def report(
        self,
        downstream: str,
        seq: int,
        successes: int = 0,
        failures: int = 0,
        gate: str = "g1",
        task_queue: str | None = None,
        probes: list[ProbeOutcome] | None = None,
    ) -> None:
        """Report as a gate does; without outcomes it only introduces itself."""
        buckets = []
        if successes or failures:
            bucket = OutcomeBucket(
                at_ms=now_ms(),
                epoch=-1,
                successes=successes,
                failures=failures,
                trailing_failures=failures,
            )
            buckets.append(bucket)
        report = Report(
            gate=gate,
            seq=seq,
            task_queue=task_queue or f"nobody-{gate}",
            buckets=buckets,
            probes=probes or [],
        )
        await self.breaker(downstream).signal("report", report, 10)

    async def lease_probes(
        self, downstream: str, epoch: int, *ids: str, gate: str = "g1"
    ) -> ProbeReply:
        request = ProbeRequest(gate=gate, epoch=epoch, ids=list(ids))
        return await self.breaker(downstream).update(
            "lease_probes", request, uuid4().hex, ProbeReply, 10
        )

    async def until_state(self, downstream: str, state: BreakerState) -> BreakerView:
        return await eventually(
            lambda: self.breaker_state(downstream), lambda view: view.state is state
        )

    async def revision(self, kind: Kind, subject: str) -> int:
        """Of a workflow as it is now; Postgres may be behind."""
        views: dict[Kind, type[BreakerView | LedgerView | PoolView]] = {
            "breaker": BreakerView,
            "ledger": LedgerView,
            "governor": PoolView,
        }
        governed = governing(self.client, kind, subject, self.options, self.task_queue)
        return (await governed.query("state", views[kind], 10)).revision

    # What Postgres says, without a word to the workflow

    async def saved_transitions(self, downstream: str) -> list[Transition]:
        found = await SnapshotStore(self.database).transitions()
        return [step for name, step in found if name == downstream]

    async def saved_breaker(self, downstream: str) -> BreakerView | None:
        views = await SnapshotStore(self.database).breakers()
        return next((view for view in views if view.downstream == downstream), None)

    async def saved_ledger(self, tenant: str) -> LedgerView | None:
        views = await SnapshotStore(self.database).ledgers()
        return next((view for view in views if view.tenant == tenant), None)


async def apply(database: Database, downstreams: object = None, tenants: object = None) -> None:
    """Store a configuration, as ``headgate apply`` does, for workflows that start from now on."""
    wanted = Configuration.model_validate(
        {"downstreams": downstreams or {}, "tenants": tenants or {}}
    )
    await ConfigurationStore(database).save(wanted, "test", "test", {})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def probe(id: str, epoch: int, outcome: CallOutcome = CallOutcome.SUCCESS) -> ProbeOutcome:
    return ProbeOutcome(id=id, epoch=epoch, outcome=outcome)


def is_conserved(view: LedgerView) -> bool:
    return all(
        account.granted == account.held + account.released + account.expired + account.reclaimed
        for account in view.accounts.values()
    )


def acquire(id: str, resource: str = "scan", *, wait_ms: int | None = None) -> Acquire:
    until = None if wait_ms is None else now_ms() + wait_ms
    holder = Holder(workflow_id=f"job-{id}", run_id="")
    return Acquire(id=id, holder=holder, resource=resource, wait_until_ms=until)


class Orchestrator:
    """A worker as a platform team runs it: its jobs, its client, and the plugin."""

    def __init__(
        self,
        address: str,
        governance_queue: str,
        options: EntityOptions,
        converter: DataConverter = DataConverter.default,
    ) -> None:
        self._address = address
        self._converter = converter
        self.plugin = HeadgatePlugin(task_queue=governance_queue, options=options)
        self.task_queue = f"jobs-{uuid4().hex[:8]}"
        self.scanner = Scanner()
        self.client: Client

    @asynccontextmanager
    async def running(
        self, max_cached_workflows: int = 100, slots: int | None = None
    ) -> AsyncIterator[Self]:
        self.client = await Client.connect(
            self._address, data_converter=self._converter, plugins=[self.plugin]
        )
        worker = Worker(
            self.client,
            task_queue=self.task_queue,
            workflows=[ScanJob],
            activities=[self.scanner.scan],
            max_cached_workflows=max_cached_workflows,
            max_concurrent_activities=slots,
        )
        async with soon_left(worker):
            yield self

    async def start(self, job: ScanJobInput) -> WorkflowHandle[ScanJob, str]:
        return await self.client.start_workflow(
            ScanJob.run,
            job,
            id=f"job-{uuid4().hex[:12]}",
            task_queue=self.task_queue,
            execution_timeout=timedelta(minutes=2),
        )

    async def run(self, job: ScanJobInput) -> str:
        return await (await self.start(job)).result()
