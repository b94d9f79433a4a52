"""Several workers of one client or of two, how they start and how they stop."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headgate import GovernanceParts, HeadgatePlugin
from headgate.devstack.stack import Stack
from headgate.gate import Gate
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.harness import Governance, Orchestrator, eventually, soon_left
from tests.jobs import ScanJob, ScanJobInput
from tests.site import Site


async def until_called(site: Site) -> None:
    async def calls() -> int:
        return site.scanner.calls

    await eventually(calls, lambda calls: calls == 1)


async def until_held(governance: Governance, tenant: str, units: int) -> None:
    await eventually(
        lambda: governance.account(tenant), lambda a: a.units_held.get("scan", 0) == units
    )


# What is contributed where ---------------------------------------------------------------------


async def test_each_worker_has_what_its_task_queue_calls_for(
    stack: Stack, database: Database, options: EntityOptions
) -> None:
    site = await Site.connect(stack, database, options)
    governing = site.governance_worker().config(active_config=True)
    assert [kind.__name__ for kind in governing["workflows"]] == [
        "BreakerWorkflow",
        "LedgerWorkflow",
        "GovernorWorkflow",
    ]
    assert not governing["interceptors"]
    jobs = site.job_worker().config(active_config=True)
    assert jobs["workflows"] == [ScanJob]
    assert names(jobs["activities"]) == ["scan", "headgate.admit", "headgate.release"]
    assert [type(one).__name__ for one in jobs["interceptors"]] == ["HeadgateInterceptor"]
    calls = site.job_worker(workflows=[], task_queue="calls").config(active_config=True)
    assert names(calls["activities"]) == ["scan"]


def names(activities: object) -> list[str | None]:
    assert isinstance(activities, list)
    return [activity._Definition.must_from_callable(one).name for one in activities]


async def test_a_worker_without_activities_takes_none_of_those_meant_for_others(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    only_workflows = site.job_worker(activities=[])
    only_calls = site.job_worker(workflows=[])
    governing = site.governance_worker()
    async with soon_left(governing), soon_left(only_workflows), soon_left(only_calls):
        await site.governance.set_quotas(name, scan=Quota(max_active=50))
        # Each activity has one attempt: one that came to the wrong worker would fail its job.
        jobs = [await site.start(ScanJobInput(tenant=name)) for _ in range(20)]
        for job in jobs:
            await job.result()
    assert site.scanner.calls == 20


# Starting --------------------------------------------------------------------------------------


async def test_a_database_that_is_not_migrated_ends_the_governance_worker_at_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_migrated(parts: GovernanceParts, client: Client) -> None:
        raise ConfigurationError("lacks 3 migration(s)")

    monkeypatch.setattr(GovernanceParts, "check", not_migrated)
    queue = f"governance-{uuid4().hex[:8]}"
    plugin = HeadgatePlugin(task_queue=queue, governance=stack.dsn)
    one = await Client.connect(stack.temporal_address, plugins=[plugin])
    with pytest.raises(ConfigurationError, match="3 migration"):
        await Worker(one, task_queue=queue).run()
    another = await Client.connect(stack.temporal_address, plugins=[plugin])
    with pytest.raises(ConfigurationError, match="3 migration"):
        async with asyncio.timeout(10), Worker(another, task_queue=queue):
            await asyncio.Event().wait()


async def test_a_database_out_of_reach_is_named(stack: Stack) -> None:
    plugin = HeadgatePlugin(governance="postgresql://nobody@localhost:1/nowhere")
    client = await Client.connect(stack.temporal_address, plugins=[plugin])
    says = r"Postgres at localhost:1/nowhere.*; check the address in HeadgatePlugin\(governance="
    with pytest.raises(UnavailableError, match=says):
        await Worker(client, task_queue="headgate").run()


async def test_a_gate_that_cannot_start_ends_the_worker_and_the_next_one_starts_anew(
    governance: Governance,
    stack: Stack,
    options: EntityOptions,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=5))
    orchestrator = Orchestrator(stack.temporal_address, governance.task_queue, options)
    with monkeypatch.context() as broken:

        def no_gate(self: Gate) -> None:
            raise OSError("no sockets left")

        broken.setattr(Gate, "running", no_gate)
        with pytest.raises(OSError, match="no sockets left"):
            async with asyncio.timeout(10), orchestrator.running():
                await asyncio.Event().wait()
    async with orchestrator.running():
        await orchestrator.run(ScanJobInput(tenant=name))


# Several workers -------------------------------------------------------------------------------


async def test_two_workers_share_a_gate_and_one_goes_on_when_the_other_stops(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    job = ScanJobInput(tenant=name, downstream=name)
    other_queue = f"other-{site.task_queue}"
    async with soon_left(site.governance_worker()), soon_left(site.job_worker()):
        await site.governance.set_quotas(name, scan=Quota(max_active=5))
        async with soon_left(site.job_worker(task_queue=other_queue)):
            await site.run(job)
            await site.run(job, other_queue)
            state = await eventually(
                lambda: site.governance.breaker_state(name), lambda s: s.successes == 2
            )
            assert state.gates == 1
        await site.run(job)
        await eventually(lambda: site.governance.breaker_state(name), lambda s: s.successes == 3)


async def test_after_its_last_worker_a_plugin_starts_again_with_a_new_gate(
    governance: Governance, stack: Stack, options: EntityOptions, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=5))
    orchestrator = Orchestrator(stack.temporal_address, governance.task_queue, options)
    for times in (1, 2):
        async with orchestrator.running():
            await orchestrator.run(ScanJobInput(tenant=name, downstream=name))
        state = await eventually(
            lambda: governance.breaker_state(name),
            # Bound at once, as the loop goes on; mypy cannot infer a lambda with a default.
            lambda state, times=times: state.successes == times,  # type: ignore[misc]
        )
        assert state.gates == times


async def test_one_plugin_on_two_clients_runs_a_gate_for_each(
    governance: Governance, stack: Stack, options: EntityOptions, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=5))
    first = Orchestrator(stack.temporal_address, governance.task_queue, options)
    second = Orchestrator(stack.temporal_address, governance.task_queue, options)
    second.plugin = first.plugin
    job = ScanJobInput(tenant=name, downstream=name)
    async with first.running():
        async with second.running():
            await first.run(job)
            await second.run(job)
            state = await eventually(
                lambda: governance.breaker_state(name), lambda s: s.successes == 2
            )
            assert state.gates == 2
        await first.run(job)


async def test_the_governance_workers_of_a_process_share_what_they_work_with(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    plugins = site.client.config()["plugins"]
    another = await Client.connect(stack.temporal_address, plugins=plugins)
    async with soon_left(site.governance_worker()), soon_left(site.job_worker()):
        async with soon_left(Worker(another, task_queue=site.governance.task_queue)):
            await site.governance.set_quotas(name, scan=Quota(max_active=5))
        await site.run(ScanJobInput(tenant=name))
        # Saved through the database that the one that has stopped used as well.
        saved = await eventually(
            lambda: site.governance.saved_ledger(name),
            lambda view: (
                view is not None and "scan" in view.accounts and view.accounts["scan"].released == 1
            ),
        )
        assert saved is not None


# Runners ---------------------------------------------------------------------------------------


async def test_it_works_without_the_sandbox(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    runner = UnsandboxedWorkflowRunner()
    governing = site.governance_worker(workflow_runner=runner)
    jobs = site.job_worker(workflow_runner=runner)
    for worker in (governing, jobs):
        assert worker.config(active_config=True)["workflow_runner"] is runner
    async with soon_left(governing), soon_left(jobs):
        await site.governance.set_quotas(name, scan=Quota(max_active=1))
        await site.run(ScanJobInput(tenant=name, downstream=name))
        await eventually(lambda: site.governance.breaker_state(name), lambda s: s.successes == 1)


# Stopping --------------------------------------------------------------------------------------


async def test_a_call_that_ends_while_its_worker_stops_is_reported(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    site.scanner.open.clear()
    patient = site.job_worker(graceful_shutdown_timeout=timedelta(seconds=30))
    async with soon_left(site.governance_worker()):
        await site.governance.set_quotas(name, scan=Quota(max_active=1))
        running = asyncio.create_task(patient.run())
        job = await site.start(ScanJobInput(tenant=name, downstream=name))
        await until_called(site)
        stopping = asyncio.create_task(patient.shutdown())
        await asyncio.sleep(0)  # now the worker knows
        assert not patient.is_shutdown
        site.scanner.open.set()
        await stopping
        await running
        state = await eventually(
            lambda: site.governance.breaker_state(name), lambda s: s.successes == 1
        )
        assert state.failures == 0
        async with soon_left(site.job_worker()):
            await job.result()
        await site.governance.until_scans(name, granted=1, released=1)


async def test_a_call_that_is_cut_off_by_the_stop_says_nothing_of_the_downstream(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    site.scanner.open.clear()
    async with soon_left(site.governance_worker()):
        await site.governance.watchful().set_quotas(name, scan=Quota(max_active=1))
        await site.governance.set_policy(name, BreakerPolicy(consecutive_failures=1))
        async with soon_left(site.job_worker()):
            job = await site.start(ScanJobInput(tenant=name, downstream=name))
            await until_called(site)
        await until_held(site.governance, name, 1)
        state = await eventually(
            lambda: site.governance.breaker_state(name), lambda s: s.ignored == 1
        )
        assert (state.failures, state.state) == (0, "CLOSED")
        site.scanner.open.set()
        # Nobody works for the job any more; its permit comes back when it is given up.
        await job.terminate("test")
        await until_held(site.governance, name, 0)
