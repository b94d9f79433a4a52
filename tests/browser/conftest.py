"""A browser, where one is installed; else these tests are skipped, and say so."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Playwright, async_playwright

from tests.api.conftest import Desk, desk, site

__all__ = ["desk", "site"]

BROWSER = os.environ.get("HEADGATE_BROWSER") or shutil.which("chromium")


@asynccontextmanager
async def launched(playwright: Playwright) -> AsyncIterator[Browser]:
    """The browser that is installed, for the block."""
    # As root, which tests may run as, Chromium has no sandbox.
    opened = await playwright.chromium.launch(
        executable_path=BROWSER, args=["--no-sandbox"] if os.geteuid() == 0 else []
    )
    try:
        yield opened
    finally:
        await opened.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if BROWSER is None:
        pytest.skip("no browser is installed: make browser")
    async with async_playwright() as playwright, launched(playwright) as opened:
        yield opened


@pytest_asyncio.fixture
async def page(browser: Browser, desk: Desk) -> AsyncIterator[Page]:
    """A page, on which nothing goes wrong without the test knowing."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    opened = await context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console",
        lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None,
    )
    opened.set_default_timeout(15_000)
    try:
        yield opened
    finally:
        await context.close()
    assert wrong == []
