"""The main path without a workflow cache: every workflow task replays the whole history.

What is not deterministic, or lives outside the histories, shows here at once.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import Client, WorkflowFailureError

from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState
from headgate.model.entity import EntityOptions
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.harness import Governance, Orchestrator, acquire, eventually, is_conserved
from tests.jobs import ScanJobInput


@pytest_asyncio.fixture
async def governance(
    client: Client, database: Database, task_queue: str, options: EntityOptions
) -> AsyncIterator[Governance]:
    forgetful = Governance(client, database, task_queue, options)
    async with forgetful.running(max_cached_workflows=0):
        yield forgetful


@pytest_asyncio.fixture
async def orchestrator(
    stack: Stack, governance: Governance, options: EntityOptions
) -> AsyncIterator[Orchestrator]:
    forgetful = Orchestrator(stack.temporal_address, governance.task_queue, options)
    async with forgetful.running(max_cached_workflows=0):
        yield forgetful


async def test_a_job_that_waits_is_woken_and_gives_back_what_it_held(
    governance: Governance,
    orchestrator: Orchestrator,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = [one.getMessage() for one in caplog.get_records("setup")]
    assert [one for one in told if one.startswith("max_cached_workflows=0: jobs that ask for")]
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.exchange(name, [acquire("blocks")])
    job = await orchestrator.start(ScanJobInput(tenant=name, downstream=name, linger_ms=20))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 1)
    with pytest.raises(WorkflowFailureError):
        await orchestrator.run(ScanJobInput(tenant=name, max_wait_ms=0))
    await governance.exchange(name, [], releases=["blocks"])
    await job.result()
    await governance.until_scans(name, granted=2, released=2, denied=1)
    assert is_conserved(await governance.account(name))
    await eventually(lambda: governance.breaker_state(name), lambda s: s.successes == 1)


async def test_a_ledger_serves_many_jobs_at_once(
    stack: Stack, governance: Governance, options: EntityOptions, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    async with Orchestrator(stack.temporal_address, governance.task_queue, options).running() as o:
        jobs = [await o.start(ScanJobInput(tenant=name, linger_ms=20)) for _ in range(8)]
        for job in jobs:
            await job.result()
        assert o.scanner.most_active <= 2
    await governance.until_scans(name, granted=8, released=8)
    assert is_conserved(await governance.account(name))


async def test_a_breaker_opens_and_comes_back(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=5))
    policy = BreakerPolicy(
        failure_rate=None, consecutive_failures=2, open_ms=500, probes=1, ramp_ms=200
    )
    await governance.set_policy(name, policy)
    orchestrator.scanner.broken = True
    for _ in range(2):
        with pytest.raises(WorkflowFailureError):
            await orchestrator.run(ScanJobInput(tenant=name, downstream=name, max_wait_ms=0))
    await eventually(
        lambda: governance.breaker_state(name), lambda s: s.state is not BreakerState.CLOSED
    )
    orchestrator.scanner.broken = False
    await orchestrator.run(ScanJobInput(tenant=name, downstream=name))
    steps = await eventually(
        lambda: governance.saved_transitions(name),
        lambda steps: bool(steps) and steps[-1].target is BreakerState.CLOSED,
    )
    assert [step.target for step in steps][:2] == ["OPEN", "HALF_OPEN"]
