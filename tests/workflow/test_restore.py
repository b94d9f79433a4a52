"""What is left when Temporal, Postgres, or the run of a workflow is lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.devstack.stack import Stack
from headgate.model.breaker import BreakerState
from headgate.model.entity import EntityOptions
from headgate.store.database import Database
from tests.harness import Governance, acquire, apply, eventually, is_conserved, reset

BREAKER = {"failure_rate": None, "consecutive_failures": 3, "open_ms": 600_000}
QUOTAS = {"scan": {"max_active": 2}}


@pytest.fixture
def options() -> EntityOptions:
    return EntityOptions(snapshot_every_ms=50, check_holders_every_ms=60_000)


@pytest_asyncio.fixture
async def database(fragile: Stack) -> AsyncIterator[Database]:
    async with Database(fragile.dsn) as opened:
        yield opened


@asynccontextmanager
async def governance_on(
    fragile: Stack, database: Database, options: EntityOptions
) -> AsyncIterator[Governance]:
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    queue = f"governance-{uuid4().hex[:8]}"
    async with Governance(client, database, queue, options).running() as running:
        yield running


async def until_saved(governance: Governance, name: str) -> None:
    """Wait until Postgres has what the workflows of ``name`` are now."""

    async def lag() -> tuple[int, int]:
        breaker, ledger = await governance.saved_breaker(name), await governance.saved_ledger(name)
        return (
            (await governance.breaker_state(name)).revision - (breaker.revision if breaker else 0),
            (await governance.account(name)).revision - (ledger.revision if ledger else 0),
        )

    await eventually(lag, lambda behind: behind == (0, 0), within_s=30)


async def trip_and_fill(governance: Governance, name: str) -> None:
    """Seven calls went well, three failed; both permits are held by workflows nobody knows."""
    await governance.report(name, 1, successes=7)
    await governance.report(name, 2, failures=3)
    await governance.until_state(name, BreakerState.OPEN)
    await governance.exchange(name, [acquire("a"), acquire("b"), acquire("w", wait_ms=600_000)])
    await until_saved(governance, name)


async def test_temporal_is_lost_and_postgres_stays(
    fragile: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    await apply(database, {name: {"breaker": BREAKER}}, {name: {"quotas": QUOTAS}})
    async with governance_on(fragile, database, options) as before:
        await trip_and_fill(before, name)
        breaker, ledger = await before.breaker_state(name), await before.account(name)

    assert fragile.temporal is not None
    await fragile.temporal.stop()
    for file in fragile.state_dir.glob("temporal.db*"):
        file.unlink()
    await fragile.temporal.start()

    async with governance_on(fragile, database, options) as after:
        await after.report(name, 1, gate="a new gate")  # any message starts it
        now = await after.until_state(name, BreakerState.OPEN)
        assert now.until_ms == breaker.until_ms
        assert (now.successes, now.failures) == (7, 3)
        assert (now.calls_in_window, now.failures_in_window) == (10, 3)
        assert now.transitions == breaker.transitions
        assert (await after.verdict(name)).allow == "none"
        assert now.incarnation == breaker.incarnation + 1
        assert now.epoch > breaker.epoch
        assert now.revision > breaker.revision

        # What was held still counts at first: nothing is granted twice.
        reply = await after.exchange(name, [acquire("c")])
        assert reply.decisions[0].outcome == "denied"
        assert reply.revision > ledger.revision
        # Then the holders turn out to be gone, and the one that waited as well.
        view = await eventually(
            lambda: after.account(name), lambda v: v.accounts["scan"].reclaimed == 3
        )
        assert view.accounts["scan"].held == 0
        assert view.incarnation == ledger.incarnation + 1
        assert is_conserved(view)
        await until_saved(after, name)


async def test_a_terminated_run_goes_on_from_its_snapshot(
    fragile: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    await apply(database, {name: {"breaker": BREAKER}}, {name: {"quotas": QUOTAS}})
    async with governance_on(fragile, database, options) as governance:
        await trip_and_fill(governance, name)
        breaker, ledger = await governance.breaker_state(name), await governance.account(name)
        await governance.handle("breaker", name).terminate("test")
        await governance.handle("ledger", name).terminate("test")

        reply = await governance.exchange(name, [acquire("c"), acquire("a")])
        assert [d.outcome for d in reply.decisions] == ["denied", "granted"]
        assert reply.revision > ledger.revision
        # A report that was counted before is not counted again.
        await governance.report(name, 2, failures=3)
        await governance.report(name, 3, successes=1)
        now = await eventually(lambda: governance.breaker_state(name), lambda s: s.successes == 8)
        assert (now.state, now.failures, now.until_ms) == ("OPEN", 3, breaker.until_ms)
        assert (now.incarnation, now.epoch > breaker.epoch) == (breaker.incarnation + 1, True)


async def test_decisions_go_on_without_postgres(
    fragile: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    late = f"{name}-late"
    await apply(
        database,
        {name: {"breaker": BREAKER}},
        {name: {"quotas": QUOTAS}, late: {"quotas": QUOTAS}},
    )
    async with governance_on(fragile, database, options) as governance:
        await governance.report(name, 1, successes=1)
        await governance.exchange(name, [acquire("a")])
        await until_saved(governance, name)
        assert fragile.postgres is not None
        await fragile.postgres.stop()
        try:
            await governance.report(name, 2, failures=3)
            await governance.until_state(name, BreakerState.OPEN)
            reply = await governance.exchange(name, [acquire("b"), acquire("c")], releases=["a"])
            assert [d.outcome for d in reply.decisions] == ["granted", "granted"]
            # One that starts just now has nothing to go on from, and says so.
            reply = await governance.exchange(late, [acquire("x")])
            assert not reply.ready
        finally:
            await fragile.postgres.start()
        await until_saved(governance, name)
        steps = await governance.saved_transitions(name)
        assert [step.target for step in steps] == ["OPEN"]

        async def asked_again() -> str:
            reply = await governance.exchange(late, [acquire("x")])
            return reply.decisions[0].outcome if reply.ready else "not ready"

        await eventually(asked_again, lambda outcome: outcome == "granted", within_s=30)


@pytest.mark.parametrize("kind", ["breaker", "ledger"])
async def test_a_run_that_is_reset_does_not_take_postgres_back(
    fragile: Stack, database: Database, options: EntityOptions, name: str, kind: str
) -> None:
    await apply(database, {name: {"breaker": BREAKER}}, {name: {"quotas": QUOTAS}})
    async with governance_on(fragile, database, options) as governance:
        await trip_and_fill(governance, name)
        saved = await _saved_revision(governance, kind, name)
        await reset(governance.client, f"headgate/{kind}/{name}")

        seen = [saved]
        number = 10

        async def caught_up() -> bool:
            nonlocal number
            number += 1
            if kind == "breaker":
                await governance.report(name, number, successes=1)
                now = (await governance.breaker_state(name)).revision
            else:
                await governance.exchange(name, [acquire(f"n{number}")])
                now = (await governance.account(name)).revision
            seen.append(await _saved_revision(governance, kind, name))
            return now >= seen[-1] > saved

        await eventually(caught_up, lambda is_so: is_so)
        assert seen == sorted(seen)
        await until_saved(governance, name)


async def _saved_revision(governance: Governance, kind: str, name: str) -> int:
    sql = "SELECT revision FROM snapshot WHERE kind = $1 AND subject = $2"
    revision: int = await governance.database.fetch_value(sql, kind, name)
    return revision
