"""What a page of many costs beside its bare SQL: ``python -m bench.page_cost``.

10,000 tenants of three resources each and 500 downstreams, as workflows save them, in an embedded
Postgres; the API of this process answers over HTTP to one caller at a time. For each page, in
turns: how long until the whole answer is read, and how long its own queries take, one after the
other, on a connection of its own that leaves what it gets as text. ``first``: of rows that this
process has never read; ``again``: of rows as they were, as most are when an open page is brought up
to date. Prints JSON: medians in milliseconds, and how many times the SQL each is.
"""

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
from temporalio.client import Client

from headgate.api.reads import view_of
from headgate.api.server import serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.breaker import Breaker
from headgate.devstack.postgres import EmbeddedPostgres
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Acquire, Exchange, Holder
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.quota import Ledger
from headgate.store.database import SCHEMA, Database
from headgate.store.migrate import migrate
from headgate.store.pages import NOW, PAGES, Order

TENANTS: Final = 10_000
DOWNSTREAMS: Final = 500
PAGE: Final = 50
_KINDS: Final = 40
_SAVE: Final = (
    "INSERT INTO snapshot (kind, subject, incarnation, revision, at_ms, state, view) "
    "SELECT $1, $2 || to_char(n, 'FM00000'), 1, 7, $3, '{}', jsonb_set("
    "$4::jsonb -> (n % $5)::int, ARRAY[$6], to_jsonb($2 || to_char(n, 'FM00000'))) "
    "FROM generate_series(1, $7) AS n"
)
_PAGES: Final[dict[str, tuple[str, Order]]] = {
    "/tenants": ("ledger", "waiting"),
    "/tenants?sort=name": ("ledger", "name"),
    "/v1/tenants?limit=50": ("ledger", "name"),
    "/v1/tenants?limit=50&sort=waiting": ("ledger", "waiting"),
    "/downstreams": ("breaker", "trouble"),
    "/v1/downstreams?limit=50": ("breaker", "name"),
}


async def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return the figures of each page."""
    async with _served() as (dsn, base), AsyncExitStack() as resources:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        resources.callback(writer.close)
        bare = await asyncpg.connect(dsn, server_settings={"search_path": SCHEMA})
        resources.push_async_callback(bare.close)
        found = {}
        for path, (kind, order) in _PAGES.items():
            arguments = (kind, None, None, None, 0, PAGE + 1)
            queries: list[Any] = [(await bare.prepare(PAGES[order]), arguments)]
            if not path.startswith("/v1/"):
                # From when on what changes is told to the page.
                queries.insert(0, (await bare.prepare(NOW), ()))

            async def sql(queries: Any = queries) -> None:
                for query, arguments in queries:
                    found = await query.fetch(*arguments)
                assert len(found) == PAGE + 1

            size = 0

            async def page(path: str = path) -> None:
                nonlocal size
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                size = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(size)

            took: dict[str, list[float]] = {"sql": [], "first": [], "again": []}
            for number in range(rounds + 3):
                view_of.cache_clear()
                for name, act in (("sql", sql), ("first", page), ("again", page)):
                    ms = await _timed(act)
                    if number >= 3:  # until then statements are planned, and templates compiled
                        took[name].append(ms)
            medians = {name: statistics.median(each) for name, each in took.items()}
            found[path] = {
                **{f"{name}_ms": round(ms, 2) for name, ms in medians.items()},
                "first": round(medians["first"] / medians["sql"], 1),
                "again": round(medians["again"] / medians["sql"], 1),
                "kb": round(size / 1_000, 1),
            }
        return found


async def _timed(act: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await act()
    return (time.perf_counter() - began) * 1_000


@asynccontextmanager
async def _served() -> AsyncIterator[tuple[str, str]]:
    """Yield the addresses of a database full of tenants, and of an API over it."""

    async def away() -> Client:
        raise UnavailableError("there is no Temporal here")

    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # Postgres runs as another user when this runs as root
        postgres = EmbeddedPostgres(path)
        await postgres.start()
        try:
            async with Database(postgres.dsn) as database:
                await migrate(database)
                await _fill(database)
                settings = ApiSettings(open_as="bench", per_second=1e6, burst=1_000_000)
                async with serving(Service(database, Temporal(away), settings)) as base:
                    gc.freeze()  # as `headgate serve` does
                    yield postgres.dsn, base
        finally:
            await postgres.stop()


async def _fill(database: Database) -> None:
    at_ms = time.time_ns() // 1_000_000
    ledgers = [_ledger(number, at_ms) for number in range(_KINDS)]
    await database.execute(_SAVE, "ledger", "tenant-", at_ms, ledgers, _KINDS, "tenant", TENANTS)
    breakers = [
        Breaker.begin("b", BreakerSettings(), incarnation=1, now_ms=at_ms)
        .view(at_ms)
        .model_dump(mode="json")
    ]
    await database.execute(
        _SAVE, "breaker", "downstream-", at_ms, breakers, 1, "downstream", DOWNSTREAMS
    )
    await database.execute("VACUUM ANALYZE snapshot")


def _ledger(number: int, at_ms: int) -> Any:
    """Return the view of a tenant that holds a little of each resource, and waits for some."""
    quotas = {
        "scan": {"max_active": 4, "per_day": 1_000, "rate": {"limit": 10, "period_ms": 1_000}},
        "attest": {"max_active": 8},
        "tokens": {"max_active": 20_000, "per_hour": 100_000},
    }
    settings = LedgerSettings.model_validate({"quotas": quotas, "source": "listed"})
    ledger = Ledger.begin("t", settings, incarnation=1, check_every_ms=60_000)
    acquires = [
        Acquire(
            id=f"{resource}-{place}",
            holder=Holder(workflow_id=f"job-{place}", run_id="run"),
            resource=resource,
            wait_until_ms=at_ms + 3_600_000,
        )
        for resource in quotas
        for place in range(number % 10)
    ]
    ledger.exchange(Exchange(gate="bench", acquires=acquires), at_ms)
    return ledger.view().model_dump(mode="json")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="times that each page is asked for")
    print(json.dumps(asyncio.run(measure(parser.parse_args().rounds)), indent=2))


if __name__ == "__main__":
    main()
