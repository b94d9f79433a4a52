"""Lists that are long: every page of them is short, and nothing is left out without a word."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from headgate.devstack.stack import Stack
from tests.api.conftest import Desk
from tests.api.many import MEMBERS, POOLS, SET, TRANSITIONS, many
from tests.api.page_text import rows
from tests.harness import acquire, eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def caller(stack: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """Whoever reads an API over many of everything."""
    async with many(stack) as base, httpx2.AsyncClient(base_url=base) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/v1/pools", POOLS),
        ("/v1/pools/pool-000/members", MEMBERS),
        ("/v1/backpressure", POOLS),
        ("/v1/throttles", SET),
        ("/v1/silences", SET),
    ],
)
async def test_every_item_comes_once_page_by_page(
    caller: httpx2.AsyncClient, path: str, count: int
) -> None:
    found: list[str] = []
    cursor = None
    while True:
        query: dict[str, Any] = {"limit": 50, **({"cursor": cursor} if cursor else {})}
        page = (await caller.get(path, params=query)).json()
        assert len(page["items"]) <= 50
        found += [str(item) for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len({re.sub(r"'age_ms': \d+", "", one) for one in found}) == len(found) == count
    assert (await caller.get(path, params={"cursor": "nonsense"})).status_code == 400
    assert (await caller.get(path, params={"limit": 201})).status_code == 422


async def test_all_transitions_of_a_breaker_can_be_read_on_its_page_however_old(
    caller: httpx2.AsyncClient,
) -> None:
    causes: list[str] = []
    address = "/downstreams/downstream-0"
    while True:
        text = (await caller.get(address)).text
        page = rows(text, "Transitions")
        assert 0 < len(page) <= 50
        causes += [row[3] for row in page]
        following = re.search(r'rel="next" href="(\?cursor=[^"]+)"', text)
        if following is None:
            break
        address = f"/downstreams/downstream-0{following[1]}"
    assert causes[::-1] == [f"cause-{number}" for number in range(2, TRANSITIONS + 1)]


async def test_a_pool_has_a_part_of_its_tenants_and_says_how_many_there_are(
    caller: httpx2.AsyncClient,
) -> None:
    (one, *_) = (await caller.get("/v1/pools")).json()["items"]
    for shown in (one, (await caller.get("/v1/pools/pool-000")).json()):
        assert shown["member_count"] == MEMBERS
        assert len(shown["data"]["members"]) == len(shown["data"]["settings"]["tenants"]) == 200
    found = (await caller.get("/v1/pools/pool-000/members", params={"search": "-44"})).json()
    assert [one["tenant"] for one in found["items"]] == [f"t-44{digit}" for digit in range(10)]


async def followed(caller: httpx2.AsyncClient, path: str) -> list[str]:
    """The texts of a page and all that come after it."""
    texts = []
    at = path
    while True:
        text = (await caller.get(at, headers={"Accept": "text/html"})).text
        texts.append(text)
        if (more := re.search(r'rel="next" href="([^"]*)"', text)) is None:
            return texts
        at = path.partition("?")[0] + more[1].replace("&amp;", "&")


async def test_pages_of_pools_are_short_and_show_them_all(caller: httpx2.AsyncClient) -> None:
    texts = await followed(caller, "/pools")
    assert [text.count('<a href="/pools/pool-') for text in texts] == [50, 50, 20]
    texts = await followed(caller, "/pools/pool-000")
    assert [text.count('<a href="/tenants/t-') for text in texts] == [100, 100, 100, 100, 50]
    assert texts[0].index("t-449") < texts[0].index("t-448"), "the most waiting first"
    assert "100 of 450 tenants" in texts[0]
    texts = await followed(caller, "/pools/pool-000?search=t-1&sort=name")
    assert [text.count('<a href="/tenants/t-') for text in texts] == [100]
    (nobody,) = await followed(caller, "/pools/pool-000?search=nobody")
    assert "Nobody who shares it has this in the name" in nobody


async def test_the_overview_says_what_it_leaves_out(caller: httpx2.AsyncClient) -> None:
    (text,) = await followed(caller, "/")
    assert f'<a href="/pools">{POOLS - 12} more</a>' in text
    assert f"and {SET - 20} more" in text
    assert len(text) < 30_000


async def test_all_that_hold_and_wait_are_on_pages_of_a_tenant(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 120}}}})
    wishes = [acquire(f"p{number:03}", wait_ms=600_000) for number in range(330)]
    await desk.governance.exchange(tenant, wishes)
    viewer = await desk.caller("viewer")

    async def in_line() -> int:
        answer = await viewer.get(f"/v1/tenants/{tenant}/holders")
        return int(answer.json().get("waiter_count", 0))

    await eventually(in_line, lambda count: count == 210)
    texts = await followed(viewer, f"/tenants/{tenant}")
    ids = [set(re.findall(r"job-p\d\d\d", text)) for text in texts]
    assert len(texts) == 3 and len(set().union(*ids)) == 330
    assert "1 to 100 of 120 permits" in texts[0] and "1 to 100 of 210 in line" in texts[0]
    assert "101 to 120 of 120 permits" in texts[1] and "201 to 210 of 210" in texts[2]
    held: list[str] = []
    cursor = None
    while True:
        query: dict[str, Any] = {"limit": 100, **({"cursor": cursor} if cursor else {})}
        page = (await viewer.get(f"/v1/tenants/{tenant}/holders", params=query)).json()
        held += [one["id"] for one in (*page["permits"], *page["waiters"])]
        assert (page["permit_count"], page["waiter_count"], page["lease_count"]) == (120, 210, 0)
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(held) == len(set(held)) == 330
