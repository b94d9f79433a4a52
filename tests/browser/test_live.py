"""An open page says so when it is not up to date any more, or may not be shown any more."""

from playwright.async_api import Page, expect

from tests.api.conftest import Desk
from tests.browser.test_dashboard import log_in

_QUIET = """() => {
  const looked = performance.getEntriesByType("resource");
  return looked.every((one) => one.responseEnd < performance.now() - 2000);
}"""
"""The page has not looked anything up for a while."""


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
    # Nothing changes any more that anybody could be told of; and as if so for an hour.
    await page.wait_for_function(_QUIET)
    await desk.database.execute(
        "UPDATE governance_worker SET seen_at = seen_at - interval '1 hour'"
    )
    await expect(page.locator(".verdict")).to_contain_text("stale", timeout=20_000)
    await expect(page.locator(".verdict")).to_contain_text("no governance worker has been seen")


async def test_an_open_page_asks_to_log_in_once_the_key_is_revoked(desk: Desk, page: Page) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    await desk.apply(downstreams={scanner: {}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "operator", f"/downstreams/{scanner}")
    await expect(page.locator("#live")).to_have_text("live")
    for key in await desk.keys.list():
        await desk.keys.revoke(key.id, "test", "the test is about it")
    await page.wait_for_url(f"{desk.base}/login?to=*", timeout=30_000)
    await expect(page.get_by_label("Key", exact=True)).to_be_visible()


async def test_an_action_after_the_login_has_ended_says_so_and_is_done_after_the_next_one(
    desk: Desk, page: Page
) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "operator", f"/downstreams/{scanner}")
    await page.get_by_role("button", name="Force open").click()
    await page.get_by_label("Reason").fill("the vendor's line is down")
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#act-error")).to_contain_text("Your login has ended")
    second = await page.context.new_page()
    await log_in(second, desk, "operator", "/audit")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator(".state")).to_contain_text("FORCED_OPEN")
