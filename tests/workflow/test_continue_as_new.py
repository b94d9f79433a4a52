"""Traffic goes on while the workflows continue as new, again and again, and nothing is lost."""

import asyncio
from uuid import uuid4

import pytest

from headgate.devstack.replay import replay_all
from headgate.model.entity import EntityOptions
from headgate.model.ids import workflow_id
from headgate.model.ledger import ExchangeReply, LedgerView, Outcome
from headgate.model.policy import BreakerPolicy
from headgate.model.quota import Quota
from tests.harness import Governance, Orchestrator, acquire, eventually, is_conserved
from tests.jobs import ScanJobInput


@pytest.fixture
def options() -> EntityOptions:
    """Runs so short that each test goes through many."""
    return EntityOptions(
        continue_after_events=60, snapshot_every_ms=100, check_holders_every_ms=60_000
    )


async def test_jobs_and_exchanges_go_through_many_runs_of_a_ledger(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=3), direct=Quota(max_active=5))
    gates, rounds, batch = 3, 12, 6

    async def jobs() -> None:
        handles = [
            await orchestrator.start(ScanJobInput(tenant=name, linger_ms=50)) for _ in range(15)
        ]
        for handle in handles:
            await handle.result()

    most_held = 0
    granted: list[str] = []

    async def gate(number: int) -> None:
        nonlocal most_held
        mine: list[str] = []
        for turn in range(rounds):
            asks = [acquire(f"{number}-{turn}-{i}", "direct") for i in range(batch)]
            reply = await governance.exchange(name, asks, releases=mine)
            assert [decision.id for decision in reply.decisions] == [ask.id for ask in asks]
            mine = [d.id for d in reply.decisions if d.outcome is Outcome.GRANTED]
            granted.extend(mine)
            view = await governance.account(name)
            most_held = max(most_held, view.units_held["direct"])
        await governance.exchange(name, [], releases=mine)

    await asyncio.gather(jobs(), *(gate(number) for number in range(gates)))
    assert orchestrator.scanner.most_active <= 3
    assert most_held <= 5
    await governance.until_scans(name, granted=15, released=15, held=0)
    view = await governance.account(name)
    assert is_conserved(view)
    scan, direct = view.accounts["scan"], view.accounts["direct"]
    assert (scan.granted, scan.released, scan.held) == (15, 15, 0)
    assert len(granted) == len(set(granted))
    assert (direct.granted, direct.released, direct.held) == (len(granted), len(granted), 0)
    assert direct.granted + direct.denied == gates * rounds * batch
    await eventually(lambda: governance.runs("ledger", name), lambda runs: len(runs) >= 3)


async def test_every_outcome_is_counted_once_through_many_runs_of_a_breaker(
    governance: Governance, name: str
) -> None:
    await governance.set_policy(name, BreakerPolicy(failure_rate=None))
    gates, reports = 4, 40

    async def gate(number: int) -> None:
        for seq in range(1, reports + 1):
            await governance.report(name, seq, successes=3, failures=1, gate=f"g{number}")
            if seq % 5 == 0:  # as a gate does that does not know whether it was heard
                await governance.report(name, seq, successes=3, failures=1, gate=f"g{number}")

    await asyncio.gather(*(gate(number) for number in range(gates)))
    wanted = (gates * reports * 3, gates * reports)
    view = await eventually(
        lambda: governance.breaker_state(name), lambda s: (s.successes, s.failures) >= wanted
    )
    assert (view.successes, view.failures) == wanted
    assert (view.state, view.gates) == ("CLOSED", gates)
    await eventually(lambda: governance.runs("breaker", name), lambda runs: len(runs) >= 2)
    saved = await eventually(
        lambda: governance.saved_breaker(name), lambda s: s is not None and s.failures == wanted[1]
    )
    assert saved is not None


async def test_a_hundred_thousand_outcomes_are_counted_and_every_run_replays(
    governance: Governance, name: str
) -> None:
    long = governance.with_options(continue_after_events=80, snapshot_every_ms=500)
    await long.set_policy(name, BreakerPolicy(failure_rate=None))
    gates, reports, calls = 4, 50, 500

    async def gate(number: int) -> None:
        for seq in range(1, reports + 1):
            await long.report(name, seq, successes=calls - 100, failures=100, gate=f"g{number}")

    await asyncio.gather(*(gate(number) for number in range(gates)))
    total = gates * reports * calls
    view = await eventually(
        lambda: long.breaker_state(name), lambda s: s.successes + s.failures >= total
    )
    assert (view.successes, view.failures) == (total * 4 // 5, total // 5)
    await eventually(lambda: long.runs("breaker", name), lambda runs: len(runs) >= 2)
    replayed = await replay_all(long.client, f"WorkflowId = '{workflow_id('breaker', name)}'")
    assert replayed.checked >= 2
    assert replayed.failures == []


async def test_an_open_breaker_opens_and_closes_by_its_timers_across_runs(
    governance: Governance, name: str
) -> None:
    policy = BreakerPolicy(
        failure_rate=None,
        consecutive_failures=2,
        open_ms=200,
        open_factor=1.0,
        ramp_ms=0,
        probe_deadline_ms=200,
        half_open_max_ms=200,
    )
    await governance.set_policy(name, policy)
    seq = 0

    async def trip_and_recover() -> None:
        nonlocal seq
        seq += 1
        before = len(await governance.saved_transitions(name))
        await governance.report(name, seq, failures=2)
        await eventually(
            lambda: governance.saved_transitions(name),
            lambda steps: len(steps) > before and steps[-1].target == "CLOSED",
        )

    for _ in range(4):
        await trip_and_recover()
    steps = await governance.saved_transitions(name)
    assert [step.target for step in steps] == ["OPEN", "HALF_OPEN", "CLOSED"] * 4
    await eventually(lambda: governance.runs("breaker", name), lambda runs: len(runs) >= 2)


async def test_a_job_that_waits_is_woken_by_a_later_run(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.exchange(name, [acquire("blocks")])
    # The permit is held by nobody that Temporal knows, so it comes back by reclaiming at the
    # latest; here its release does it, many runs later.
    job = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 1)
    first = (await governance.handle("ledger", name).describe()).run_id

    async def turn_over() -> str | None:
        await governance.exchange(name, [acquire(uuid4().hex, "unknown")])
        return (await governance.handle("ledger", name).describe()).run_id

    second = await eventually(turn_over, lambda run: run != first)
    await eventually(turn_over, lambda run: run != second)
    await governance.exchange(name, [], releases=["blocks"])
    await job.result()
    assert orchestrator.scanner.calls == 1


async def test_the_same_request_gets_the_same_answer_from_a_later_run(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1), other=Quota())
    asks = [acquire("yes"), acquire("no")]
    before = await governance.exchange(name, asks)
    run = (await governance.handle("ledger", name).describe()).run_id

    async def turn_over() -> str | None:
        await governance.exchange(name, [acquire(uuid4().hex, "other")])
        return (await governance.handle("ledger", name).describe()).run_id

    await eventually(turn_over, lambda now: now != run)
    after = await governance.exchange(name, asks)
    assert [d.outcome for d in after.decisions] in (["granted", "denied"], ["denied", "denied"])
    assert after.decisions[1] == before.decisions[1]
    view: LedgerView = await governance.account(name)
    assert (view.accounts["scan"].granted, view.accounts["scan"].denied) == (1, 1)
    assert isinstance(after, ExchangeReply)
