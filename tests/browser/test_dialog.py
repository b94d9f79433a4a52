"""The dialog of an action: what it sends, how often that is done, and what it promises."""

import asyncio

from playwright.async_api import Page, Route, expect

from tests.api.conftest import Desk
from tests.browser.test_dashboard import log_in
from tests.harness import acquire


async def limited(desk: Desk, page: Page, held: int = 0) -> str:
    """A tenant with a limit, whose page is open."""
    tenant = desk.of("t")
    await desk.serve(poll_s=0.1)
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 4}}}})
    await desk.governance.exchange(tenant, [acquire(str(number)) for number in range(held)])
    await desk.saved("ledger", tenant)
    await log_in(page, desk, "operator", f"/tenants/{tenant}")
    return tenant


async def test_what_was_done_although_no_answer_came_is_not_done_again(
    desk: Desk, page: Page
) -> None:
    tenant = await limited(desk, page)
    sent: list[str | None] = []

    async def lose(route: Route) -> None:
        if '"dry_run":false' not in (route.request.post_data or ""):
            await route.continue_()
            return
        sent.append(route.request.post_data)
        done = await route.fetch()
        assert done.status == 200, await done.text()
        await (route.abort() if len(sent) == 1 else route.fulfill(response=done))

    await page.route("**/commands", lose)
    await page.get_by_role("button", name="Cut all").click()
    await page.get_by_label("Reason").fill("too much at once")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#act-error")).to_contain_text("it is not done twice")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#act")).not_to_be_visible()
    assert len(sent) == 2 and sent[0] == sent[1]
    lines = await desk.service.audit.lines(10, target=f"ledger/{tenant}")
    assert [line.action for line in lines].count("throttle") == 1, lines


async def test_what_was_refused_is_corrected_in_the_same_dialog(desk: Desk, page: Page) -> None:
    tenant = await limited(desk, page, held=2)
    await page.get_by_role("button", name="Override").click()
    await page.get_by_label("max_active").fill("1")
    await page.get_by_label("Reason").fill("less for a while")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#act-error")).to_contain_text("below")
    await page.get_by_label("max_active").fill("3")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#act")).not_to_be_visible()
    await expect(page.locator("[data-live=set]")).to_contain_text("max_active 3")
    assert (await desk.governance.account(tenant)).limits["scan"].max_active == 3


async def test_a_command_to_copy_does_nothing_else_whatever_a_job_calls_its_permit(
    desk: Desk, page: Page
) -> None:
    permit = "x; touch /tmp/it's-yours | $(sh) `sh` #"
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 4}}}})
    await desk.governance.exchange(tenant, [acquire(permit)])
    await desk.saved("ledger", tenant)
    await log_in(page, desk, "operator", f"/tenants/{tenant}")
    await page.get_by_role("button", name="Release").click()
    await page.get_by_label("Reason").fill("it's stuck; $HOME")
    copied = await page.locator("#act-cli").inner_text()
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", "headgate() { printf '%s\\n' \"$@\"; }; " + copied),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await shell.communicate()
    words = ["release", permit, "--tenant", tenant, "--reason", "it's stuck; $HOME"]
    assert said.decode().splitlines() == words


async def test_a_dialog_keeps_nothing_of_the_one_before_and_takes_no_empty_number(
    desk: Desk, page: Page
) -> None:
    scanner, tenant, pool = desk.of("scanner"), desk.of("t"), desk.of("pool")
    await desk.apply(
        downstreams={scanner: {}},
        tenants={tenant: {"quotas": {"scan": {"max_active": 1}}}},
        pools={pool: {"resource": "scan", "capacity": 4}},
    )
    await desk.saved("breaker", scanner)
    await desk.saved("governor", pool)
    await log_in(page, desk, "operator", f"/downstreams/{scanner}")
    await page.get_by_role("button", name="Throttle").click()
    await page.locator("#f-share").fill("5")
    await page.locator("#f-for").select_option(label="until somebody ends it")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Force open").click()
    await expect(page.locator("#f-for")).to_have_value("1800000")
    await expect(page.locator("#act-cli")).to_contain_text("--for 30m")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Throttle").click()
    await expect(page.locator("#f-share")).to_have_value("50")
    for field, button, path in (
        ("#f-share", "Throttle", f"/downstreams/{scanner}"),
        ("#f-amount", "Set scan", f"/pools/{pool}"),
    ):
        await page.goto(desk.base + path)
        await page.get_by_role("button", name=button).click()
        await expect(page.locator("#act-effect")).not_to_be_empty()
        await page.locator(field).fill("")
        await expect(page.locator("#act-effect")).to_be_empty()
        await page.get_by_label("Reason").fill("an empty field is no zero")
        await page.get_by_role("button", name="Do it").click()
        await expect(page.locator("#act")).to_be_visible()
        await expect(page.locator(f"{field}:invalid")).to_be_focused()
    assert (await desk.governance.pool(pool)).override is None
    assert (await desk.governance.breaker_state(scanner)).throttle is None
