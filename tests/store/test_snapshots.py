"""Snapshots: only forward, every incarnation counted, every transition once."""

import asyncio
import json

import pytest

from headgate.model.breaker import BreakerState, Transition
from headgate.model.errors import ConfigurationError
from headgate.model.snapshot import Snapshot
from headgate.packed import PACKED_FROM, pack
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore


def snapshot(revision: int, *transitions: Transition, incarnation: int = 1) -> Snapshot:
    return Snapshot(
        kind="breaker",
        subject="scanner",
        incarnation=incarnation,
        revision=revision,
        at_ms=revision * 10,
        state=json.dumps({"revision": revision}),
        view=json.dumps({"seen": revision}),
        transitions=list(transitions),
    )


def transition(epoch: int, reason: str = "5 in a row") -> Transition:
    return Transition(
        epoch=epoch,
        at_ms=1_000 + epoch,
        source=BreakerState.CLOSED,
        target=BreakerState.OPEN,
        rule="consecutive_failures",
        reason=reason,
        numbers={"failures": 5.0},
    )


async def test_an_older_revision_never_overwrites_a_newer_one(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    assert (await store.save(snapshot(3))).saved
    for late in (3, 2):
        result = await store.save(snapshot(late))
        assert (result.saved, result.revision) == (False, 3)
    assert (await store.save(snapshot(4))).saved
    state = await own_database.fetch_value("SELECT state FROM snapshot")
    assert json.loads(state) == {"revision": 4}


async def test_whatever_the_order_the_newest_stays(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    order = [7, 2, 9, 1, 12, 5, 11, 3]
    results = await asyncio.gather(*(store.save(snapshot(revision)) for revision in order))
    assert await own_database.fetch_value("SELECT revision FROM snapshot") == 12
    assert results[order.index(12)].saved


async def test_incarnations_are_counted_and_the_state_comes_back(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    assert await store.begin_incarnation("breaker", "scanner") == (1, None)
    assert await store.begin_incarnation("breaker", "scanner") == (2, None)
    assert (await store.save(snapshot(0, incarnation=2))).saved
    incarnation, state = await store.begin_incarnation("breaker", "scanner")
    assert incarnation == 3
    assert state is not None
    assert json.loads(state) == {"revision": 0}
    # A run that was replaced meanwhile may still save, but cannot turn the count back.
    await store.save(snapshot(1, incarnation=1))
    assert (await store.begin_incarnation("breaker", "scanner"))[0] == 4
    assert await store.begin_incarnation("ledger", "scanner") == (1, None)


async def test_incarnations_are_counted_under_concurrency(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    counts = await asyncio.gather(*(store.begin_incarnation("ledger", "acme") for _ in range(12)))
    assert sorted(count for count, _ in counts) == list(range(1, 13))


async def test_a_transition_is_kept_once_even_of_a_snapshot_that_came_late(
    own_database: Database,
) -> None:
    store = SnapshotStore(own_database)
    await store.save(snapshot(2, transition(1), transition(2)))
    await store.save(snapshot(2, transition(1, "told otherwise"), transition(2)))
    await store.save(snapshot(1, transition(3)))
    kept = await store.transitions()
    assert kept == [("scanner", transition(epoch)) for epoch in (1, 2, 3)]
    assert [step.epoch for _, step in await store.transitions(since_ms=1_002)] == [2, 3]


async def test_what_is_no_json_is_refused_and_nothing_of_it_kept(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    broken = snapshot(1, transition(1)).model_copy(update={"view": "{"})
    with pytest.raises(ConfigurationError, match="snapshot of scanner is not JSON"):
        await store.save(broken)
    assert await store.transitions() == []


async def test_subjects_are_known_as_soon_as_they_begin(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    await store.begin_incarnation("ledger", "globex")
    await store.begin_incarnation("ledger", "acme")
    assert await store.subjects("ledger") == ["acme", "globex"]
    assert await store.subjects("breaker") == []
    assert await store.ledgers() == []


async def test_a_nul_in_somebodys_words_costs_no_snapshot(own_database: Database) -> None:
    odd = snapshot(3).model_copy(update={"view": json.dumps({"workflow": "a\0b"})})
    assert (await SnapshotStore(own_database).save(odd)).saved
    assert await own_database.fetch_value("SELECT view ->> 'workflow' FROM snapshot") == "a\ufffdb"


def ledger(tenant: str, *permits: str, at_ms: int = 10) -> Snapshot:
    """A saved ledger, as its workflow packs it."""
    state = pack(json.dumps({"permits": {id: {"units": 1} for id in permits}}))
    return snapshot(1).model_copy(
        update={"kind": "ledger", "subject": tenant, "state": state, "at_ms": at_ms}
    )


async def test_who_names_an_id_is_found_in_large_ledgers_too(own_database: Database) -> None:
    store = SnapshotStore(own_database)
    many = [f"job-{number}" for number in range(PACKED_FROM // 10)]
    small, large = ledger("small", "job-7"), ledger("large", *many, at_ms=20)
    other = ledger("other", *many[:7], *many[8:])
    assert [one.state.startswith("zlib:") for one in (small, large, other)] == [False, True, True]
    for one in (small, large, other):
        await store.save(one)
    assert await store.tenants_naming("job-7") == ["large", "small"]
    assert await store.tenants_naming("job-7", at_most=1) == ["large"]
    assert await store.tenants_naming("job-") == []
    assert await store.tenants_naming("zlib:") == []
