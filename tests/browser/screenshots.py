"""Pictures of the dashboard: ``python -m tests.browser.screenshots``.

Runs the demo and writes those of the README into ``docs/images``, or, with ``--all FOLDER``, every
page in light and dark, wide and narrow, to be looked at. ``--base URL`` takes a demo that runs.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, Locator, Page, ViewportSize, async_playwright, expect

from tests.browser.conftest import BROWSER, launched

_IMAGES: Final = Path(__file__).parent.parent.parent / "docs" / "images"
_PAGES: Final = {
    "overview": "/",
    "downstreams": "/downstreams",
    "breaker": "/downstreams/scanner",
    "backtest": "/downstreams/scanner/backtest?since=1h&consecutive_failures=3&open_ms=10000",
    "tenants": "/tenants",
    "tenant": "/tenants/acme",
    "pools": "/pools",
    "pool": "/pools/scanner-slots",
    "what-if": "/pools/scanner-slots/what-if?strategy=proportional&acme*scan*weight=3",
    "jobs": "/jobs",
    "nobody": "/jobs?workflow_id=nobody",
    "alerts": "/alerts",
    "channels": "/channels",
    "audit": "/audit",
    "keys": "/keys",
    "missing": "/tenants/nobody",
    "login": "/login",
}
_README: Final[dict[str, Literal["light", "dark"]]] = {
    "overview": "light",
    "breaker": "dark",
    "tenants": "light",
}
_WIDE: Final[ViewportSize] = {"width": 1280, "height": 480}
_TALL: Final[ViewportSize] = {"width": 1280, "height": 860}
_NARROW: Final[ViewportSize] = {"width": 400, "height": 800}
_OPEN_MS: Final = 180_000
"""How long the demo may take until something has failed."""


@asynccontextmanager
async def demo() -> AsyncIterator[str]:
    """Run the demo; gives the address of its dashboard."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "demo", "--headless"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def follow(lines: asyncio.StreamReader) -> None:
        address = ""
        async for line in lines:
            if said := re.search(r"the dashboard is at (\S+)", line.decode()):
                address = said[1]
            if "ready after" in line.decode() and not found.done():
                found.set_result(address)
        if not found.done():
            found.set_exception(RuntimeError("the demo ended before it was ready"))

    following = asyncio.create_task(follow(process.stderr))
    try:
        yield await asyncio.wait_for(found, 90)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
        await following


async def opened(browser: Browser, size: ViewportSize, scheme: Literal["light", "dark"]) -> Page:
    """A page of a size, in light or dark."""
    context = await browser.new_context(viewport=size, color_scheme=scheme)
    page = await context.new_page()
    page.set_default_timeout(_OPEN_MS)
    return page


async def readme(browser: Browser, base: str, into: Path) -> None:
    """Write the pictures of the README, at a moment at which there is something to see."""
    into.mkdir(parents=True, exist_ok=True)
    await set_something(browser, base)
    for name, scheme in _README.items():
        page = await opened(browser, _WIDE if name != "breaker" else _TALL, scheme)
        await page.goto(base + _PAGES[name])
        if name == "overview":
            await expect(page.locator(".verdict")).to_contain_text("blocked", timeout=_OPEN_MS)
        if name == "breaker":
            await expect(page.locator(".state")).to_contain_text("OPEN", timeout=_OPEN_MS)
        if name == "tenants":
            await expect(page.locator("svg[aria-label*=borrowed]").first).to_be_visible(
                timeout=_OPEN_MS
            )
        # Its tables go on for long, and a picture of them is large.
        whole = name != "breaker"
        await page.screenshot(full_page=whole, path=into / f"{name}.png")
        await page.context.close()


async def set_something(browser: Browser, base: str) -> None:
    """Give a tenant more for a time, so that there is something to see that people have set."""
    context = await browser.new_context()
    override = {"kind": "override", "resource": "scan", "changes": {"max_active": 4}}
    done = await context.request.post(
        f"{base}/v1/tenants/initech/commands",
        data={
            "action": {**override, "ends_at_ms": int(time.time() + 7_200) * 1_000},
            "reason": "month end, ticket 4711",
        },
    )
    assert done.ok, await done.text()
    await context.close()


async def every(browser: Browser, base: str, into: Path) -> None:
    """Write every page, in light and dark, wide and narrow, to its end."""
    into.mkdir(parents=True, exist_ok=True)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for size in (_WIDE, _NARROW):
        for scheme in schemes:
            page = await opened(browser, size, scheme)
            for name, path in {**_PAGES, **await found(page, base)}.items():
                await page.goto(base + path)
                file = into / f"{name}-{scheme}-{size['width']}.png"
                await page.screenshot(path=file, full_page=True)
            await page.context.close()


async def found(page: Page, base: str) -> dict[str, str]:
    """The pages of an alert, and of a job that waits."""
    await page.goto(f"{base}/alerts")
    alert = await page.locator("[data-live=recent] a").first.get_attribute("href")
    jobs: list[Locator] = []
    deadline = time.monotonic() + _OPEN_MS / 1_000
    while not jobs and time.monotonic() < deadline:
        for tenant in ("acme", "globex", "initech"):
            await page.goto(f"{base}/tenants/{tenant}")
            jobs += await page.locator("[data-live=waiters] a").all()
            if jobs:
                break
    assert alert is not None and jobs, "no alert, or no job that waits"
    waiting = await jobs[0].get_attribute("href")
    assert waiting is not None
    return {"why": waiting, "alert": alert}


async def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots")
    parser.add_argument("--base", help="a demo that runs; without it the demo is started")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every page, into a folder")
    asked = parser.parse_args()
    if BROWSER is None:
        sys.exit("no browser is installed: make browser")
    async with async_playwright() as playwright, launched(playwright) as browser:
        if asked.base is not None:
            await write(browser, asked.base, asked.all)
            return
        async with demo() as base:
            # Until a breaker has opened and closed again: then there is a history to show.
            page = await opened(browser, _WIDE, "light")
            await page.goto(base + _PAGES["downstreams"])
            await page.get_by_role("link", name="scanner").click()
            await expect(page.locator("[data-live=steps]")).to_contain_text(
                "the ramp is over", timeout=_OPEN_MS
            )
            await page.context.close()
            await write(browser, base, asked.all)


async def write(browser: Browser, base: str, all_into: Path | None) -> None:
    """Write those of the README, or all."""
    if all_into is None:
        await readme(browser, base, _IMAGES)
    else:
        await every(browser, base, all_into)


if __name__ == "__main__":
    os.umask(0o022)
    asyncio.run(main())
