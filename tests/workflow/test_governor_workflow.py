"""A governor and ledgers on the real server: borrowing, giving back, and coming back to life."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from headgate.model.entity import EntityOptions
from headgate.model.ids import Kind
from headgate.model.ledger import Outcome
from headgate.model.pool import (
    Claim,
    Damping,
    Demand,
    PoolCommand,
    PoolSettings,
    PoolView,
    Strategy,
)
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.harness import Governance, acquire, eventually, is_conserved

QUICK = Damping(round_ms=50, min_hold_ms=100, demand_half_life_ms=200)


@pytest.fixture
def tenants(name: str) -> tuple[str, str]:
    return f"{name}-lender", f"{name}-borrower"


async def make_pool(
    governance: Governance, name: str, tenants: tuple[str, str], **settings: Any
) -> None:
    lender, borrower = tenants
    shares = {lender: Quota(guaranteed=3), borrower: Quota(guaranteed=1)}
    defaults = {"capacity": {"scan": 4}, "strategy": Strategy.RESERVED, "damping": QUICK}
    await governance.set_pool(name, shares, **{**defaults, **settings})


async def take(governance: Governance, tenant: str, count: int) -> list[str]:
    """Ask for permits that wait, for jobs that only exist, and return the permits' ids."""
    ids = [uuid4().hex for _ in range(count)]
    for id in ids:
        await governance.client.start_workflow(
            "Job", id=f"job-{id}", task_queue="nobody", execution_timeout=timedelta(seconds=60)
        )
    asks = [acquire(id, "scan", wait_ms=60_000) for id in ids]
    await governance.exchange(tenant, asks)
    return ids


async def held(governance: Governance, tenant: str) -> int:
    return (await governance.account(tenant)).units_held.get("scan", 0)


async def test_what_is_idle_is_borrowed_and_given_back(
    governance: Governance, name: str, tenants: tuple[str, str]
) -> None:
    lender, borrower = tenants
    await make_pool(governance, name, tenants)
    borrowed = await take(governance, borrower, 4)
    await eventually(lambda: held(governance, borrower), lambda units: units == 4)
    wanted = await take(governance, lender, 3)
    page = await governance.holders(lender)
    assert [waiter.id for waiter in page.waiters] == wanted
    # Nothing is revoked: the lender gets what jobs of the borrower give back.
    for permit in borrowed[:3]:
        await governance.exchange(borrower, [], releases=[permit])
    await eventually(lambda: held(governance, lender), lambda units: units == 3)
    assert await held(governance, borrower) == 1
    for tenant in tenants:
        assert is_conserved(await governance.account(tenant))
    view = await governance.pool(name)
    assert sum(member.ceiling["scan"] for member in view.members.values()) <= 4


async def test_a_request_that_cannot_wait_hears_of_the_pool(
    governance: Governance, name: str, tenants: tuple[str, str]
) -> None:
    lender, borrower = tenants
    await make_pool(governance, name, tenants)
    await take(governance, borrower, 4)
    await eventually(lambda: held(governance, borrower), lambda units: units == 4)
    reply = await governance.exchange(lender, [acquire("now", "scan")])
    (decision,) = reply.decisions
    assert decision.outcome is Outcome.DENIED
    assert decision.reason is not None
    assert decision.reason.code == "pool_used_up"
    assert name in decision.reason.message


async def test_a_governor_that_is_restored_never_gives_twice(
    governance: Governance, name: str, tenants: tuple[str, str]
) -> None:
    lender, borrower = tenants
    await make_pool(governance, name, tenants)
    await take(governance, borrower, 6)
    await eventually(lambda: held(governance, borrower), lambda units: units == 4)
    await governance.handle("governor", name).terminate()
    await take(governance, lender, 3)
    # The next message starts it again, from its snapshot and with what was applied.
    view = await eventually(
        lambda: governance.governor(name).update(
            "command",
            PoolCommand(
                id=uuid4().hex,
                action="throttle",
                share=0.5,
                dry_run=True,
                actor="test",
                reason="wake it up",
            ),
            uuid4().hex,
            PoolView,
            10,
        ),
        lambda view: view.incarnation == 2,
    )
    assert view.pool == name
    assert await held(governance, borrower) == 4
    assert await held(governance, lender) == 0


async def test_operators_cut_the_capacity_with_an_audit(
    governance: Governance, name: str, tenants: tuple[str, str]
) -> None:
    await make_pool(governance, name, tenants)
    command = PoolCommand(
        id=uuid4().hex, action="set_capacity", capacity={"scan": 2}, actor="ann", reason="slow disk"
    )
    view = await governance.governor(name).update("command", command, uuid4().hex, PoolView, 10)
    assert view.capacity == {"scan": 2}
    await take(governance, tenants[1], 4)
    await eventually(lambda: held(governance, tenants[1]), lambda units: units == 2)

    async def audit() -> list[tuple[str, str, str]]:
        rows = await governance.database.fetch(
            "SELECT actor, action, reason FROM audit WHERE target = $1", f"governor/{name}"
        )
        return [tuple(row) for row in rows]

    await eventually(audit, lambda rows: rows == [("ann", "set_capacity", "slow disk")])


async def test_idle_ledgers_and_their_governor_write_no_history(
    governance: Governance, name: str, tenants: tuple[str, str]
) -> None:
    await make_pool(governance, name, tenants)
    ids = await take(governance, tenants[0], 2)
    await eventually(lambda: held(governance, tenants[0]), lambda units: units == 2)
    await governance.exchange(tenants[0], [], releases=ids)
    subjects: list[tuple[Kind, str]] = [
        ("governor", name),
        ("ledger", tenants[0]),
        ("ledger", tenants[1]),
    ]

    async def lengths() -> list[int]:
        found = [await governance.handle(*subject).describe() for subject in subjects]
        return [description.history_length for description in found]

    # What are only counts is saved 45 times as seldom as all else, once more after the last of it.
    counts_s = 50 * governance.options.snapshot_every_ms / 1_000

    async def is_quiet() -> bool:
        before = await lengths()
        await asyncio.sleep(counts_s)
        return await lengths() == before

    await eventually(is_quiet, bool, 12 * counts_s)
    quiet = await lengths()
    await asyncio.sleep(3)
    assert await lengths() == quiet


async def test_who_leaves_while_it_is_to_be_told_something_is_not_told(
    client: Client, database: Database, name: str, tenants: tuple[str, str]
) -> None:
    """Both in one workflow task, as they come when the worker was away."""
    lender, borrower = tenants
    governance = Governance(client, database, f"{name}-governance", EntityOptions())
    async with governance.running():
        await make_pool(governance, name, tenants)
        await eventually(lambda: governance.pool(name), lambda view: not view.unheard)
    wants = Demand(
        pool=name,
        tenant=borrower,
        incarnation=2,
        revision=2_000_000_000,
        claims={"scan": Claim(wanted=1)},
    )
    handle = governance.handle("governor", name)
    await handle.signal("demand", wants)
    without = PoolSettings(tenants={lender: None}, capacity={"scan": 4}, source="listed")
    left = asyncio.create_task(
        governance.governor(name).update("configure", without, uuid4().hex, PoolView, 20)
    )
    async with governance.running():
        assert list((await left).members) == [lender]
    kinds = {event.event_type for event in (await handle.fetch_history()).events}
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in kinds
