"""Worker versioning, and replays of what a governed namespace has recorded."""

from datetime import timedelta

from temporalio import workflow
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Replayer, WorkerDeploymentConfig

from headgate import HeadgatePlugin
from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState
from headgate.model.entity import EntityOptions
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.harness import eventually, soon_left
from tests.jobs import ScanJob, ScanJobInput
from tests.site import Site


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
            assert await build_of(site, name) == "1"
        # The workflows go on in the next version, and verdicts still find the gate.
        async with soon_left(site.governance_worker(deployment_config=version(ours, "2"))):
            await make_current(site.client, ours, "2")
            await site.governance.report(name, 1, failures=1)
            await site.governance.until_state(name, BreakerState.OPEN)
            await site.run(ScanJobInput(tenant=name, downstream=name))
            await eventually(lambda: build_of(site, name), lambda build: build == "2")


async def build_of(site: Site, name: str) -> str:
    """Which version a ledger last ran in, and how it is moved."""
    described = await site.governance.handle("ledger", name).describe()
    versioning = described.raw_description.workflow_execution_info.versioning_info
    assert versioning.behavior == VersioningBehavior.AUTO_UPGRADE.value
    return versioning.deployment_version.build_id


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
