"""The ledger workflow on the real server: many at once, in order, each permit resolved once."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowUpdateFailedError

from headgate.devstack.stack import Stack
from headgate.gate.block import Block
from headgate.model.ledger import Exchange, ExchangeReply, LedgerView, Outcome
from headgate.model.quota import Quota, Rate
from tests.harness import Governance, Orchestrator, acquire, eventually, is_conserved
from tests.jobs import ScanJobInput


def ids(number: int, first: int = 0) -> list[str]:
    return [f"p{i}" for i in range(first, first + number)]


async def test_two_hundred_requests_are_answered_in_one_update(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=150))
    length = await _history_length(governance, name)
    reply = await governance.exchange(name, [acquire(id) for id in ids(200)])
    assert [decision.id for decision in reply.decisions] == ids(200)
    assert [d.outcome for d in reply.decisions] == ["granted"] * 150 + ["denied"] * 50
    reply = await governance.exchange(
        name, [acquire(id) for id in ids(50, first=200)], releases=ids(150)
    )
    assert {d.outcome for d in reply.decisions} == {"granted"}
    await governance.until_scans(name, granted=200, released=150, held=50, denied=50)
    # Two updates, a few snapshots: not an event for each request.
    assert await _history_length(governance, name) - length < 60


async def test_a_repeat_gets_the_same_answer(governance: Governance, name: str) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2))
    asks = [acquire("a"), acquire("b"), acquire("c"), acquire("d", wait_ms=60_000)]
    first = await governance.exchange(name, asks)
    assert [d.outcome for d in first.decisions] == ["granted", "granted", "denied", "waiting"]
    second = await governance.exchange(name, asks)
    assert [d.outcome for d in second.decisions] == ["granted", "granted", "denied", "waiting"]
    assert second.decisions[:3] == first.decisions[:3]
    account = (await governance.account(name)).accounts["scan"]
    assert (account.granted, account.denied, account.held) == (2, 1, 2)
    # Released twice is released once; and a request that was withdrawn before it arrived stays so.
    for _ in range(2):
        await governance.exchange(name, [], releases=["a", "never-seen"])
    reply = await governance.exchange(name, [acquire("a"), acquire("never-seen")])
    assert [d.outcome for d in reply.decisions] == ["denied", "denied"]
    assert (await governance.account(name)).accounts["scan"].released == 1


async def test_what_can_never_fit_is_refused_at_once_even_when_it_would_wait(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(
        name, scan=Quota(max_active=3), call=Quota(rate=Rate(limit=10, period_ms=1_000), burst=2)
    )
    too_many = acquire("x", wait_ms=60_000).model_copy(update={"units": 4})
    too_fast = acquire("y", "call", wait_ms=60_000).model_copy(update={"units": 3})
    unknown = acquire("z", "paint", wait_ms=60_000)
    reply = await governance.exchange(name, [too_many, too_fast, unknown])
    assert [d.outcome for d in reply.decisions] == ["denied"] * 3
    assert [d.retry_at_ms for d in reply.decisions] == [None] * 3
    reasons = [d.reason for d in reply.decisions if d.reason is not None]
    assert [r.code for r in reasons] == ["can_never_fit", "can_never_fit", "unknown_resource"]
    assert "max_active" in reasons[0].message
    assert "burst" in reasons[1].message


async def test_denials_come_in_the_order_of_the_requests(governance: Governance, name: str) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=2), attest=Quota(max_active=1))
    asks = [
        acquire("s1"),
        acquire("a1", "attest"),
        acquire("a2", "attest"),
        acquire("s2"),
        acquire("n1", "nothing"),
        acquire("s3"),
        acquire("a3", "attest", wait_ms=60_000),
        acquire("s1"),
    ]
    reply = await governance.exchange(name, asks)
    assert [d.id for d in reply.decisions] == [ask.id for ask in asks]
    assert [d.outcome for d in reply.decisions] == [
        "granted",
        "granted",
        "denied",
        "granted",
        "denied",
        "denied",
        "waiting",
        "granted",
    ]


async def test_jobs_are_woken_as_soon_as_the_rate_allows(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(rate=Rate(limit=5, period_ms=1_000), burst=1))
    handles = [await orchestrator.start(ScanJobInput(tenant=name)) for _ in range(5)]
    for handle in handles:
        await handle.result()
    jobs = [await handle.describe() for handle in handles]
    began = min(job.start_time for job in jobs)
    ended = max(job.close_time for job in jobs if job.close_time is not None)
    # The first passes at once, then one every 200 ms: nobody before that, however fast the server.
    assert ended - began >= timedelta(milliseconds=4 * 200)
    account = (await governance.account(name)).accounts["scan"]
    assert (account.granted, account.denied) == (5, 0)


async def test_a_permit_that_is_not_given_back_ends_and_wakes_the_next(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1, max_hold_ms=1_500))
    await governance.exchange(name, [acquire("forgotten")])
    await orchestrator.run(ScanJobInput(tenant=name))
    await governance.exchange(name, [], releases=["forgotten"])  # too late to count
    # Its holder is asked for first, and there is none.
    await governance.until_scans(name, granted=2, reclaimed=1, released=1)


async def test_a_job_that_runs_for_longer_than_its_permit_may_be_held_keeps_it(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.watchful().set_quotas(name, scan=Quota(max_active=1, max_hold_ms=1_000))
    orchestrator.scanner.open.clear()
    job = await orchestrator.start(ScanJobInput(tenant=name))

    async def held_for(least_ms: int) -> str:
        """Return the permit, once it may be held for so long, and its holder is not asked for."""
        page = await eventually(
            lambda: governance.holders(name),
            lambda page: any(
                least_ms <= one.expires_at_ms - one.granted_at_ms < 60_000 for one in page.permits
            ),
        )
        return page.permits[0].id

    assert await held_for(0) == await held_for(1_001)
    orchestrator.scanner.open.set()
    await job.result()
    await governance.until_scans(name, granted=1, released=1, expired=0, reclaimed=0)


async def test_a_plain_client_can_read_and_give_back(
    stack: Stack, governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.exchange(name, [acquire("held"), acquire("waits", wait_ms=60_000)])
    plain = await Client.connect(stack.temporal_address)  # knows nothing of pydantic or Headgate
    handle = plain.get_workflow_handle(f"headgate/ledger/{name}")
    await handle.signal("release", {"id": "waits", "tenant": name})
    await handle.signal("release", {"id": "held", "tenant": name})

    async def state() -> dict[str, dict[str, dict[str, int]]]:
        found: dict[str, dict[str, dict[str, int]]] = await handle.query("state")
        return found

    view = await eventually(state, lambda v: v["accounts"]["scan"]["held"] == 0)
    assert view["accounts"]["scan"]["released"] == 1
    assert not view["waiting"]


@pytest.mark.parametrize(
    "arguments",
    [[{"permit": "held"}], ["held"], [None], [], ["held", "held"]],
    ids=["wrong fields", "text", "null", "nothing", "two"],
)
async def test_malformed_messages_change_nothing(
    governance: Governance, name: str, arguments: list[object]
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    await governance.exchange(name, [acquire("held")])
    before = await governance.account(name)
    handle = governance.handle("ledger", name)
    await handle.signal("release", args=arguments)
    for update in ("exchange", "configure", "reconfigure"):
        if arguments == [{"permit": "held"}] and update == "exchange":
            continue
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update(update, args=arguments)
    assert await governance.account(name) == before
    await governance.exchange(name, [], releases=["held"])


async def test_a_waiter_that_has_gone_does_not_keep_the_permit_it_is_woken_with(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=1))
    # Of the three who wait, one never was, one is terminated, and the last one is alive.
    await governance.exchange(name, [acquire("held"), acquire("ghost", wait_ms=60_000)])
    dead = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 2)
    alive = await orchestrator.start(ScanJobInput(tenant=name))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 3)
    await dead.terminate("test")
    await governance.exchange(name, [], releases=["held"])
    await alive.result()
    await governance.until_scans(name, granted=4, released=2, reclaimed=2, held=0)


async def test_a_snapshot_in_postgres_becomes_what_the_workflow_says(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=5), attest=Quota(max_active=1))
    for turn in range(5):
        asks = [acquire(f"s{turn}"), acquire(f"a{turn}", "attest", wait_ms=60_000)]
        await governance.exchange(name, asks, releases=[f"s{turn - 2}"])
    now = await governance.account(name)
    saved = await eventually(
        lambda: governance.saved_ledger(name),
        lambda saved: saved is not None and saved.revision == now.revision,
    )
    assert saved == now
    assert is_conserved(now)


async def test_an_idle_ledger_writes_nothing_into_its_history(
    governance: Governance, name: str
) -> None:
    idle = f"{name}-idle"
    await governance.set_quotas(idle, scan=Quota(max_active=1))
    await governance.exchange(idle, [acquire("held"), acquire("waits", wait_ms=600_000)])
    now = await governance.account(idle)
    await eventually(
        lambda: governance.saved_ledger(idle),
        lambda saved: saved is not None and saved.revision == now.revision,
    )
    length = await eventually(
        lambda: _quiet_length(governance, idle), lambda length: length is not None
    )
    busy = [f"{name}-busy{i}" for i in range(2)]
    for tenant in busy:
        await governance.set_quotas(tenant, scan=Quota(max_active=100))
    saved: dict[str, set[int]] = {tenant: set() for tenant in busy}

    async def work(turn: int) -> bool:
        for tenant in busy:
            await governance.exchange(tenant, [acquire(f"{turn}")])
            view = await governance.saved_ledger(tenant)
            if view is not None:
                saved[tenant].add(view.revision)
        return all(len(revisions) > 4 for revisions in saved.values())

    turn = 0
    while not await work(turn):
        turn += 1
        assert turn < 500
    assert await _history_length(governance, idle) == length


async def test_a_live_holder_is_looked_after_and_left_alone(
    governance: Governance, orchestrator: Orchestrator, name: str
) -> None:
    watchful = governance.with_options(check_holders_every_ms=50)
    await watchful.set_quotas(name, scan=Quota(max_active=1))
    orchestrator.scanner.open.clear()
    job = await orchestrator.start(ScanJobInput(tenant=name))

    async def checks() -> int:
        history = await governance.handle("ledger", name).fetch_history()
        names = [
            event.activity_task_scheduled_event_attributes.activity_type.name
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        ]
        return names.count("headgate.find_closed_holders")

    await eventually(checks, lambda number: number >= 3)
    await governance.until_scans(name, held=1, reclaimed=0)
    orchestrator.scanner.open.set()
    await job.result()
    await governance.until_scans(name, held=0)


async def test_the_temporal_ui_can_show_what_is_held(governance: Governance, name: str) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=7))
    await governance.exchange(name, [acquire("a"), acquire("b")])
    metadata = await governance.handle("ledger", name).query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    details = metadata.current_details.replace("\N{NO-BREAK SPACE}", "")
    assert f"Ledger of {name}" in details
    assert "| scan | 2 of 7 |" in details
    definition = metadata.definition
    described = {
        handler.name: handler.description
        for handlers in (
            definition.query_definitions,
            definition.signal_definitions,
            definition.update_definitions,
        )
        for handler in handlers
        if not handler.name.startswith("__")
    }
    assert set(described) == {
        *("hello", "exchange", "release", "allocate", "configure", "reconfigure", "command"),
        *("turn", "state", "holders", "held", "outlook", "why", "below_usage"),
    }
    assert all(described.values())


async def test_many_gates_at_once_never_get_more_than_there_is(
    governance: Governance, name: str
) -> None:
    await governance.set_quotas(name, scan=Quota(max_active=40))
    replies = await asyncio.gather(
        *(
            governance.exchange(name, [acquire(f"g{gate}-{i}") for i in range(20)])
            for gate in range(6)
        )
    )
    outcomes = [decision.outcome for reply in replies for decision in reply.decisions]
    assert (outcomes.count(Outcome.GRANTED), outcomes.count(Outcome.DENIED)) == (40, 80)
    view: LedgerView = await governance.account(name)
    assert view.units_held == {"scan": 40}


async def _history_length(governance: Governance, tenant: str) -> int:
    return (await governance.handle("ledger", tenant).describe()).history_length


async def _quiet_length(governance: Governance, tenant: str) -> int | None:
    """The length of the history, once nothing is under way that would add to it."""
    description = await governance.handle("ledger", tenant).describe()
    busy = description.raw_description.pending_activities or description.raw_description.HasField(
        "pending_workflow_task"
    )
    return None if busy else description.history_length


async def test_a_gate_that_is_killed_keeps_what_it_wished_for_from_others_for_seconds(
    governance: Governance, name: str
) -> None:
    """And not until its block is over, half a minute later."""
    await governance.set_quotas(name, scan=Quota(max_active=10))

    async def units(gate: str, block: Block, waiting: int) -> int:
        block.waiting = waiting
        message = Exchange(gate=gate, leases=[block.ask(time.monotonic())])
        ledger = governance.ledger(name)
        reply = await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 10)
        block.hear(reply.leases[0])
        return block.units

    alive, killed = Block("scan", 1), Block("scan", 1)
    assert await units("alive", alive, 15) == 10
    assert all(alive.take(1, time.monotonic()) for _ in range(10))
    assert await units("killed", killed, 5) == 0
    killed_s = time.monotonic()
    for _ in range(10):
        alive.give(1)
    assert await units("alive", alive, 15) == 5
    await eventually(lambda: units("alive", alive, 15), lambda found: found == 10)
    assert 5 < time.monotonic() - killed_s < 15
