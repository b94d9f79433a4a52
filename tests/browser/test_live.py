"""An open page says so when it is not up to date any more, or may not be shown any more."""

from playwright.async_api import Page, expect

from tests.api.conftest import Desk
from tests.browser.test_dashboard import log_in
from tests.harness import acquire

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


async def test_what_is_done_meanwhile_appears_in_an_open_audit(desk: Desk, page: Page) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    await desk.apply(downstreams={scanner: {}})
    await desk.saved("breaker", scanner)
    operator, viewer = await desk.caller("operator"), await desk.caller("viewer")
    path = f"/v1/downstreams/{scanner}/commands"
    order = {"action": "shadow", "for_ms": 600_000, "reason": "only to be watched"}
    assert (await operator.post(path, json=order)).status_code == 200
    await log_in(page, desk, "viewer", f"/audit?target=breaker/{scanner}")
    line = page.locator("tbody tr", has_text="only to be watched")
    await line.get_by_text("show").click()
    assert (await viewer.post(path, json=order)).status_code == 403
    again = {**order, "action": "resume", "for_ms": None, "reason": "seen enough"}
    assert (await operator.post(path, json=again)).status_code == 200
    await expect(page.locator("tbody tr").first).to_contain_text("seen enough", timeout=8_000)
    # What was open still is, although a line has come above it; and so is the focus.
    await expect(line.locator("details")).to_have_attribute("open", "")
    assert await page.locator("details[open]").count() == 1
    await expect(line.locator("summary")).to_be_focused()
    await page.goto(f"{desk.base}/audit?action=denied")
    count = await page.locator("tbody tr.denied").count()
    assert (await viewer.post(path, json=order)).status_code == 403
    await expect(page.locator("tbody tr.denied")).to_have_count(count + 1, timeout=8_000)


async def test_why_a_job_waits_is_told_anew_when_that_changes(desk: Desk, page: Page) -> None:
    tenant = desk.of("t")
    await desk.serve(poll_s=0.1)
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 1}}}})
    wishes = [acquire("a"), acquire("b", wait_ms=600_000), acquire("c", wait_ms=600_000)]
    await desk.governance.exchange(tenant, wishes)
    await desk.saved("ledger", tenant)
    await log_in(page, desk, "viewer", "/jobs?workflow_id=job-c")
    await expect(page.locator("[data-live=report]")).to_contain_text("place 2")
    await desk.governance.exchange(tenant, [], releases=["b"])
    await expect(page.locator("[data-live=report]")).to_contain_text("place 1", timeout=8_000)


async def test_with_a_dialog_open_the_end_of_the_login_is_told_and_it_goes_on_after_the_next(
    desk: Desk, page: Page
) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1, listen_s=0.5)
    await desk.apply(downstreams={scanner: {}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "operator", f"/downstreams/{scanner}")
    await expect(page.locator("#live")).to_have_text("live")
    await page.get_by_role("button", name="Force open").click()
    for key in await desk.keys.list():
        await desk.keys.revoke(key.id, "test", "the test is about it")
    await expect(page.locator("#act-error")).to_contain_text("Your login has ended", timeout=20_000)
    await expect(page.locator("#live")).to_have_text("your login has ended: log in")
    link = page.locator("#live a")
    await expect(link).to_have_attribute("href", f"/login?to=%2Fdownstreams%2F{scanner}")
    second = await page.context.new_page()
    await log_in(second, desk, "operator", "/audit")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#live")).to_have_text("live", timeout=20_000)
    await page.get_by_role("button", name="Force open").click()
    await expect(page.locator("#act-error")).to_be_empty()
