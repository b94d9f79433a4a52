"""The main path on the real server: a job asks, waits, calls, reports, gives back."""

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from tests.harness import Governance, Orchestrator, eventually
from tests.jobs import ScanJob, ScanJobInput


async def test_a_job_holds_its_permit_and_gives_it_back(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    await orchestrator.run(ScanJobInput(tenant=name, downstream=name))
    await governance.until_scans(name, granted=1, released=1, held=0)
    state = await eventually(lambda: governance.breaker_state(name), lambda s: s.successes == 1)
    assert state.failures == 0


async def test_jobs_wait_for_their_turn_and_never_exceed_the_quota(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    orchestrator.scanner.open.clear()
    jobs = [await orchestrator.start(ScanJobInput(tenant=name)) for _ in range(6)]
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 4)

    async def calls() -> int:
        return orchestrator.scanner.active

    await eventually(calls, lambda active: active == 2)
    orchestrator.scanner.open.set()
    for job in jobs:
        await job.result()
    assert orchestrator.scanner.most_active == 2
    await governance.until_scans(name, granted=6, released=6, held=0)


async def test_a_job_that_does_not_wait_is_told_why_and_when(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    orchestrator.scanner.open.clear()
    first = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.units_held.get("scan") == 1)
    with pytest.raises(WorkflowFailureError) as failure:
        await orchestrator.run(ScanJobInput(tenant=name, max_wait_ms=0))
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "headgate.PermitDenied"
    assert "1 of 1 scan" in str(cause)
    assert cause.details[0]["reason"]["code"] == "quota_used_up"
    orchestrator.scanner.open.set()
    await first.result()


async def test_an_unknown_tenant_is_refused_with_what_to_do(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    with pytest.raises(WorkflowFailureError) as failure:
        await orchestrator.run(ScanJobInput(tenant=name))
    assert "list it" in str(failure.value.cause)


async def test_a_cancelled_job_gives_back_what_it_holds_and_what_it_waits_for(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    orchestrator.scanner.open.clear()
    holder = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.units_held.get("scan") == 1)
    waiter = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 1)
    await waiter.cancel()
    await eventually(lambda: governance.account(name), lambda a: not a.waiting)
    await holder.cancel()
    await eventually(lambda: governance.account(name), lambda a: a.units_held["scan"] == 0)
    orchestrator.scanner.open.set()


async def holding_all(
    governance: Governance, orchestrator: Orchestrator, tenant: str
) -> WorkflowHandle[ScanJob, str]:
    """A job that holds all that its tenant may, in a ledger that soon looks after holders."""
    await governance.watchful().set_quotas(tenant, scan=Quota(max_active=1))
    orchestrator.scanner.open.clear()
    job = await orchestrator.start(ScanJobInput(tenant=tenant))
    await eventually(lambda: governance.account(tenant), lambda a: a.units_held.get("scan") == 1)
    return job


async def test_a_terminated_job_is_found_and_its_permit_reclaimed(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    holder = await holding_all(governance, orchestrator, name)
    waiter = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 1)
    await holder.terminate("test")
    orchestrator.scanner.open.set()
    await waiter.result()
    account = await governance.until_scans(name, granted=2, held=0)
    # The other's may be released, or found as the first one's was if its release is not there yet.
    assert account.reclaimed >= 1


async def test_a_terminated_job_that_waits_leaves_the_line(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    holder = await holding_all(governance, orchestrator, name)
    gone, stays = [await orchestrator.start(ScanJobInput(tenant=name)) for _ in range(2)]
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 2)
    await gone.terminate("test")
    page = await eventually(lambda: governance.holders(name), lambda page: len(page.waiters) == 1)
    assert page.waiters[0].workflow_id == stays.id
    orchestrator.scanner.open.set()
    await stays.result()
    await holder.result()


async def test_a_downstream_that_fails_is_cut_off_and_comes_back_by_probes(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=50))
    policy = BreakerPolicy(consecutive_failures=3, open_ms=1_500, probes=2, ramp_ms=500)
    await governance.set_policy(name, policy)
    job = ScanJobInput(tenant=name, downstream=name, max_wait_ms=0)
    orchestrator.scanner.broken = True
    with pytest.raises(WorkflowFailureError):
        await orchestrator.run(job)
    handles = [await orchestrator.start(job) for _ in range(12)]
    for handle in handles:
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    # Once the first has failed the gate is careful: however many jobs there are at once, the dead
    # downstream gets as many calls as the policy says, and not one more.
    assert orchestrator.scanner.calls == 3
    await eventually(lambda: governance.breaker_state(name), lambda s: s.state == "OPEN")
    orchestrator.scanner.broken = False
    patient = [
        await orchestrator.start(ScanJobInput(tenant=name, downstream=name)) for _ in range(6)
    ]
    for handle in patient:
        await handle.result()
    state = await governance.breaker_state(name)
    assert [step.target for step in state.transitions][:3] == ["OPEN", "HALF_OPEN", "RAMP"]
    assert "3 calls in a row failed" in state.transitions[0].reason
