"""Channels are tried, and keys made and revoked, from the pages."""

from playwright.async_api import Page, expect

from tests.api.conftest import Desk
from tests.browser.test_actions import decide
from tests.browser.test_dashboard import log_in
from tests.harness import eventually
from tests.notifier.site import Endpoint, Site, crossing, webhook


async def test_an_operator_tries_a_channel_and_enables_one_that_was_gone(
    desk: Desk, page: Page, site: Site
) -> None:
    ops, own = Endpoint(answers=[410]), Endpoint()
    await desk.serve(poll_s=0.1)
    await site.apply(
        channels={
            "ops": webhook(await site.serve(ops.app())),
            "own": webhook(await site.serve(own.app()), tenant="acme"),
        }
    )
    await site.tell(crossing("globex"))
    site.notifier.start()
    await log_in(page, desk, "operator", "/alerts")
    await page.get_by_role("link", name="Channels").click()
    row = page.locator("[data-live=channels] tr", has_text="ops")
    await expect(row).to_contain_text("disabled")
    await expect(row).to_contain_text("answered 410")
    await row.get_by_role("button", name="Test").click()
    await page.get_by_label("Reason").fill("is it there")
    await expect(page.locator("#act-error")).to_contain_text("ops is disabled")
    await page.get_by_role("button", name="Cancel").click()
    await row.get_by_role("button", name="Enable").click()
    await expect(page.locator("#act-cli")).to_contain_text("headgate notifier enable ops --reason")
    await expect(page.locator("#act-effect")).to_contain_text("try ops again at once")
    await decide(page, "the endpoint is back")
    await expect(row).to_contain_text("takes alerts")
    other = page.locator("[data-live=channels] tr", has_text="acme")
    await expect(other).to_contain_text("not used yet")
    await other.get_by_role("button", name="Test").click()
    await decide(page, "is it there")
    await expect(other).to_contain_text("takes alerts")
    (event,) = own.bodies
    assert event["data"]["title"] == "Test of channel own"


async def test_a_viewer_tries_none_and_sees_no_keys(desk: Desk, page: Page, site: Site) -> None:
    await site.apply(channels={"ops": webhook("https://ops.example")})
    await log_in(page, desk, "viewer", "/channels")
    await expect(page.get_by_role("cell", name="ops", exact=True)).to_be_visible()
    await expect(page.locator("button.act")).to_have_count(0)
    await expect(page.get_by_role("link", name="API keys")).to_have_count(0)
    answer = await page.goto(f"{desk.base}/keys")
    assert answer is not None and answer.status == 403


async def test_an_admin_makes_a_key_that_is_shown_once_and_revokes_it(
    desk: Desk, page: Page
) -> None:
    await desk.serve(poll_s=0.1)
    await log_in(page, desk, "admin", "/")
    await page.get_by_role("link", name="API keys").click()
    await page.get_by_role("button", name="Make a key").click()
    await page.get_by_label("Whom it stands for").fill("ci-bot")
    await page.get_by_label("Role").select_option(index=1)
    await page.get_by_label("Only for this tenant").fill("acme")
    await page.get_by_label("Valid for").select_option("until it is revoked")
    await expect(page.locator("#act-cli")).to_have_text(
        "headgate keys create ci-bot --role operator --tenant acme --never-expires --reason '...'"
    )
    await expect(page.locator("#act-effect")).to_have_text(
        "It would: make a key for ci-bot, operator of tenant acme, until it is revoked; "
        "there is no tenant 'acme': there is none yet."
    )
    await decide(page, "for deployments")
    secret = await page.locator("#shown-text").inner_text()
    assert secret.startswith("hgk_")
    await page.keyboard.press("Escape")
    await expect(page.locator("#shown")).to_be_visible()
    await page.get_by_role("button", name="I have it").click()
    await expect(page.locator("#shown")).not_to_be_visible()
    # The browser says that a dialog was closed a moment after it is gone from sight.
    await expect(page.locator("#shown-text")).to_be_empty()
    assert secret not in await page.content()
    row = page.locator("[data-live=keys] tr", has_text="ci-bot")
    await expect(row).to_contain_text("valid")
    bot = await desk.caller(Authorization=f"Bearer {secret}")
    assert (await bot.get("/v1/me")).json()["tenant"] == "acme"
    await row.get_by_role("button", name="Revoke").click()
    await expect(page.locator("#act-effect")).to_contain_text("refuse ci-bot's key")
    await decide(page, "it leaked")
    await expect(row).to_contain_text("revoked")
    await eventually(lambda: bot.get("/v1/me"), lambda answer: answer.status_code == 401)
