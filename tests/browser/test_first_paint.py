"""How much comes over the wire until the overview is there, to whoever has never been here."""

from typing import Any

from playwright.async_api import Browser, expect

from headgate.devstack.stack import Stack
from tests.api.many import SET, many


async def test_the_first_paint_of_a_full_overview_takes_less_than_30_kb(
    stack: Stack, browser: Browser
) -> None:
    async with many(stack) as base:
        context = await browser.new_context(viewport={"width": 1280, "height": 900})
        page = await context.new_page()
        wire: dict[str, float] = {}
        plain: dict[str, int] = {}
        debugger = await context.new_cdp_session(page)
        addresses: dict[str, str] = {}

        def begun(event: dict[str, Any]) -> None:
            addresses[event["requestId"]] = event["response"]["url"].removeprefix(base)

        def got(event: dict[str, Any]) -> None:
            plain.setdefault(event["requestId"], 0)
            plain[event["requestId"]] += event["dataLength"]

        def ended(event: dict[str, Any]) -> None:
            wire[addresses[event["requestId"]]] = event["encodedDataLength"]

        debugger.on("Network.responseReceived", begun)
        debugger.on("Network.dataReceived", got)
        debugger.on("Network.loadingFinished", ended)
        await debugger.send("Network.enable")
        await page.goto(base, wait_until="load")
        await expect(page.locator("[data-live=attention] li")).to_have_count(20)
        await expect(page.locator("[data-live=throttles] tbody tr")).to_have_count(20)
        await expect(page.get_by_text(f"and {SET - 20} more")).to_be_visible()
        await context.close()
    parts = {address.partition("?")[0]: size for address, size in wire.items()}
    # The page itself, how it looks and what it does; and the icon, where the browser asks for it.
    assert {"/", "/static/headgate.css", "/static/headgate.js"} <= {*parts}, parts
    assert sum(parts.values()) + 500 < 30_000, (parts, plain)  # 500: the icon
