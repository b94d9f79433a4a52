"""``headgate why`` on the real stack: one job for each thing that can stand in its way."""

import json
import re
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from headgate.model.breaker import BreakerState
from headgate.model.reason import ReasonCode
from headgate.model.why import WHY_QUERY, JobAsk, WhyReport
from headgate.orchestrator.why import explain
from tests.cli.conftest import Desk
from tests.cli.test_quota import ABOUT
from tests.harness import Orchestrator, eventually
from tests.jobs import ScanJob, ScanJobInput

Job = WorkflowHandle[ScanJob, str]


async def why(desk: Desk, job: Job | str, *codes: ReasonCode) -> WhyReport:
    """The report, once it names exactly these obstacles."""
    id = job if isinstance(job, str) else job.id
    governance = desk.governance
    return await eventually(
        lambda: explain(governance.client, governance.database, id),
        lambda report: tuple(one.code for one in report.obstacles) == codes,
    )


async def held(desk: Desk, working: Orchestrator, **job: Any) -> Job:
    """A job that holds its permit and waits for its downstream."""
    started = await working.start(ScanJobInput(**job))
    await eventually(
        lambda: explain(desk.governance.client, desk.governance.database, started.id),
        lambda report: len(report.holds) == 1,
    )
    return started


async def test_who_stands_in_line_is_told_behind_whom(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 1}}}})
    async with desk.orchestrator() as working:
        first = await held(desk, working, tenant=acme)
        second = await working.start(ScanJobInput(tenant=acme))
        await why(desk, second, ReasonCode.QUOTA_USED_UP)
        third = await working.start(ScanJobInput(tenant=acme))
        report = await why(desk, third, ReasonCode.QUOTA_USED_UP)
        (obstacle,) = report.obstacles
        assert report.state == "waits"
        assert (obstacle.position, obstacle.limit, obstacle.used) == (2, 1, 1)
        assert [one.workflow_id for one in obstacle.holders] == [first.id]
        assert [one.workflow_id for one in obstacle.ahead] == [second.id]
        assert report.goes_on_at_ms is None, "no permit has come back yet"
        said = (
            f"waits: the quota of {acme} is used up: it holds 1 of 1 scan, number 2 in line; "
            "nobody knows until when"
        )
        assert report.verdict == said

        shown = await desk.done("why", third.id)
        assert said in " ".join(shown.split())
        assert f"held by      {first.id}: 1 for" in shown
        told = WhyReport.model_validate(json.loads(await desk.done("why", third.id, "--json")))
        assert told.obstacles[0].position == 2
        assert "runs: it holds 1 scan" in await desk.done("why", first.id)


async def test_a_job_that_has_failed_since_it_was_refused_is_told_by_what(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 2}}}})
    async with desk.orchestrator() as working:
        job = await working.start(ScanJobInput(tenant=acme, units=3))
        with pytest.raises(WorkflowFailureError):
            await job.result()
        report = await why(desk, job, ReasonCode.CAN_NEVER_FIT)
        (obstacle,) = report.obstacles
        assert (report.state, report.status, report.tenants) == ("closed", "FAILED", [acme])
        assert (obstacle.limit, obstacle.needed, obstacle.resource) == (2, 3, "scan")
        refused = f"3 of scan asked for, but the max_active of tenant {acme} is 2"
        assert report.verdict.endswith(f", refused: {refused}")
        shown = " ".join((await desk.done("why", job.id)).split())
        assert shown.endswith(f"1. can_never_fit: {refused}")


async def test_a_rate_a_window_and_a_pause_are_told_with_their_end(desk: Desk) -> None:
    rate, window, paused = desk.of("rate"), desk.of("window"), desk.of("paused")
    await desk.apply(
        tenants={
            rate: {"quotas": {"scan": {"rate": "1/h"}}},
            window: {"quotas": {"scan": {"per_month": 1}}},
            paused: {"quotas": {"scan": {}}, "paused": "it has not paid"},
        }
    )
    async with desk.orchestrator() as working:
        await held(desk, working, tenant=rate)
        await held(desk, working, tenant=window)
        jobs = [await working.start(ScanJobInput(tenant=name)) for name in (rate, window, paused)]
        report = await why(desk, jobs[0], ReasonCode.RATE)
        assert "the rate of 1/h for scan is used up; not before" in report.verdict
        report = await why(desk, jobs[1], ReasonCode.WINDOW)
        assert f"1 of 1 scan a month of tenant {window} used; not before" in report.verdict
        assert not report.estimate
        report = await why(desk, jobs[2], ReasonCode.SUSPENDED)
        assert report.verdict == (
            f"waits: tenant {paused} is suspended: it has not paid; until people end it"
        )


async def test_a_pause_is_told_with_its_end_although_the_pool_is_full(desk: Desk) -> None:
    acme, pool = desk.of("acme"), desk.of("slots")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 1}},
    )
    async with desk.orchestrator() as working:
        await held(desk, working, tenant=acme)
        job = await working.start(ScanJobInput(tenant=acme))
        await why(desk, job, ReasonCode.POOL_USED_UP)
        await desk.done("quota", "pause", acme, "--for", "90s", *ABOUT)
        report = await why(desk, job, ReasonCode.SUSPENDED)
        assert f"tenant {acme} was paused by ada: a drill; not before " in report.verdict
        (obstacle,) = report.obstacles
        assert obstacle.changes_at_ms is not None and not obstacle.estimate


async def test_an_open_breaker_is_told_with_its_cause(desk: Desk) -> None:
    acme, name = desk.of("acme"), desk.of("scanner")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}},
        downstreams={name: {"breaker": {"consecutive_failures": 1, "open_ms": 60_000}}},
    )
    await desk.governance.report(name, 1, failures=1)
    await desk.governance.until_state(name, BreakerState.OPEN)
    async with desk.orchestrator() as working:
        job = await working.start(ScanJobInput(tenant=acme, downstream=name))
        report = await why(desk, job, ReasonCode.BREAKER_OPEN)
        assert report.verdict.startswith(f"waits: the breaker of {name} is open: ")
        assert report.goes_on_at_ms is not None
        asks = await job.query(WHY_QUERY, result_type=list[JobAsk])
        assert [(one.state, one.downstream) for one in asks] == [("asks_again", name)]


async def test_a_breaker_that_people_hold_open_is_told_with_who(desk: Desk) -> None:
    acme, name = desk.of("acme"), desk.of("scanner")
    await desk.apply(tenants={acme: {"quotas": {"scan": {}}}}, downstreams={name: {}})
    await desk.done(
        *("throttle", "downstream", name, "--to", "0", "--reason", "a drill", "--actor", "ada")
    )
    async with desk.orchestrator() as working:
        job = await working.start(ScanJobInput(tenant=acme, downstream=name))
        report = await why(desk, job, ReasonCode.FORCED_OPEN)
        assert report.verdict == (
            f"waits: the breaker of {name} is forced open by ada: a drill; until people end it"
        )


async def test_a_used_up_pool_is_told_with_who_has_it(desk: Desk) -> None:
    acme, globex, pool = desk.of("acme"), desk.of("globex"), desk.of("slots")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}, globex: {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 2}},
    )
    async with desk.orchestrator() as working:
        await held(desk, working, tenant=acme)
        await held(desk, working, tenant=globex)
        job = await working.start(ScanJobInput(tenant=acme))
        report = await why(desk, job, ReasonCode.POOL_USED_UP)
        said = f"waits: the part of {acme} in pool {pool} is used up: it holds 1 of its 1; "
        assert report.verdict.startswith(said)

        def parts(report: WhyReport) -> dict[str, int]:
            return {part.tenant: part.held for part in report.obstacles[0].parts}

        # What others hold is what the governor has heard of, which may be a moment ago.
        await eventually(
            lambda: why(desk, job, ReasonCode.POOL_USED_UP),
            lambda report: parts(report) == {acme: 1, globex: 1},
        )


async def test_a_pool_is_told_as_it_is_now_with_the_group_that_may_have_no_more(desk: Desk) -> None:
    acme, globex, pool, group = map(desk.of, ("acme", "globex", "slots", "dep"))
    quotas = {"quotas": {"scan": {}}, "group": group}
    await desk.apply(
        tenants={acme: quotas, globex: quotas},
        groups={group: {"shares": {"scan": {"maximum": 2}}}},
        pools={pool: {"resource": "scan", "capacity": 9}},
    )
    async with desk.orchestrator() as working:
        for tenant in (acme, globex):
            await held(desk, working, tenant=tenant)
        job = await working.start(ScanJobInput(tenant=acme))
        await working.start(ScanJobInput(tenant=globex))
        said = (
            "2 of the pool's 9 scan are given out (proportional, 2 tenants, 2 of them want more "
            f"than they have); group {group} may have 2 together and has 2"
        )
        # What its ledger was told with its own part was before globex had its own, or wanted more.
        report = await eventually(
            lambda: why(desk, job, ReasonCode.POOL_USED_UP),
            lambda report: said in report.obstacles[0].message,
        )
        assert "when its governor last spoke" not in report.obstacles[0].message
        assert said in " ".join((await desk.done("why", job.id)).split())


async def test_of_several_resources_the_pool_of_that_which_is_lacking_is_told(desk: Desk) -> None:
    acme, slots, tokens = desk.of("acme"), desk.of("slots"), desk.of("tokens")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}, "tok": {}}}},
        pools={
            slots: {"resource": "scan", "capacity": 100},
            tokens: {"resource": "tok", "capacity": 500},
        },
    )
    async with desk.orchestrator() as working:
        first = await held(desk, working, tenant=acme, also={"tok": 450})
        # The whole pool, as long as nobody wants more than what is there.
        await eventually(
            lambda: desk.governance.pool(tokens),
            lambda view: view.members[acme].allocated.get("tok") == 500,
        )
        job = await working.start(ScanJobInput(tenant=acme, also={"tok": 100}))
        report = await eventually(
            lambda: why(desk, job, ReasonCode.POOL_USED_UP),
            lambda report: bool(report.obstacles[0].parts) and report.obstacles[0].limit == 500,
        )
        (obstacle,) = report.obstacles
        assert (obstacle.resource, obstacle.pool) == ("tok", tokens)
        assert (obstacle.used, obstacle.needed) == (450, 100)
        assert f"in pool {tokens} is used up: it holds 450 of its 500" in report.verdict
        assert f"held by      {first.id}: 450 for" in await desk.done("why", job.id)


async def test_a_job_without_a_worker_is_found_in_its_ledger(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {"max_active": 1}}}})
    async with desk.orchestrator() as working:
        await held(desk, working, tenant=acme)
        job = await working.start(ScanJobInput(tenant=acme))
        await why(desk, job, ReasonCode.QUOTA_USED_UP)
        await eventually(
            lambda: desk.governance.saved_ledger(acme),
            lambda view: view is not None and view.waiting.get("scan") == 1,
        )
        # A job in another language, say: it waits in the ledger, and answers no query of ours.
        other = await desk.governance.client.start_workflow(
            "Unheard", id=desk.of("unheard"), task_queue=desk.of("nobody")
        )
        report = await why(desk, other.id)
        assert report.verdict == "runs: no ledger knows that it waits or holds anything"
        assert "the job does not answer, because no worker runs it now" in report.notes[0]
        await other.terminate("the test is over")
        working.scanner.open.set()
        await job.result()


async def test_a_stopped_worker_leaves_the_ledger_to_answer(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {}}}})
    await desk.done("quota", "pause", acme, "--reason", "a drill", "--actor", "ada")
    async with desk.orchestrator() as working:
        job = await working.start(ScanJobInput(tenant=acme))
        await why(desk, job, ReasonCode.SUSPENDED)
        await eventually(
            lambda: desk.governance.saved_ledger(acme),
            lambda view: view is not None and view.waiting.get("scan") == 1,
        )
    report = await why(desk, job.id, ReasonCode.SUSPENDED)
    assert report.state == "waits"
    assert re.match(
        r"the job did not answer within 3 s: a worker last asked for work like this .+ ago, and is "
        r"busy or gone; only the ledgers were asked",
        report.notes[0],
    )
    await job.terminate("the test is over")


async def test_what_was_released_is_not_held_any_more_whatever_its_job_believes(
    desk: Desk,
) -> None:
    acme, core = desk.of("acme"), desk.of("core")
    await desk.apply(
        tenants={acme: {"quotas": {"scan": {}}}, core: {"quotas": {"scan": {"leased": True}}}}
    )
    async with desk.orchestrator() as working:
        job, other = [await held(desk, working, tenant=name) for name in (acme, core)]
        (permit,) = (await why(desk, job)).holds
        await desk.done("release", permit.id, "--tenant", acme, *ABOUT)
        report = await why(desk, job)
        assert (report.state, report.holds) == ("runs", [])
        assert report.verdict == "runs: it asks for no permit now, and holds none"
        assert f"(permit {permit.id}), but its ledger has that no more" in report.notes[0]
        asks = await job.query(WHY_QUERY, result_type=list[JobAsk])
        assert [one.state for one in asks] == ["held"], "the job has not been told"
        # What a gate has handed out of its block is not known to the ledger by its id at once.
        assert [one.tenant for one in (await why(desk, other)).holds] == [core]


async def test_a_job_that_has_ended_or_never_was_is_told_so(desk: Desk) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {}}}})
    async with desk.orchestrator() as working:
        working.scanner.open.set()
        job = await working.start(ScanJobInput(tenant=acme))
        await job.result()
        out = await desk.done("why", job.id)
        assert out.startswith("closed: it ended at ")
        assert "(completed) and waits for nothing" in " ".join(out.split())
    refused = (await desk.headgate("why", desk.of("nobody"))).refusal
    assert refused == (
        f"there is no workflow '{desk.of('nobody')}' in namespace default, and no ledger knows it"
    )
