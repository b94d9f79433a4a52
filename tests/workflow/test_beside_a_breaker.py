"""What stands before a breaker in the rank of reasons is told though the breaker is asked first."""

from functools import partial
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerCommand, BreakerState
from headgate.model.ledger import LedgerCommand, Outlook, SetPause
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.model.reason import Reason, ReasonCode
from headgate.model.why import WHY_QUERY, JobAsk, WhyReport
from headgate.orchestrator.operate import command_breaker, command_ledger, new_command_id
from headgate.orchestrator.why import explain
from headgate.store.database import Database
from tests.harness import Governance, Orchestrator, apply, eventually, now_ms, soon_left
from tests.jobs import JobOfBefore, ScanJob, ScanJobInput
from tests.workflow.test_governed import Task, Workplace

BY_ADA: dict[str, Any] = {"actor": "ada", "reason": "a drill"}


async def forced_open(governance: Governance, name: str) -> None:
    await governance.set_policy(name, BreakerPolicy(consecutive_failures=3))
    for_a_while = BreakerCommand(id=new_command_id(), action="force_open", for_ms=600_000, **BY_ADA)
    await command_breaker(governance.client, name, for_a_while)


async def known_to_be_shut(governance: Governance, working: Orchestrator, name: str) -> None:
    """Have the gate learn of its breaker: the first job of a process asks the ledger anyway."""
    await governance.set_quotas(f"{name}-first", scan=Quota())
    job = ScanJobInput(tenant=f"{name}-first", downstream=name, max_wait_ms=0)
    assert (await refused(working, job))["reason"]["code"] in ("forced_open", "breaker_open")


async def refused(working: Orchestrator, job: ScanJobInput) -> dict[str, Any]:
    """What a job is refused by that would wait for as long as it takes."""
    began_ms = now_ms()
    with pytest.raises(WorkflowFailureError) as failure:
        await working.run(job)
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError) and cause.type == "headgate.PermitDenied"
    assert now_ms() - began_ms < 20_000, "it has waited"
    said: dict[str, Any] = cause.details[0]
    return said


async def waits(governance: Governance, id: str, *codes: ReasonCode) -> WhyReport:
    return await eventually(
        lambda: explain(governance.client, governance.database, id),
        lambda report: tuple(one.code for one in report.obstacles) == codes,
    )


async def asking_again(job: WorkflowHandle[ScanJob, str]) -> JobAsk:
    """What a job says of itself once it was refused for now."""
    asks: list[JobAsk] = await eventually(
        partial(job.query, WHY_QUERY, result_type=list[JobAsk]),
        lambda asks: [one.state for one in asks] == ["asks_again"],
    )
    return asks[0]


async def test_what_can_never_be_granted_does_not_wait_for_a_breaker_that_is_forced_open(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    await forced_open(governance, name)
    await known_to_be_shut(governance, orchestrator, name)
    said = await refused(orchestrator, ScanJobInput(tenant=name, downstream=name, units=99))
    assert said["retry_at_ms"] is None
    # As rank has it; both are told.
    assert said["reason"]["code"] == "forced_open"
    assert (
        f"99 of scan asked for, but the max_active of tenant {name} is 2"
        in (said["reason"]["message"])
    )
    said = await refused(orchestrator, ScanJobInput(tenant=name, downstream=name, also={"mail": 1}))
    assert (said["reason"]["code"], said["retry_at_ms"]) == ("unknown_resource", None)
    stranger = f"{name}-nobody"  # whose ledger nobody has asked for anything
    said = await refused(orchestrator, ScanJobInput(tenant=stranger, downstream=name))
    assert (said["reason"]["code"], said["retry_at_ms"]) == ("unknown_tenant", None)


async def test_what_can_never_be_granted_does_not_wait_for_an_open_breaker(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    await governance.set_policy(name, BreakerPolicy(consecutive_failures=1, open_ms=600_000))
    await governance.report(name, 1, failures=1)
    await governance.until_state(name, BreakerState.OPEN)
    await known_to_be_shut(governance, orchestrator, name)
    said = await refused(orchestrator, ScanJobInput(tenant=name, downstream=name, units=99))
    assert (said["reason"]["code"], said["retry_at_ms"]) == ("can_never_fit", None)
    granted = (await governance.account(name)).accounts.get("scan")
    assert granted is None or granted.granted == 0, "nothing was spent to find out"


async def test_who_is_suspended_is_told_so_before_the_breaker_and_goes_on_after_both(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    await forced_open(governance, name)
    await known_to_be_shut(governance, orchestrator, name)
    pause = LedgerCommand(id=new_command_id(), action=SetPause(resource="*"), **BY_ADA)
    await command_ledger(governance.client, governance.database, name, pause)
    said = await refused(orchestrator, ScanJobInput(tenant=name, downstream=name, max_wait_ms=0))
    assert said["reason"]["code"] == "suspended"
    job = await orchestrator.start(ScanJobInput(tenant=name, downstream=name))
    report = await waits(governance, job.id, ReasonCode.SUSPENDED, ReasonCode.FORCED_OPEN)
    suspended, forced = report.obstacles
    assert (suspended.changes_at_ms, suspended.tenant) == (None, name)
    assert forced.changes_at_ms is not None
    # When the breaker is back is not when the job goes on.
    assert report.goes_on_at_ms is None
    assert report.verdict.endswith("and 1 more in its way; until people end it")
    await job.terminate()


async def test_a_call_that_can_never_be_made_does_not_wait_for_a_breaker(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    async with Workplace(stack, governance, name).running() as place:
        await forced_open(governance, place.downstream)
        with pytest.raises(WorkflowFailureError):  # the gate learns of its breaker
            await place.run(Task(["guarded"], attempts=1), name)
        job = await place.start(Task(["counted"], units=99), name)
        with pytest.raises(WorkflowFailureError) as failure:
            await job.result()
        error = failure.value.cause
        assert isinstance(error, ActivityError) and isinstance(error.cause, ApplicationError)
        assert (error.cause.type, error.cause.non_retryable) == ("headgate.CallDenied", True)
        assert f"but the max_active of tenant {name} is 2" in error.cause.message


async def test_a_job_that_waits_for_a_breaker_costs_its_ledger_nothing(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    await forced_open(governance, name)
    await known_to_be_shut(governance, orchestrator, name)
    handle = governance.handle("ledger", name)
    before = (await handle.describe()).history_length
    revision = await governance.revision("ledger", name)
    for _ in range(3):
        job = await orchestrator.start(ScanJobInput(tenant=name, downstream=name))
        asks = await asking_again(job)
        assert asks.reason is not None and asks.reason.code is ReasonCode.FORCED_OPEN
        await job.terminate()
    assert await governance.revision("ledger", name) == revision
    assert (await handle.describe()).history_length == before


async def test_a_ledger_says_beforehand_what_a_breaker_does_not_change(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    wishes = [{"scan": 2}, {"scan": 3}, {"mail": 1}]
    ledger = governance.ledger(name)
    said = await ledger.query("outlook", list[Outlook], 10, wishes)
    codes = [None if one.reason is None else one.reason.code for one in said]
    assert codes == [None, ReasonCode.CAN_NEVER_FIT, ReasonCode.UNKNOWN_RESOURCE]


async def test_why_tells_what_is_in_the_way_besides_a_breaker_whatever_the_job_was_told(
    governance: Governance, database: Database, client: Client, name: str
) -> None:
    fits, listed, nobody = f"{name}-fits", f"{name}-listed", f"{name}-nobody"
    await apply(database, tenants={listed: {"quotas": {"scan": {}}}})
    await governance.set_quotas(fits, scan=Quota(max_active=2))
    await forced_open(governance, name)
    told = Reason(code=ReasonCode.FORCED_OPEN, message="the breaker is open")
    queue = f"jobs-{name}"

    async def job_of(tenant: str, units: int = 1) -> str:
        ask = JobAsk(
            id=f"{tenant}-{units}",
            tenant=tenant,
            resource="scan",
            units=units,
            downstream=name,
            since_ms=now_ms(),
            state="asks_again",
            reason=told,
            retry_at_ms=now_ms() + 60_000,
        )
        job = await client.start_workflow(
            JobOfBefore.run, ask, id=f"job-{tenant}-{units}", task_queue=queue
        )
        return job.id

    async with soon_left(Worker(client, task_queue=queue, workflows=[JobOfBefore])):
        report = await waits(
            governance, await job_of(nobody), ReasonCode.UNKNOWN_TENANT, ReasonCode.FORCED_OPEN
        )
        assert report.verdict.startswith(f"waits: no quota for tenant {nobody}: list it, or '*'")
        assert report.verdict.endswith("and 1 more in its way; until people change that")
        assert (report.notes, report.goes_on_at_ms) == ([], None)
        report = await waits(
            governance, await job_of(fits, 99), ReasonCode.FORCED_OPEN, ReasonCode.CAN_NEVER_FIT
        )
        assert report.goes_on_at_ms is None
        report = await waits(governance, await job_of(fits), ReasonCode.FORCED_OPEN)
        assert report.goes_on_at_ms is not None
        report = await waits(governance, await job_of(listed), ReasonCode.FORCED_OPEN)
        assert report.notes == [f"ledger {listed} does not run: it begins when it is first needed"]
