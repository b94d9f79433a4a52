"""An open page says so when it is not up to date any more, or may not be shown any more."""

from playwright.async_api import Page, expect

from tests.api.conftest import Desk
from tests.browser.test_dashboard import log_in


async def test_an_open_overview_becomes_stale_when_the_governance_workers_end(
    desk: Desk, page: Page
) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    await desk.apply(downstreams={scanner: {}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "viewer", "/")
    await expect(page.locator(".verdict")).to_contain_text("flowing")
    await desk.stop_working()
    # As if it had been so for an hour: nothing changes any more that anybody could be told of.
    await desk.database.execute(
        "UPDATE governance_worker SET seen_at = seen_at - interval '1 hour'"
    )
    await expect(page.locator(".verdict")).to_contain_text("stale", timeout=20_000)
    await expect(page.locator(".verdict")).to_contain_text("no governance worker has been seen")
