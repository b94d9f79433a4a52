"""On the real server: a pool follows a downstream, says how full it is, and turns work away."""

import asyncio
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerView, Report
from headgate.model.configuration import Configuration
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError
from headgate.model.limits import (
    BackpressurePolicy,
    CallSummary,
    CapacityNews,
    ConcurrencyPolicy,
    LimitPolicy,
    PressureLevel,
    SheddingPolicy,
    Steps,
)
from headgate.model.pool import Damping, PoolCommand, PoolView, Strategy
from headgate.model.quota import Quota
from headgate.model.settings import BreakerSettings
from headgate.orchestrator.backpressure import backpressure, intake
from headgate.store.configuration import ConfigurationStore
from tests.harness import Governance, Orchestrator, acquire, eventually, is_conserved
from tests.jobs import ScanJobInput

QUICK = Damping(round_ms=50, min_hold_ms=100, demand_half_life_ms=200)
ADAPTS = LimitPolicy(concurrency=ConcurrencyPolicy(initial=6, max=40))
NORMAL, ELEVATED, SATURATED, EMERGENCY = PressureLevel


async def follow(
    governance: Governance, name: str, limit: LimitPolicy | None = ADAPTS, **more: Any
) -> None:
    """Have pool ``name`` of two tenants follow the downstream of the same name."""
    settings = BreakerSettings(limit=limit, pools=[name], source="listed", **more)
    await governance.breaker(name).update("configure", settings, uuid4().hex, BreakerView, 10)


async def make_pool(governance: Governance, name: str, **settings: Any) -> list[str]:
    tenants = [f"{name}-a", f"{name}-b"]
    defaults = {"capacity": {"scan": 10}, "strategy": Strategy.PROPORTIONAL, "damping": QUICK}
    await governance.set_pool(
        name, dict.fromkeys(tenants, Quota()), **{**defaults, "follows": name, **settings}
    )
    return tenants


async def report(governance: Governance, name: str, seq: int, overloads: int = 0) -> None:
    """Report twenty calls to a downstream, some of which were too many for it."""
    epoch = (await governance.verdict(name)).limit_epoch
    calls = CallSummary(
        gate="g1", seq=seq, epoch=epoch, calls=20, duration_ms=2_000, overloads=overloads
    )
    message = Report(gate="g1", seq=seq, task_queue="nobody", calls=calls)
    await governance.breaker(name).signal("report", message, 10)


async def until_capacity(governance: Governance, name: str, units: int) -> PoolView:
    return await eventually(
        lambda: governance.pool(name), lambda view: view.capacity == {"scan": units}
    )


async def take(governance: Governance, tenant: str, count: int) -> list[str]:
    """Ask for permits that wait, for jobs that only exist, and return the permits' ids."""
    ids = [uuid4().hex for _ in range(count)]
    for id in ids:
        await governance.client.start_workflow(
            "Job", id=f"job-{id}", task_queue="nobody", execution_timeout=timedelta(seconds=60)
        )
    await governance.exchange(tenant, [acquire(id, "scan", wait_ms=60_000) for id in ids])
    return ids


async def held(governance: Governance, tenant: str) -> int:
    return (await governance.account(tenant)).units_held.get("scan", 0)


async def test_overloads_lower_the_capacity_and_what_is_held_never_passes_it(
    governance: Governance, name: str
) -> None:
    tenants = await make_pool(governance, name)
    await follow(governance, name)
    await report(governance, name, 1)
    await until_capacity(governance, name, 6)
    ids = {tenant: await take(governance, tenant, 5) for tenant in tenants}

    async def all_held() -> int:
        return sum([await held(governance, tenant) for tenant in tenants])

    await eventually(all_held, lambda units: units == 6)
    seq = 1
    while (await governance.breaker_state(name)).limit == 6:
        seq += 1
        await report(governance, name, seq, overloads=10)
        await asyncio.sleep(0.1)
    limit = (await governance.breaker_state(name)).limit
    assert limit is not None
    view = await until_capacity(governance, name, limit)
    assert view.follows is not None
    assert (view.follows.downstream, view.follows.limit) == (name, limit)
    # The ledgers hear of it, and the next to begin waits until it fits.
    await eventually(
        lambda: governance.pool(name),
        lambda found: sum(m.allocated["scan"] for m in found.members.values()) <= limit,
    )
    for tenant in tenants:
        permits = [one.id for one in (await governance.holders(tenant)).permits]
        await governance.exchange(tenant, [], releases=permits)
    await eventually(all_held, lambda units: units == min(4, limit))
    view = await governance.pool(name)
    assert sum(member.ceiling["scan"] for member in view.members.values()) <= limit
    for tenant in tenants:
        await governance.exchange(tenant, [], releases=ids[tenant])
        assert is_conserved(await governance.account(tenant))
    # No limit any more: the configured capacity.
    await follow(governance, name, limit=None)
    await until_capacity(governance, name, 10)


async def test_a_pool_that_begins_to_follow_later_asks(governance: Governance, name: str) -> None:
    await make_pool(governance, name, follows=None)
    await follow(governance, name)
    await report(governance, name, 1)
    await eventually(lambda: governance.breaker_state(name), lambda view: view.limit == 6)
    await eventually(lambda: governance.pool(name), lambda view: view.capacity == {"scan": 10})
    await make_pool(governance, name)
    await until_capacity(governance, name, 6)


async def test_it_keeps_the_limit_when_its_breaker_is_silent_and_it_comes_back_to_life(
    governance: Governance, name: str
) -> None:
    applied = Configuration.model_validate(
        {
            "downstreams": {name: {"limit": {"concurrency": {}}}},
            "tenants": {f"{name}-{one}": {"quotas": {"scan": {}}} for one in "ab"},
            "pools": {name: {"resource": "scan", "capacity": 10, "follows": name}},
        }
    )
    await ConfigurationStore(governance.database).save(applied, "test", "test", {})
    await make_pool(governance, name)
    await follow(governance, name)
    await report(governance, name, 1)
    await until_capacity(governance, name, 6)
    await governance.handle("breaker", name).terminate()
    await eventually(
        lambda: governance.database.fetch(
            "SELECT 1 FROM snapshot WHERE kind = 'governor' AND subject = $1 "
            "AND view->'follows'->>'limit' = '6'",
            name,
        ),
        bool,
    )
    await governance.handle("governor", name).terminate()
    command = PoolCommand(
        id=uuid4().hex, action="set_capacity", capacity={"scan": 10}, actor="test", reason="wake it"
    )
    view = await governance.governor(name).update("command", command, uuid4().hex, PoolView, 10)
    assert (view.incarnation, view.capacity) == (2, {"scan": 6})


async def test_malformed_news_is_counted_and_that_of_others_left_aside(
    governance: Governance, name: str
) -> None:
    await make_pool(governance, name)
    handle = governance.handle("governor", name)
    for wrong in ("six", {"limit": -1}, None, {"downstream": name, "limit": "x", "revision": 1}):
        await handle.signal("capacity_follows", wrong)
    await handle.signal("capacity_follows", args=[1, 2])
    await handle.signal("capacity_follows", CapacityNews(downstream="another", limit=1, revision=9))
    view = await eventually(lambda: governance.pool(name), lambda view: view.malformed == 5)
    assert view.capacity == {"scan": 10}


SENSITIVE = BackpressurePolicy(
    queue_age_ms=Steps(), waiting=Steps(elevated=4), hold_ms=300, retry_after_ms=200
)


async def test_producers_can_ask_how_full_it_is_and_wait_until_it_is_less(
    governance: Governance, name: str
) -> None:
    tenants = await make_pool(
        governance, name, capacity={"scan": 2}, follows=None, backpressure=SENSITIVE
    )
    assert (await intake(governance.client, name)).level is NORMAL
    for wrong in ("nonsense", "normal"):  # nothing is below normal: it would wait for ever
        with pytest.raises(ValueError, match=f"{wrong}': .*, elevated, saturated or emergency"):
            await intake(governance.client, name, below=cast(Any, wrong))
    ids = await take(governance, tenants[0], 7)

    async def pressure() -> PressureLevel:
        return (await backpressure(governance.client, name)).level

    await eventually(pressure, lambda level: level is ELEVATED)
    view = await backpressure(governance.client, name)
    assert (view.cause, view.retry_after_ms) == ("5 jobs wait", 200)
    account = await eventually(
        lambda: governance.account(tenants[0]), lambda found: name in found.pressure
    )
    await eventually(
        lambda: governance.account(tenants[0]),
        lambda found: found.pressure[name].level is ELEVATED,
    )
    assert account.pressure
    # Whoever takes in up to a higher level does not wait; the others until it has come down.
    assert (await intake(governance.client, name, below="saturated")).level is ELEVATED
    waits = asyncio.create_task(intake(governance.client, name))
    done, _ = await asyncio.wait([waits], timeout=0.6)
    assert not done
    await governance.exchange(tenants[0], [], releases=ids[:4])
    assert (await asyncio.wait_for(waits, 15)).level is NORMAL
    with pytest.raises(ConfigurationError, match="no governor runs"):
        await backpressure(governance.client, f"{name}-nobody")


async def test_jobs_are_turned_away_with_the_reason_and_what_it_is_for(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    tenants = await make_pool(
        governance,
        name,
        capacity={"scan": 1},
        follows=None,
        backpressure=SENSITIVE,
        shedding=SheddingPolicy(elevated=2, saturated=2, emergency=2, min_flow=0),
    )
    tenant = tenants[0]
    orchestrator.scanner.open.clear()
    first = await orchestrator.start(ScanJobInput(tenant=tenant))
    await eventually(lambda: governance.account(tenant), lambda a: a.units_held.get("scan") == 1)
    high = [await orchestrator.start(ScanJobInput(tenant=tenant, priority=3)) for _ in range(2)]
    low = [await orchestrator.start(ScanJobInput(tenant=tenant)) for _ in range(4)]
    refused = await asyncio.gather(
        *(asyncio.wait_for(job.result(), 20) for job in low), return_exceptions=True
    )
    for error in refused:
        assert isinstance(error, WorkflowFailureError), error
        cause = error.cause
        assert isinstance(cause, ApplicationError)
        assert cause.type == "headgate.PermitDenied"
        reason = cause.details[0]["reason"]
        assert (reason["code"], reason["limit"]) == ("shed", 2)
        assert "refused at priority 0" in reason["message"]
    orchestrator.scanner.open.set()
    for job in (first, *high):
        await job.result()
    await governance.until_scans(tenant, granted=3, released=3, held=0)
    assert is_conserved(await governance.account(tenant))


class TestManyRuns:
    """The same with runs so short that all of them continue as new in between."""

    @pytest.fixture
    def options(self) -> EntityOptions:
        return EntityOptions(
            continue_after_events=60, snapshot_every_ms=100, check_holders_every_ms=60_000
        )

    async def test_limit_and_level_are_carried_along(
        self, governance: Governance, name: str
    ) -> None:
        tenants = await make_pool(governance, name, backpressure=SENSITIVE)
        await follow(governance, name)
        await report(governance, name, 1)
        await until_capacity(governance, name, 6)
        ids: list[str] = []
        for turn in range(6):
            ids += await take(governance, tenants[turn % 2], 3)
        await eventually(lambda: governance.runs("governor", name), lambda runs: len(runs) >= 3)
        view = await eventually(
            lambda: governance.pool(name),
            lambda found: sum(one.waiting.get("scan", 0) for one in found.members.values()) == 12,
        )
        assert view.capacity == {"scan": 6}
        assert view.pressure.level is ELEVATED
        for tenant in tenants:
            await governance.exchange(tenant, [], releases=ids)
        await eventually(
            lambda: governance.pool(name), lambda found: found.pressure.level is NORMAL
        )


async def test_workers_without_a_free_slot_are_pressure(
    stack: Stack, governance: Governance, name: str
) -> None:
    tenant, _ = await make_pool(
        governance, name, follows=None, backpressure=BackpressurePolicy(hold_ms=500)
    )
    work = Orchestrator(stack.temporal_address, governance.task_queue, governance.options)
    work.scanner.open.clear()
    async with work.running(slots=2):
        jobs = [await work.start(ScanJobInput(tenant=tenant)) for _ in range(2)]

        async def active() -> int:
            return work.scanner.active

        await eventually(active, lambda calls: calls == 2)
        assert (await backpressure(governance.client, name)).level is NORMAL
        jobs.append(await work.start(ScanJobInput(tenant=tenant)))  # what asks brings word of it
        view = await eventually(
            lambda: backpressure(governance.client, name), lambda found: found.level is SATURATED
        )
        assert view.cause == "2 of 2 worker slots are in use"
        work.scanner.open.set()
        for job in jobs:
            await job.result()
        await eventually(
            lambda: backpressure(governance.client, name), lambda found: found.level is NORMAL
        )
