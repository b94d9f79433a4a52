"""What the lists read: sorted, searched and cut by Postgres."""

import asyncio
from collections.abc import Sequence

import pytest

from headgate.model.breaker import OutcomeSpan
from headgate.model.snapshot import Snapshot
from headgate.store.database import Database
from headgate.store.overview import OverviewStore, TenantOrder
from headgate.store.snapshots import SnapshotStore
from headgate.store.workers import LastSeen, WorkerStore
from headgate.view.status import TURNED_AWAY_FOR_MS, Verdict
from tests.unit import ledgers
from tests.unit.ledgers import ask
from tests.unit.test_breaker import NOW_MS, Gate, make


async def _save_tenant(database: Database, tenant: str, held: int, waiting: int, most: int) -> None:
    ledger = ledgers.make(max_active=most)
    ledger.record.tenant = tenant
    for number in range(held + waiting):
        ask(ledger, f"{number}", wait_ms=60_000)
    view = ledger.view()
    assert (view.units_held["scan"], view.waiting.get("scan", 0)) == (held, waiting)
    await _save(database, "ledger", tenant, view.model_dump_json(), NOW_MS + held)


async def _save(
    database: Database,
    kind: str,
    subject: str,
    view: str,
    at_ms: int,
    spans: Sequence[OutcomeSpan] = (),
) -> None:
    snapshot = Snapshot.model_validate(
        {
            "kind": kind,
            "subject": subject,
            "incarnation": 1,
            "revision": 1,
            "at_ms": at_ms,
            "state": "{}",
            "view": view,
            "spans": spans,
        }
    )
    await SnapshotStore(database).save(snapshot)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["acme", "bolt", "core"]),
        ("held", ["core", "acme", "bolt"]),
        ("waiting", ["acme", "bolt", "core"]),
        ("usage", ["acme", "core", "bolt"]),
        ("changed", ["core", "acme", "bolt"]),
    ],
)
async def test_tenants_come_in_the_order_that_is_asked_for(
    own_database: Database, order: TenantOrder, names: list[str]
) -> None:
    await _save_tenant(own_database, "acme", held=2, waiting=3, most=2)
    await _save_tenant(own_database, "bolt", held=1, waiting=0, most=8)
    await _save_tenant(own_database, "core", held=4, waiting=0, most=5)
    store = OverviewStore(own_database)
    page = await store.tenants(NOW_MS, order=order)
    assert [one.tenant for one in page.tenants] == names
    second = await store.tenants(NOW_MS, order=order, limit=1, offset=1)
    assert ([one.tenant for one in second.tenants], second.matching) == ([names[1]], 3)
    found = await store.tenants(NOW_MS, search="OR", order=order)
    assert ([one.tenant for one in found.tenants], found.matching) == (["core"], 1)
    nothing = await store.tenants(NOW_MS, search="%", order=order)
    assert (nothing.tenants, nothing.matching) == ([], 0)


async def test_the_status_counts_all_and_shows_those_that_wait(own_database: Database) -> None:
    store = OverviewStore(own_database)
    assert (await store.status(NOW_MS)).verdict is Verdict.STALE
    await _save_tenant(own_database, "acme", held=2, waiting=3, most=2)
    await _save_tenant(own_database, "bolt", held=1, waiting=0, most=8)
    breaker = make(min_calls=1, open_ms=60_000)
    Gate(breaker).report("x")
    await _save(own_database, "breaker", "scanner", breaker.view(NOW_MS).model_dump_json(), NOW_MS)
    await WorkerStore(own_database).beat("w")
    seen_ms = (await WorkerStore(own_database).last_seen()).worker_ms
    assert seen_ms is not None
    found = await store.status(NOW_MS)
    assert found.verdict is Verdict.BLOCKED
    assert found.line == "blocked by breaker/scanner; 3 requests of 1 tenant wait"
    assert [one.subject for one in found.attention] == ["breaker/scanner", "tenant/acme/scan"]
    assert (found.totals.breakers, found.totals.tenants, found.totals.pools) == (1, 2, 0)
    assert found.saved_at_ms == NOW_MS + 2
    assert found.worker_seen_ms == found.temporal_answered_ms == seen_ms
    assert found.turned_away == {}


async def test_the_status_counts_what_was_turned_away_lately(own_database: Database) -> None:
    spans = [
        OutcomeSpan(at_ms=NOW_MS - age_ms, successes=5, rejected=rejected)
        for age_ms, rejected in ((70_000, 9), (50_000, 3), (10_000, 4))
    ]
    await _save(own_database, "breaker", "scanner", "{}", NOW_MS, spans)
    await _save(own_database, "breaker", "well", "{}", NOW_MS, [OutcomeSpan(at_ms=NOW_MS)])
    found = await OverviewStore(own_database).turned_away(NOW_MS - TURNED_AWAY_FOR_MS)
    assert found == {"scanner": 7}


async def test_the_status_names_channels_that_take_no_alerts(own_database: Database) -> None:
    for name, failing, disabled in (
        ("gone", "1 minute", True),
        ("long", "1 hour", False),
        ("short", "1 minute", False),
        ("works", None, False),
    ):
        await own_database.execute(
            "INSERT INTO channel (name, fingerprint, failing_since, disabled_at, last_error) "
            "VALUES ($1, 'x', now() - $2::text::interval, CASE WHEN $3 THEN now() END, $4)",
            name,
            failing,
            disabled,
            f"channel {name}: https://hooks.example answered 410",
        )
    found = (await OverviewStore(own_database).status(NOW_MS)).attention
    assert [(one.subject, one.severity, one.message) for one in found] == [
        ("channel/long", "warning", "takes no alerts: https://hooks.example answered 410"),
        ("channel/gone", "warning", "disabled: https://hooks.example answered 410"),
    ]


async def test_a_worker_says_that_it_runs_for_as_long_as_it_does(own_database: Database) -> None:
    store = WorkerStore(own_database)
    assert await store.last_seen() == LastSeen(None, None)
    async with store.beating(_always):
        while (first := await store.last_seen()).worker_ms is None:
            await asyncio.sleep(0.01)
    assert first.temporal_ms == first.worker_ms
    async with store.beating(_always):
        while await store.last_seen() == first:
            await asyncio.sleep(0.01)
    assert await own_database.fetch_value("SELECT count(*) FROM governance_worker") == 2


async def test_a_worker_says_when_temporal_last_answered_it(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.store.workers.BEAT_S", 0.01)
    store, is_well = WorkerStore(own_database), True

    async def answers() -> bool:
        return is_well

    async def beats(count: int) -> LastSeen:
        for _ in range(count):
            before = await store.last_seen()
            while (seen := await store.last_seen()).worker_ms == before.worker_ms:
                await asyncio.sleep(0.01)
        return seen

    async with store.beating(answers):
        assert (await beats(1)).temporal_ms is not None
        is_well = False
        last = await beats(2)  # the first of them may have asked before
        assert (await beats(2)).temporal_ms == last.temporal_ms
        is_well = True
        assert (await beats(2)).temporal_ms != last.temporal_ms


async def test_a_worker_that_temporal_has_not_answered_yet_does_not_say_that_it_has(
    own_database: Database,
) -> None:
    store = WorkerStore(own_database)
    for _ in range(2):
        await store.beat("new", temporal_answers=False)
        seen = await store.last_seen()
        assert seen.worker_ms is not None
        assert seen.temporal_ms is None
        found = await OverviewStore(own_database).status(seen.worker_ms)
        assert (found.verdict, found.temporal_answered_ms) == (Verdict.STALE, None)
    await store.beat("other")
    answered_ms = (await store.last_seen()).temporal_ms
    assert answered_ms is not None
    await store.beat("new", temporal_answers=False)
    assert (await store.last_seen()).temporal_ms == answered_ms
    await store.beat("new")
    now = await store.last_seen()
    assert now.temporal_ms == now.worker_ms


async def test_a_worker_of_before_says_nothing_of_temporal(own_database: Database) -> None:
    await own_database.execute("INSERT INTO governance_worker (id, version) VALUES ('w', '0')")
    seen = await WorkerStore(own_database).last_seen()
    assert seen.worker_ms is not None
    assert seen.temporal_ms == seen.worker_ms


async def _always() -> bool:
    return True
