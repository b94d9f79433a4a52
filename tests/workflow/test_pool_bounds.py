"""On the real server: what never fits is refused, what is not lent is kept, and who comes back."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from headgate.model.entity import EntityOptions
from headgate.model.ledger import LedgerView, Outcome
from headgate.model.pool import Damping, PoolSettings, PoolView, Strategy
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings
from tests.harness import Governance, Orchestrator, acquire, eventually, is_conserved
from tests.jobs import ScanJobInput

QUICK = Damping(round_ms=50, min_hold_ms=100, demand_half_life_ms=200)


def settings(*tenants: str, **others: Any) -> PoolSettings:
    return PoolSettings(
        capacity={"scan": 6},
        strategy=Strategy.RESERVED,
        tenants=dict.fromkeys(tenants),
        damping=QUICK,
        source="listed",
        **others,
    )


async def tell_governor(governance: Governance, pool: str, now: PoolSettings) -> None:
    await governance.governor(pool).update("configure", now, uuid4().hex, PoolView, 10)


async def tell_ledger(governance: Governance, tenant: str, pool: str | None, quota: Quota) -> None:
    pools = {} if pool is None else {"scan": pool}
    now = LedgerSettings(quotas={"scan": quota}, pools=pools, source="listed")
    await governance.ledger(tenant).update("configure", now, uuid4().hex, LedgerView, 10)


async def take(governance: Governance, tenant: str, count: int) -> list[str]:
    """Ask for permits that wait, for jobs that only exist, and return the permits' ids."""
    ids = [uuid4().hex for _ in range(count)]
    for id in ids:
        await governance.client.start_workflow(
            "Job", id=f"job-{id}", task_queue="nobody", execution_timeout=timedelta(seconds=60)
        )
    await governance.exchange(tenant, [acquire(id, wait_ms=60_000) for id in ids])
    return ids


async def held(governance: Governance, tenant: str) -> int:
    return (await governance.account(tenant)).units_held.get("scan", 0)


async def test_a_job_that_could_never_fit_fails_with_the_reason(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    keeper, other = f"{name}-keeper", f"{name}-other"
    # The keeper has no job, so its ledger says nothing: that it keeps 3 stands in the settings.
    await tell_governor(governance, name, settings(keeper, other, unlent={keeper: 3}))
    await tell_ledger(governance, keeper, name, Quota(guaranteed=4, lend_limit=1))
    await tell_ledger(governance, other, name, Quota())
    for _ in range(2):  # while it waits for the pool, and then at once
        job = await orchestrator.start(ScanJobInput(tenant=other, units=4))
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(job.result(), 20)
        cause = failure.value.cause
        assert isinstance(cause, ApplicationError)
        assert cause.type == "headgate.PermitDenied"
        reason = cause.details[0]["reason"]
        assert (reason["code"], reason["limit"], reason["needed"]) == ("can_never_fit", 3, 4)
        assert f"tenant {other} can hold at most 3 of pool {name}: 3 of what is" in cause.message
    fits = await orchestrator.start(ScanJobInput(tenant=other, units=3))
    await asyncio.wait_for(fits.result(), 20)
    assert is_conserved(await governance.account(other))


async def test_what_is_not_lent_is_kept_before_the_first_job_of_its_tenant(
    governance: Governance, name: str
) -> None:
    keeper, other = f"{name}-keeper", f"{name}-other"
    await tell_governor(governance, name, settings(keeper, other, unlent={keeper: 4}))
    await tell_ledger(governance, other, name, Quota())
    await take(governance, other, 6)
    await eventually(lambda: held(governance, other), lambda units: units == 2)
    view = await eventually(
        lambda: governance.pool(name), lambda found: found.members[keeper].stopped
    )
    assert view.members[other].allocated == {"scan": 2}
    assert await governance.runs("ledger", keeper) == []
    # Its first job begins at once, though the other waits for more.
    await tell_ledger(governance, keeper, name, Quota(guaranteed=4, lend_limit=0))
    await take(governance, keeper, 4)
    await eventually(lambda: held(governance, keeper), lambda units: units == 4)
    assert await held(governance, other) == 2


class TestManyRuns:
    """The same with runs so short that all of them continue as new in between."""

    @pytest.fixture
    def options(self) -> EntityOptions:
        return EntityOptions(
            continue_after_events=60, snapshot_every_ms=100, check_holders_every_ms=60_000
        )

    async def test_who_comes_back_has_nothing_of_what_it_had_before(
        self, governance: Governance, name: str
    ) -> None:
        guest, other = f"{name}-guest", f"{name}-other"
        await tell_governor(governance, name, settings(guest, other))
        for tenant in (guest, other):
            await tell_ledger(governance, tenant, name, Quota())
        permits = await take(governance, guest, 5)
        await eventually(lambda: held(governance, guest), lambda units: units == 5)
        await tell_ledger(governance, guest, None, Quota())
        await tell_governor(governance, name, settings(other))
        await take(governance, other, 6)
        await eventually(lambda: held(governance, other), lambda units: units == 1)
        # What comes back of it is for the other, one by one.
        for number, permit in enumerate(permits, 2):
            await governance.exchange(guest, [], releases=[permit])
            await eventually(lambda: held(governance, other), number.__eq__)
        # The ledger hears first that it is back.
        await tell_ledger(governance, guest, name, Quota())
        reply = await governance.exchange(
            guest, [acquire(f"{name}-{one}", wait_ms=60_000) for one in range(5)]
        )
        assert {one.outcome for one in reply.decisions} == {Outcome.WAITING}
        await tell_governor(governance, name, settings(guest, other))
        await eventually(lambda: governance.pool(name), lambda view: not view.unheard)
        view = await governance.pool(name)
        assert sum(member.ceiling["scan"] for member in view.members.values()) <= 6
        assert (await held(governance, guest), await held(governance, other)) == (0, 6)
