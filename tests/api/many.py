"""An API over many pools, tenants and downstreams, and over much that people have set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client

from headgate.api.server import serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.devstack.stack import Stack
from headgate.gate.clock import now_ms
from headgate.model.errors import UnavailableError
from headgate.model.pool import MemberView, PoolSettings, PoolView
from headgate.model.quota import Throttle
from headgate.model.silence import Silence
from headgate.model.snapshot import Snapshot
from headgate.store.database import Database
from headgate.store.silences import SilenceStore
from headgate.store.snapshots import SnapshotStore
from headgate.store.workers import WorkerStore
from tests.store.fresh_database import migrated_database
from tests.unit import ledgers
from tests.unit.ledgers import ask
from tests.unit.test_breaker import NOW_MS, Gate, make

POOLS, MEMBERS, SET, BROKEN, WAITING, TRANSITIONS = 120, 450, 230, 30, 20, 130


async def _well() -> bool:
    return True


async def nowhere() -> Client:
    raise UnavailableError("reading needs no Temporal")


@asynccontextmanager
async def many(stack: Stack) -> AsyncIterator[str]:
    """Serve it for the block; gives its address."""
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        await _save_all(database)
        service = Service(database, Temporal(nowhere), ApiSettings(open_as="test"))
        async with WorkerStore(database).beating(_well), serving(service) as base:
            yield base


async def _save_all(database: Database) -> None:
    for number in range(POOLS):
        await save(database, "governor", pool_view(number))
    for number in range(BROKEN):
        breaker = make(min_calls=1, open_ms=60_000)
        Gate(breaker).report("x")
        view = breaker.view(NOW_MS).model_copy(update={"downstream": f"downstream-{number}"})
        await save(database, "breaker", view)
    await database.execute(
        "INSERT INTO breaker_transition "
        "SELECT 'downstream-0', n, $1 + n, 'CLOSED', 'OPEN', 'failure_rate', 'cause-' || n, '{}' "
        "FROM generate_series(2, $2::bigint) n",
        NOW_MS,
        TRANSITIONS,
    )
    for number in range(WAITING):
        ledger = ledgers.make(max_active=1)
        ledger.record.tenant = f"tenant-{number}"
        for wish in range(3):
            ask(ledger, str(wish), wait_ms=60_000)
        await save(database, "ledger", ledger.view())
    until_ms = now_ms() + 600_000
    for number in range(SET):
        told: dict[str, Any] = {"id": f"s-{number}", "actor": "ada", "reason": "a test"}
        cut = Throttle(**told, resource=f"r-{number}", share=0.5, since_ms=now_ms())
        await database.execute(
            "INSERT INTO resource_throttle (id, throttle, until_ms) VALUES ($1, $2, NULL)",
            cut.id,
            cut.model_dump(mode="json"),
        )
        silence = Silence(**told, subject=f"x-{number}", until_ms=until_ms + number)
        await SilenceStore(database).add(silence, [])


def pool_view(number: int) -> PoolView:
    """A pool; the first has many tenants, of which the last by name waits for most."""
    tenants = [f"t-{one:03}" for one in range(MEMBERS if number == 0 else 2)]
    return PoolView(
        pool=f"pool-{number:03}",
        settings=PoolSettings(tenants=dict.fromkeys(tenants)),
        capacity={"scan": 500},
        members={tenant: MemberView(waiting={"scan": one}) for one, tenant in enumerate(tenants)},
        revision=1,
        incarnation=1,
    )


async def save(database: Database, kind: Any, view: Any, state: str = "{}") -> None:
    names = {"breaker": "downstream", "ledger": "tenant", "governor": "pool"}
    snapshot = Snapshot(
        kind=kind,
        subject=getattr(view, names[kind]),
        incarnation=1,
        revision=1,
        at_ms=now_ms(),
        state=state,
        view=view.model_dump_json(),
    )
    await SnapshotStore(database).save(snapshot)
