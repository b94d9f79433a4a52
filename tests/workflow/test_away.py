"""Governance cannot be reached: the Temporal server is stopped for a while, and goes on."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError, CancelledError

from headgate.devstack.stack import Stack
from headgate.gate import Gate, block, downstream
from headgate.gate.lane import Lane
from headgate.gate.outcomes import Ended
from headgate.gate.ticket import Refusal, Ticket
from headgate.model.breaker import BreakerState, CallOutcome
from headgate.model.entity import EntityOptions
from headgate.model.lease import WhenAway
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import BreakerSettings
from headgate.orchestrator.why import explain
from headgate.quota import leases
from headgate.store import workers
from headgate.store.database import Database
from headgate.store.overview import OverviewStore
from headgate.view import status
from tests.harness import Governance, Orchestrator, eventually, is_conserved, now_ms
from tests.jobs import ScanJobInput

LEASE_MS = 3_000
VERDICT_MS = 2_000


@asynccontextmanager
async def stopped(stack: Stack) -> AsyncIterator[None]:
    """Stop the server for the block: it takes connections and answers nothing."""
    assert stack.temporal is not None
    os.kill(stack.temporal.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.temporal.pid, signal.SIGCONT)


async def enter(lane: Lane, name: str, patience_s: float = 1.0) -> Ticket | Refusal:
    return await lane.wait(1, name, f"call-{time.monotonic_ns()}", patience_s=patience_s, hold_ms=0)


def leave(lane: Lane, passed: Ticket | Refusal) -> None:
    assert isinstance(passed, Ticket), passed
    if not lane.leave(passed):
        lane.settle(passed, Ended(CallOutcome.SUCCESS, 1))


async def test_blocks_go_on_until_their_end_and_then_what_is_configured_holds(
    fragile: Stack,
    options: EntityOptions,
    task_queue: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "LEASE_MS", LEASE_MS)
    monkeypatch.setattr(leases, "_ASK_IN_MS", LEASE_MS // 3)
    monkeypatch.setattr(block, "SAFETY_S", 0.2)
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    quotas = {way.value: Quota(max_active=5, when_away=way) for way in WhenAway}
    async with (
        Database(fragile.dsn) as database,
        Governance(client, database, task_queue, options).running() as governance,
    ):
        await governance.set_quotas(name, **quotas)
        gate = Gate(client, task_queue, options)
        async with gate.running():
            lanes = {way: gate.lane(f"{name}-d", name, way) for way in quotas}
            for lane in lanes.values():
                leave(lane, await enter(lane, name, 10))
            async with stopped(fragile):
                for lane in lanes.values():
                    # Its block is valid: nobody is asked.
                    leave(lane, await enter(lane, name))
                await eventually(
                    _now(lambda: time.monotonic() >= max(_until(lane) for lane in lanes.values())),
                    bool,
                )
                answers = {way: await enter(lane, name, 7) for way, lane in lanes.items()}
            leave(lanes["fail_open"], answers["fail_open"])
            for way in ("fail_static", "fail_closed"):
                refused = answers[way]
                assert isinstance(refused, Refusal)
                assert refused.reason.code is ReasonCode.UNAVAILABLE
                assert refused.retry_at_ms is not None
            for lane in lanes.values():
                leave(lane, await enter(lane, name, 20))
        view = await eventually(
            lambda: governance.account(name), lambda v: not any(v.units_held.values())
        )
        assert is_conserved(view)


async def test_a_job_waits_no_longer_than_it_is_willing_to_for_a_ledger_that_is_away(
    stack: Stack, client: Client, database: Database, options: EntityOptions, task_queue: str,
    name: str,
) -> None:  # fmt: skip
    governance = Governance(client, database, task_queue, options)
    orchestrator = Orchestrator(stack.temporal_address, task_queue, options)
    async with orchestrator.running():
        async with governance.running():
            await governance.set_quotas(name, scan=Quota(max_active=5))
            await orchestrator.run(ScanJobInput(tenant=name))
        # To give back what nobody wants takes no minute either: the gate does that by itself.
        async with asyncio.timeout(50):
            with pytest.raises(WorkflowFailureError) as failure:
                await orchestrator.run(ScanJobInput(tenant=name, max_wait_ms=500))
        assert isinstance(failure.value.cause, ApplicationError)
        assert failure.value.cause.details[0]["reason"]["code"] == "unavailable"
        waiting = await orchestrator.start(ScanJobInput(tenant=name))
        await eventually(
            lambda: explain(client, database, waiting.id),
            lambda report: [one.code for one in report.obstacles] == [ReasonCode.UNAVAILABLE],
            60,
        )
        async with asyncio.timeout(50):
            await waiting.cancel()
            with pytest.raises(WorkflowFailureError) as cancelled:
                await waiting.result()
        assert isinstance(cancelled.value.cause, CancelledError)
        async with governance.running():
            view = await eventually(
                lambda: governance.account(name), lambda v: not any(v.units_held.values())
            )
            assert is_conserved(view)
            await orchestrator.run(ScanJobInput(tenant=name))


async def test_verdicts_go_on_until_they_are_too_old_and_then_what_is_configured_holds(
    fragile: Stack,
    options: EntityOptions,
    task_queue: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downstream, "_VERDICT_AGE_MS", VERDICT_MS // 2)
    monkeypatch.setattr(downstream, "_VERDICT_OUTDATED_MS", VERDICT_MS)
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    policy = BreakerPolicy(consecutive_failures=3, open_ms=600_000)
    async with (
        Database(fragile.dsn) as database,
        Governance(client, database, task_queue, options).running() as governance,
    ):
        gate = Gate(client, task_queue, options)
        async with gate.running():
            lanes: dict[tuple[WhenAway, bool], Lane] = {}
            for way in WhenAway:
                for is_open in (False, True):
                    of = f"{name}-{way}-{is_open}"
                    await governance.configure_breaker(
                        of, BreakerSettings(policy=policy, when_away=way, source="listed")
                    )
                    if is_open:
                        await governance.report(of, 1, failures=3)
                        await governance.until_state(of, BreakerState.OPEN)
                    lanes[way, is_open] = gate.lane(of, name, None)

            async def answers() -> dict[tuple[WhenAway, bool], ReasonCode | None]:
                told = await asyncio.gather(*(enter(lane, name) for lane in lanes.values()))
                for lane, passed in zip(lanes.values(), told, strict=True):
                    if isinstance(passed, Ticket):
                        leave(lane, passed)
                return {
                    which: passed.reason.code if isinstance(passed, Refusal) else None
                    for which, passed in zip(lanes, told, strict=True)
                }

            by_verdict = {
                (way, is_open): ReasonCode.BREAKER_OPEN if is_open else None
                for way, is_open in lanes
            }
            assert await eventually(answers, lambda told: told == by_verdict)
            async with stopped(fragile):
                lost = by_verdict | {
                    (WhenAway.FAIL_OPEN, True): None,
                    (WhenAway.FAIL_CLOSED, False): ReasonCode.UNAVAILABLE,
                    (WhenAway.FAIL_CLOSED, True): ReasonCode.UNAVAILABLE,
                }
                assert await eventually(answers, lambda told: told == lost, 30)
            assert await eventually(answers, lambda told: told == by_verdict, 30)


def _until(lane: Lane) -> float:
    assert lane._stock is not None
    return lane._stock.block.until_s


def _now(look: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return look()

    return check


async def test_while_temporal_is_away_the_status_is_stale_and_says_so(
    fragile: Stack,
    options: EntityOptions,
    task_queue: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "BEAT_S", 0.1)
    monkeypatch.setattr(status, "STALE_MS", 5_000)
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    async with (
        Database(fragile.dsn) as database,
        Governance(client, database, task_queue, options).running() as governance,
    ):
        await governance.set_policy(name, BreakerPolicy())
        overview = OverviewStore(database)

        async def line() -> str:
            return (await overview.status(now_ms())).line

        await eventually(line, lambda line: line.startswith(("flowing", "blocked")))
        async with stopped(fragile):
            await eventually(line, lambda line: line.startswith("Temporal has not answered"))
            assert (await overview.status(now_ms())).verdict is status.Verdict.STALE
        await eventually(line, lambda line: line.startswith(("flowing", "blocked")))
