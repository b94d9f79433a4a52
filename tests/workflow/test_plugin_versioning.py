"""Worker versioning, and replays of what a governed namespace has recorded."""

from datetime import timedelta
from functools import partial

import pytest
from temporalio import workflow
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Replayer, WorkerDeploymentConfig

from headgate import HeadgatePlugin
from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState
from headgate.model.entity import EntityOptions
from headgate.model.ids import Kind
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.harness import eventually, soon_left
from tests.jobs import ScanJob, ScanJobInput
from tests.site import Site

KINDS: tuple[Kind, ...] = ("ledger", "breaker")


@workflow.defn(name="ScanJob", versioning_behavior=VersioningBehavior.PINNED)
class PinnedScanJob(ScanJob):
    @workflow.run
    async def run(self, job: ScanJobInput) -> str:
        return await super().run(job)


def version(deployment: str, build: str) -> WorkerDeploymentConfig:
    """A version whose workflows have to say themselves how they are to be moved."""
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment, build), use_worker_versioning=True
    )


async def make_current(client: Client, deployment: str, build: str) -> None:
    """Route to a version, once the server has heard of it."""

    async def set_current() -> bool:
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace=client.namespace, deployment_name=deployment, build_id=build
        )
        await client.workflow_service.set_worker_deployment_current_version(
            request, timeout=timedelta(seconds=10)
        )
        return True

    await eventually(set_current, bool)


async def test_versioned_workers_govern_and_are_governed(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    ours, theirs = f"governance-{name}", f"jobs-{name}"
    jobs = site.job_worker(workflows=[PinnedScanJob], deployment_config=version(theirs, "1"))
    policy = BreakerPolicy(consecutive_failures=1, open_ms=300, probes=1, ramp_ms=100)
    async with soon_left(jobs):
        await make_current(site.client, theirs, "1")
        async with soon_left(site.governance_worker(deployment_config=version(ours, "1"))):
            await make_current(site.client, ours, "1")
            await site.governance.set_quotas(name, scan=Quota(max_active=1))
            await site.governance.set_policy(name, policy)
            await site.run(ScanJobInput(tenant=name, downstream=name))
            await eventually(lambda: build_of(site, name, "ledger"), lambda build: build == "1")
        # The workflows go on in the next version, and verdicts still find the gate.
        async with soon_left(site.governance_worker(deployment_config=version(ours, "2"))):
            await make_current(site.client, ours, "2")
            await site.run(ScanJobInput(tenant=name, downstream=name))
            # The server takes its time to send running workflows to another version.
            for kind in KINDS:
                await eventually(
                    partial(build_of, site, name, kind),
                    lambda build: build == "2",
                    within_s=60,
                )
            site.scanner.broken = True
            with pytest.raises(WorkflowFailureError):
                await site.run(ScanJobInput(tenant=name, downstream=name, max_wait_ms=0))
            site.scanner.broken = False
            await eventually(
                lambda: site.governance.breaker_state(name),
                lambda state: any(step.target is BreakerState.OPEN for step in state.transitions),
            )
            await site.run(ScanJobInput(tenant=name, downstream=name))


async def build_of(site: Site, name: str, kind: Kind) -> str:
    """Which version a governance workflow last ran in, if it is to move to newer ones."""
    described = await site.governance.handle(kind, name).describe()
    versioning = described.raw_description.workflow_execution_info.versioning_info
    upgrades = versioning.behavior == VersioningBehavior.AUTO_UPGRADE.value
    return versioning.deployment_version.build_id if upgrades else "not upgrading"


async def test_what_ran_replays_without_server_database_or_gate(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    site = await Site.connect(stack, database, options)
    async with site.running():
        await site.governance.set_quotas(name, scan=Quota(max_active=1))
        job = await site.start(ScanJobInput(tenant=name, downstream=name))
        await job.result()
        await eventually(lambda: site.governance.breaker_state(name), lambda s: s.successes == 1)
    governed = await job.fetch_history()
    await Replayer(workflows=[ScanJob], plugins=[HeadgatePlugin()]).replay_workflow(governed)
    # A plugin that runs governance workers knows their workflows; its database is not there.
    plugin = HeadgatePlugin(governance="postgresql://nobody@localhost:1/nowhere")
    replayer = Replayer(workflows=[ScanJob], plugins=[plugin])
    for handle in (
        job,
        site.governance.handle("ledger", name),
        site.governance.handle("breaker", name),
    ):
        await replayer.replay_workflow(await handle.fetch_history())
    given = Replayer(workflows=replayer.config(active_config=True)["workflows"], plugins=[plugin])
    await given.replay_workflow(governed)
