"""How long a change in a workflow takes to an open page: ``python -m bench.page_freshness``.

End to end on an embedded Temporal and Postgres, with one governance worker, the API and headless
Chromium: the clock runs from the moment at which the change is sent to the workflow until the page
in the browser, which nobody reloads, shows it. Four kinds of change: a report that trips a breaker,
an operator's order, a permit of a tenant that was at rest, and one of a tenant who asks ten times a
second. Prints JSON: milliseconds, median, p95 and maximum of each.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final
from uuid import uuid4

from playwright.async_api import Browser, Page, async_playwright
from temporalio.client import Client

from bench.site import governed_site_and_database
from headgate.api.server import serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.gate.clock import now_ms
from headgate.gate.kinds import governing
from headgate.model.breaker import (
    BreakerAction,
    BreakerCommand,
    BreakerView,
    OutcomeBucket,
    Report,
)
from headgate.model.ids import Kind
from headgate.model.ledger import Acquire, Exchange, ExchangeReply, Holder, LedgerView
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.store.database import Database
from headgate.store.pages import PageStore

_SHOWN: Final = "text => document.querySelector('.state').textContent.includes(text)"
_REVISION: Final = (
    "revision => Number(/revision (\\d+)/.exec(document.querySelector('main').textContent)[1]) "
    ">= revision"
)
_WITHIN_S: Final = 30


async def measure(rounds: int) -> dict[str, dict[str, int]]:
    """Return the figures of each kind of change, of ``rounds`` changes."""
    found = {}
    async with AsyncExitStack() as resources:
        client, database = await resources.enter_async_context(governed_site_and_database())

        async def connected() -> Client:
            return client

        settings = ApiSettings(open_as="bench")
        service = Service(database, Temporal(connected), settings)
        base = await resources.enter_async_context(serving(service))
        browser = await resources.enter_async_context(_browser())
        for name, kind in (
            ("trip", _trips),
            ("order", _orders),
            ("permit", _permits),
            ("busy", _busy_permits),
        ):
            page = await browser.new_page()
            times = await kind(client, database, page, base, rounds)
            await page.close()
            found[name] = {
                "median": round(statistics.median(times)),
                "p95": round(statistics.quantiles(times, n=20, method="inclusive")[18]),
                "max": round(max(times)),
            }
    return found


async def _trips(
    client: Client, database: Database, page: Page, base: str, rounds: int
) -> list[float]:
    """Trip a breaker, look at its page, and reset it."""
    name = f"bench-{uuid4().hex[:6]}"
    breaker = governing(client, "breaker", name)
    settings = BreakerSettings(
        policy=BreakerPolicy(consecutive_failures=5, open_ms=600_000), source="listed"
    )
    await breaker.update("configure", settings, uuid4().hex, BreakerView, 20)
    await _open(database, page, f"{base}/downstreams/{name}", "breaker", name)
    times = []
    for number in range(1, rounds + 1):
        epoch = (await breaker.query("state", BreakerView, 10)).epoch
        failures = OutcomeBucket(at_ms=now_ms(), epoch=epoch, failures=5, trailing_failures=5)
        report = Report(gate="bench", seq=number, task_queue="bench", buckets=[failures])
        times.append(
            await _timed(
                partial(breaker.signal, "report", report, 10),
                lambda: _shows(page, _SHOWN, "OPEN"),
            )
        )
        await breaker.update("command", _order("reset"), uuid4().hex, BreakerView, 10)
        await _shows(page, _SHOWN, "CLOSED")
        await _rest()
    return times


async def _orders(
    client: Client, database: Database, page: Page, base: str, rounds: int
) -> list[float]:
    """Force a breaker open, look at its page, and take it back."""
    name = f"bench-{uuid4().hex[:6]}"
    breaker = governing(client, "breaker", name)
    await breaker.update(
        "configure", BreakerSettings(source="listed"), uuid4().hex, BreakerView, 20
    )
    await _open(database, page, f"{base}/downstreams/{name}", "breaker", name)
    times = []
    orders: tuple[tuple[BreakerAction, str], ...] = (
        ("force_open", "FORCED_OPEN"),
        ("resume", "CLOSED"),
    )
    for number in range(rounds):
        action, state = orders[number % 2]
        order = _order(action)

        async def give(order: BreakerCommand = order) -> None:
            await breaker.update("command", order, order.id, BreakerView, 10)

        times.append(await _timed(give, partial(_shows, page, _SHOWN, state)))
        await _rest()
    return times


async def _permits(
    client: Client, database: Database, page: Page, base: str, rounds: int
) -> list[float]:
    """Grant a permit to a tenant at rest, and look at its page."""
    times = []
    async with _tenant(client, database, page, base) as grant:
        for number in range(rounds):
            began = time.perf_counter()
            await _shows(page, _REVISION, await grant(number))
            times.append((time.perf_counter() - began) * 1_000)
            await _rest()
    return times


async def _busy_permits(
    client: Client, database: Database, page: Page, base: str, rounds: int
) -> list[float]:
    """Grant ten permits a second, and look at the page for every one that it has not caught up."""
    times = []
    async with _tenant(client, database, page, base) as grant, asyncio.TaskGroup() as group:
        is_over = asyncio.Event()

        async def work() -> None:
            number = 1_000_000
            while not is_over.is_set():
                await grant(number)
                number += 1
                await asyncio.sleep(0.1)

        group.create_task(work())
        try:
            for number in range(rounds):
                began = time.perf_counter()
                await _shows(page, _REVISION, await grant(number))
                times.append((time.perf_counter() - began) * 1_000)
                await _rest()
        finally:
            is_over.set()
    return times


@asynccontextmanager
async def _tenant(
    client: Client, database: Database, page: Page, base: str
) -> AsyncIterator[Callable[[int], Awaitable[int]]]:
    """Yield what grants a permit for the one before; the page of the tenant is open."""
    name = f"bench-{uuid4().hex[:6]}"
    ledger = governing(client, "ledger", name)
    quotas = {"quotas": {"scan": {"max_active": 100}}, "source": "listed"}
    settings = LedgerSettings.model_validate(quotas)
    await ledger.update("configure", settings, uuid4().hex, LedgerView, 20)

    async def grant(number: int) -> int:
        acquire = Acquire(
            id=f"{name}-{number}", holder=Holder(workflow_id="bench", run_id="x"), resource="scan"
        )
        message = Exchange(gate="bench", acquires=[acquire], releases=[f"{name}-{number - 1}"])
        reply = await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 20)
        return reply.revision

    await _open(database, page, f"{base}/tenants/{name}", "ledger", name)
    yield grant


async def _timed(act: Callable[[], Awaitable[None]], seen: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await act()
    await seen()
    return (time.perf_counter() - began) * 1_000


async def _open(database: Database, page: Page, url: str, kind: Kind, name: str) -> None:
    """Open a page as soon as there is what it shows, and wait until it is live."""
    saved = PageStore(database)
    while await saved.one(kind, name) is None:
        await asyncio.sleep(0.05)
    await page.goto(url)
    await _shows(page, "text => document.querySelector('#live').textContent === text", "live")
    await _rest()


async def _shows(page: Page, script: str, argument: str | int) -> None:
    await page.wait_for_function(script, arg=argument, timeout=_WITHIN_S * 1_000)


def _order(action: BreakerAction) -> BreakerCommand:
    return BreakerCommand(id=uuid4().hex, action=action, actor="bench", reason="a round")


async def _rest() -> None:
    """Wait, so that a change falls anywhere between two looks."""
    await asyncio.sleep(random.uniform(1.2, 2.2))


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    found = os.environ.get("HEADGATE_BROWSER") or shutil.which("chromium")
    if found is None:
        sys.exit("no browser is installed: make browser")
    async with async_playwright() as playwright:
        # As root Chromium has no sandbox.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = await playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield opened
        finally:
            await opened.close()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    print(json.dumps(asyncio.run(measure(parser.parse_args().rounds)), indent=2))


if __name__ == "__main__":
    main()
