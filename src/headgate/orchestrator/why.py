"""``headgate why``: ask the job, its ledgers, its breaker and its pool, and put it together."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final, TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError, RPCStatusCode

from headgate.model.breaker import BreakerView
from headgate.model.errors import NotFoundError, UnavailableError
from headgate.model.ids import DEFAULT, Kind
from headgate.model.ledger import LedgerView, Outlook, WhyView
from headgate.model.why import WHY_QUERY, JobAsk, WhyReport
from headgate.orchestrator.answers import last_polled_ms
from headgate.orchestrator.ask import ask, ask_pool
from headgate.orchestrator.held_back import held_back
from headgate.orchestrator.obstacles import told_of
from headgate.orchestrator.refused import refused
from headgate.orchestrator.tenants import tenant_described
from headgate.orchestrator.times import lasting
from headgate.orchestrator.verdict import Evidence, conclude
from headgate.quota.reasons import unknown_tenant
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore

View = TypeVar("View")

_JOB_S: Final = timedelta(seconds=3)
_LOOK_S: Final = timedelta(seconds=10)


async def explain(client: Client, database: Database, workflow_id: str) -> WhyReport:
    """Return why a job waits, or that it does not; changes nothing.

    Whoever does not answer is named in the notes, and Postgres is asked in its place. A job that
    does not answer is looked for in the saved ledgers, which may be some seconds behind.

    Args:
        client: Of the namespace.
        database: Migrated.
        workflow_id: Of the job, in the same namespace.

    Raises:
        NotFoundError: Neither Temporal nor a ledger knows such a workflow.
        UnavailableError: Temporal or Postgres does not answer.
    """
    search = _Search(client, database, workflow_id)
    evidence = search.evidence
    await search.describe()
    if evidence.is_open:
        await search.ask_job()
    asks = evidence.asks or []
    tenants = {one.tenant for one in asks}
    if not tenants:
        tenants = {*await search.snapshots.tenants_naming(workflow_id)}
    await asyncio.gather(
        *map(search.ask_ledger, sorted(tenants)),
        *map(search.ask_breaker, sorted({one.downstream for one in asks if one.downstream})),
    )
    if evidence.status is None and not evidence.views:
        raise NotFoundError(
            f"there is no workflow {workflow_id!r} in namespace {client.namespace}, and no ledger "
            "knows it"
        )
    return conclude(evidence)


class _Search:
    """One inquiry: each method asks somebody, and adds what was said to the evidence."""

    def __init__(self, client: Client, database: Database, workflow_id: str) -> None:
        self.snapshots = SnapshotStore(database)
        self._configured = ConfigurationStore(database)
        self.evidence = Evidence(workflow_id, time.time_ns() // 1_000_000)
        self._client = client
        self._task_queue = ""
        self._job = client.get_workflow_handle(workflow_id)

    async def describe(self) -> None:
        """Ask Temporal whether there is such a job."""
        try:
            found = await self._job.describe(rpc_timeout=_LOOK_S)
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                return
            raise UnavailableError(f"Temporal does not answer: {error.message}") from error
        assert found.status is not None
        self._task_queue = found.task_queue
        self.evidence.status = found.status.name
        self.evidence.tenant = await tenant_described(found)
        self.evidence.is_open = found.status is WorkflowExecutionStatus.RUNNING
        if self.evidence.is_open:
            self.evidence.calls = await held_back(found, self._client.data_converter)
        if found.close_time is not None:
            self.evidence.closed_at_ms = int(found.close_time.timestamp() * 1_000)
        if found.status is WorkflowExecutionStatus.FAILED:
            run = self._client.get_workflow_handle(found.id, run_id=found.run_id)
            try:
                self.evidence.refused = await refused(run, self._client.data_converter)
            except (RPCError, ValueError, RuntimeError) as error:
                self.evidence.notes.append(f"how it has failed could not be read: {error}")

    async def ask_job(self) -> None:
        """Ask the job itself, which answers while ``permit()`` asks for it."""
        try:
            self.evidence.asks = await self._job.query(
                WHY_QUERY, result_type=list[JobAsk], rpc_timeout=_JOB_S
            )
        except WorkflowQueryFailedError:
            self.evidence.silence = (
                "the job has not used permit() in this run, so only the ledgers were asked"
            )
        except (RPCError, WorkflowQueryRejectedError, RuntimeError):
            self.evidence.silence = (
                f"the job {await self._silent()}; only the ledgers were asked, and what it wants "
                "to call is not known"
            )

    async def _silent(self) -> str:
        """Return how the job did not answer, and why, as far as anybody knows."""
        try:
            polled_ms = await last_polled_ms(self._client, self._task_queue)
        except RPCError as error:
            return f"does not answer, nor does Temporal ({error})"
        if polled_ms is None:
            return "does not answer, because no worker runs it now"
        ago = lasting(max(0, time.time_ns() // 1_000_000 - polled_ms))
        return (
            f"did not answer within {_JOB_S.seconds} s: a worker last asked for work like this "
            f"{ago} ago, and is busy or gone"
        )

    async def ask_ledger(self, tenant: str) -> None:
        """Ask the ledger of a tenant, and the pools of what the job waits for."""
        evidence = self.evidence
        asks = [one for one in evidence.asks or [] if one.tenant == tenant and one.state != "held"]
        try:
            views = await ask(
                self._client, "ledger", tenant, "why", list[WhyView], evidence.workflow_id
            )
        except UnavailableError as error:
            if asks and not await self._is_listed(tenant):
                unknown = Outlook(reason=unknown_tenant(tenant))
                evidence.outlooks |= {one.id: unknown for one in asks}
            else:
                evidence.notes.append(str(error))
            return
        evidence.views += views
        waiting = {told_of(view) for view in views if view.state == "waiting"}
        known = {view.id for view in views}
        await self._look_ahead(tenant, [one for one in asks if one.id not in known])
        doubtful = [
            one
            for one in evidence.asks or []
            if one.tenant == tenant and one.state == "held" and one.id not in known
        ]
        if not waiting and not doubtful:
            return
        ledger = await self._live_or_saved(
            "ledger", tenant, self._state("ledger", tenant, LedgerView), self.snapshots.ledger
        )
        if ledger is None:
            return
        # Of what gates hand out of blocks a ledger knows the blocks, and hears of the jobs later.
        quotas = ledger.quotas or {}

        def is_leased(resource: str) -> bool:
            quota = quotas.get(resource, quotas.get(DEFAULT))
            return quota is not None and quota.leased

        evidence.lost |= {one.id for one in doubtful if not is_leased(one.resource)}
        for resource in sorted(waiting & {*ledger.limits}):
            if (name := ledger.limits[resource].pool) is None:
                continue
            pool = await self._live_or_saved(
                "governor", name, ask_pool(self._client, name), self.snapshots.pool
            )
            if pool is not None:
                evidence.pools[tenant, resource] = pool

    async def _look_ahead(self, tenant: str, asks: list[JobAsk]) -> None:
        """Ask a ledger of requests that do not wait there, as a breaker is in their way."""
        if not asks:
            return
        needs = [{one.resource: one.units, **one.also} for one in asks]
        with suppress(UnavailableError):  # a ledger of a version before
            found = await ask(self._client, "ledger", tenant, "outlook", list[Outlook], needs)
            ids = [one.id for one in asks]
            self.evidence.outlooks |= dict(zip(ids, found, strict=True))

    async def _is_listed(self, tenant: str) -> bool:
        """Return whether there is such a tenant, as far as Postgres knows."""
        try:
            return await self._configured.is_known("tenant", tenant)
        except UnavailableError:
            return True

    async def ask_breaker(self, downstream: str) -> None:
        """Ask a breaker; one that has never been needed keeps nothing away."""
        found = await self._live_or_saved(
            *("breaker", downstream),
            self._state("breaker", downstream, BreakerView),
            self.snapshots.breaker,
        )
        if found is not None:
            self.evidence.breakers[downstream] = found

    def _state(self, kind: Kind, subject: str, result: type[View]) -> Awaitable[View]:
        return ask(self._client, kind, subject, "state", result)

    async def _live_or_saved(
        self,
        kind: Kind,
        subject: str,
        live: Awaitable[View],
        saved: Callable[[str], Awaitable[View | None]],
    ) -> View | None:
        try:
            return await live
        except UnavailableError:
            found = await saved(subject)
            if found is not None:
                self.evidence.notes.append(
                    f"{kind} {subject} does not answer: shown as it was last saved"
                )
            return found
