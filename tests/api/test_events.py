"""Live updates."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx2
import pytest
from temporalio.client import Client

from headgate.api.server import _END_S, serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.devstack.stack import Stack
from headgate.gate.clock import now_ms
from headgate.model.errors import UnavailableError
from headgate.model.silence import Silence
from headgate.store.database import Database
from tests.api.conftest import Desk
from tests.notifier.site import alert, crossing
from tests.store.fresh_database import migrated_database


@asynccontextmanager
async def listening(
    caller: httpx2.AsyncClient, after: str | None = None
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of a stream, once it has begun."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with caller.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith("retry:")

        async def events() -> AsyncIterator[dict[str, Any]]:
            event: dict[str, Any] = {}
            async for line in lines:
                name, _, value = line.partition(": ")
                if name in ("id", "event", "data"):
                    event[name] = json.loads(value) if name == "data" else value
                elif not line and "event" in event:
                    yield event
                    event = {}

        yield events()


async def until(events: AsyncIterator[dict[str, Any]], subject: str) -> dict[str, Any]:
    """The first event that names a subject."""

    async def search() -> dict[str, Any]:
        async for event in events:
            if any(one["subject"] == subject for one in event["data"]):
                return event
        raise AssertionError("the stream has ended")

    return await asyncio.wait_for(search(), 20)


async def test_what_changes_is_told_and_a_watcher_goes_on_where_it_was(desk: Desk) -> None:
    first, second = desk.of("first"), desk.of("second")
    await desk.serve(poll_s=0.05)
    viewer, other = await desk.caller("viewer"), await desk.caller("viewer")
    async with listening(other), listening(viewer) as events:
        await desk.apply(downstreams={first: {}})
        await desk.saved("breaker", first)
        seen = await until(events, first)
        await desk.apply(downstreams={first: {}, second: {}})
        await until(events, second)
        async with listening(viewer, after=seen["id"]) as again:
            found = await until(again, second)
            assert int(found["id"]) > int(seen["id"])
        async with listening(viewer, after="1") as behind:
            assert (await anext(behind))["event"] == "reset"


async def test_a_stream_ends_with_its_server_which_waits_for_no_browser(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    viewer = await desk.caller("viewer")
    async with listening(viewer) as events:
        async with asyncio.timeout(_END_S - 1):
            await desk.stop()
            assert [event async for event in events] == []
    assert caplog.records == []


@dataclass
class Load:
    """What an API asked of Postgres in a hundred looks, as Postgres itself says."""

    looks: int
    transactions: int
    connections: int


async def test_200_watchers_cost_postgres_one_poller(stack: Stack) -> None:
    async with AsyncExitStack() as resources:
        # Of its own, with nobody else at work in it: whatever is asked there is asked by the feed.
        dsn = await resources.enter_async_context(migrated_database(stack.dsn))
        database = await resources.enter_async_context(Database(dsn))
        service = Service(database, Temporal(nowhere), ApiSettings(open_as="test", poll_s=0.05))
        base = await resources.enter_async_context(serving(service))
        admin = await asyncpg.connect(stack.dsn)
        resources.push_async_callback(admin.close)

        async def load() -> Load:
            name = dsn.rpartition("/")[2]
            asked = "SELECT xact_commit FROM pg_stat_database WHERE datname = $1"
            there = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
            looks, done = service.feed.looks, await admin.fetchval(asked, name)
            while service.feed.looks < looks + 100:
                await asyncio.sleep(0.01)
            return Load(
                service.feed.looks - looks,
                await admin.fetchval(asked, name) - done,
                await admin.fetchval(there, name),
            )

        async def watch(count: int) -> None:
            for _ in range(count):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", int(base.rpartition(":")[2])
                )
                resources.callback(writer.close)
                writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b" 200 " in await reader.readline()

        await watch(1)
        alone = await load()
        await watch(199)
        while service.feed.watchers < 200:
            await asyncio.sleep(0.01)
        together = await load()
        # One look is one transaction, and what others were late to tell is a second of looks.
        assert together.transactions <= together.looks + 40, (alone, together)
        assert together.transactions <= 1.5 * alone.transactions + 40, (alone, together)
        assert together.connections == alone.connections == 1, (alone, together)


async def nowhere() -> Client:
    raise UnavailableError("there is no Temporal here")


async def test_alerts_and_silences_are_told_of_and_to_their_tenant_only(desk: Desk) -> None:
    await desk.serve(poll_s=0.05)
    viewer, tenant = await desk.caller("viewer"), await desk.caller("viewer", tenant="globex")
    alerts, silences = desk.service.alerts, desk.service.silences
    async with listening(viewer) as all_of_it, listening(tenant) as own:
        for told, subject in (
            (alert(1), ""),
            (crossing("acme"), "acme"),
            (crossing("globex"), "globex"),
        ):
            await alerts.take([told], {told.id: ["ops"]})
            found = await until(all_of_it, subject)
            assert {one["kind"] for one in found["data"]} == {"alerts"}
        quiet = Silence(
            id="s-1", tenant="globex", until_ms=now_ms() + 60_000, actor="ada", reason="load test"
        )
        await silences.add(quiet, [])
        await until(all_of_it, "globex")
        heard = [await until(own, "globex"), await until(own, "globex")]
        assert all(
            event["data"] == [{"kind": "alerts", "subject": "globex", "revision": 0}]
            for event in heard
        )


async def test_who_sees_one_tenant_hears_of_no_other(desk: Desk) -> None:
    mine, other = desk.of("mine"), desk.of("other")
    await desk.serve(poll_s=0.05)
    caller = await desk.caller("viewer", tenant=mine)
    quotas = {"quotas": {"scan": {"max_active": 1}}}
    async with listening(caller) as events:
        await desk.apply(tenants={other: quotas})
        await desk.saved("ledger", other)
        await desk.apply(tenants={other: quotas, mine: quotas})
        event = await until(events, mine)
        assert {one["subject"] for one in event["data"]} == {mine}


@asynccontextmanager
async def busy(desk: Desk) -> AsyncIterator[None]:
    """Something changes again and again: there is no quiet moment, and nothing is of a tenant."""

    async def change() -> None:
        for number in itertools.count():
            await desk.service.alerts.take([alert(number)], {alert(number).id: ["ops"]})
            await asyncio.sleep(0.05)

    task = asyncio.create_task(change())
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.parametrize("tenant", [None, "globex"])
async def test_a_key_that_is_revoked_hears_nothing_more_however_much_there_is_to_tell(
    desk: Desk, tenant: str | None
) -> None:
    await desk.serve(poll_s=0.05, listen_s=0.5)
    caller = await desk.caller("viewer", tenant)
    (key,) = await desk.keys.list()
    async with busy(desk), caller.stream("GET", "/v1/events") as answer:
        lines = answer.aiter_lines()

        async def until(said: str) -> None:
            async for line in lines:
                if said in line:
                    return
            raise AssertionError(f"the stream has ended before {said}")

        # Whoever sees one tenant is told nothing of this, and that we are here all the same.
        await asyncio.wait_for(until("changed" if tenant is None else "still here"), 10)
        await desk.keys.revoke(key.id, "test", "the test is about it")

        async def end() -> None:
            async for _ in lines:
                pass

        await asyncio.wait_for(end(), 10)
