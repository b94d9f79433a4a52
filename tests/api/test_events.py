"""Live updates."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.api.conftest import Desk


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


async def test_many_watchers_cost_one_look_at_a_time(desk: Desk) -> None:
    await desk.serve(poll_s=0.1)
    viewer = await desk.caller("viewer")
    feed = desk.service.feed
    async with asyncio.TaskGroup() as group:
        done = asyncio.Event()

        async def watch() -> None:
            async with listening(viewer):
                await done.wait()

        for _ in range(20):
            group.create_task(watch())
        while feed.watchers < 20:
            await asyncio.sleep(0.01)
        before = feed.looks
        began = asyncio.get_running_loop().time()
        while feed.looks < before + 10:
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - began > 0.8
        done.set()


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
