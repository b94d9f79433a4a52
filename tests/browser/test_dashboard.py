"""The dashboard in a browser, on the running stack."""

import os
from urllib.parse import quote

from playwright.async_api import Page, expect

from headgate.model.breaker import BreakerState
from headgate.store.keys import RoleName
from tests.api.conftest import Desk
from tests.harness import acquire, eventually
from tests.notifier.site import crossing


async def log_in(
    page: Page, desk: Desk, role: RoleName, to: str, tenant: str | None = None
) -> None:
    key = await desk.key(role, tenant)
    await page.goto(desk.base + to)
    await page.get_by_label("Key", exact=True).fill(key)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(desk.base + to)


async def log_out(page: Page) -> None:
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/login")


async def test_another_tenants_page_is_not_found(desk: Desk, page: Page) -> None:
    mine, other = desk.of("mine"), desk.of("other")
    quotas = {"quotas": {"scan": {"max_active": 1}}}
    await desk.apply(tenants={mine: quotas, other: quotas})
    await desk.saved("ledger", mine, other)
    key = await desk.key("operator", mine)
    # Not even one who asks for it by name at the login is told that it is there.
    await page.goto(f"{desk.base}/tenants/{other}")
    await page.get_by_label("Key", exact=True).fill(key)
    await page.get_by_role("button", name="Log in").click()
    missing = page.get_by_role("heading", name="There is no such thing")
    await expect(missing).to_be_visible()
    said = (await page.locator("main").inner_text()).replace(other, "X")
    for path in (f"/tenants/{other}", "/tenants/nobody"):
        answer = await page.goto(desk.base + path)
        assert answer is not None and answer.status == 404
        await expect(missing).to_be_visible()
        text = await page.locator("main").inner_text()
        assert text.replace(other, "X").replace("nobody", "X") == said, "as if it were not there"
    await page.goto(desk.base)
    await expect(page.locator("h1")).to_have_text(mine)
    assert other not in await page.content()


async def test_a_breaker_that_trips_appears_without_a_reload(desk: Desk, page: Page) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    await desk.apply(downstreams={scanner: {"breaker": {"consecutive_failures": 3}}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "viewer", f"/downstreams/{scanner}")
    await expect(page.locator(".state")).to_contain_text("CLOSED")
    await page.evaluate("window.sameDocument = true")
    await desk.governance.report(scanner, 1, failures=3)
    await expect(page.locator(".state")).to_contain_text("OPEN")
    assert await page.evaluate("window.sameDocument")
    assert await page.get_by_role("button", name="Force open").count() == 0


async def test_the_page_of_something_that_is_not_there_yet_shows_it_when_it_comes(
    desk: Desk, page: Page
) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    await log_in(page, desk, "viewer", f"/downstreams/{scanner}")
    await expect(page.locator("main")).to_contain_text("When it comes, this page shows it")
    await expect(page.locator("#live")).to_have_text("waiting for it")
    await desk.apply(downstreams={scanner: {}})
    await expect(page.locator(".state")).to_contain_text("CLOSED")
    await expect(page.locator("#live")).to_have_text("live")


async def test_an_alert_appears_without_a_reload(desk: Desk, page: Page) -> None:
    await desk.serve(poll_s=0.1)
    await log_in(page, desk, "viewer", "/alerts")
    await expect(page.locator("#live")).to_have_text("live")
    told = crossing("globex")
    await desk.service.alerts.take([told], {told.id: []})
    await expect(page.locator("[data-live=open]")).to_contain_text(told.title)


async def test_an_operator_forces_a_breaker_open_with_a_reason_and_undoes_it(
    desk: Desk, page: Page
) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    await desk.apply(downstreams={scanner: {}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "operator", f"/downstreams/{scanner}")
    await page.get_by_role("button", name="Force open").click()
    await expect(page.locator("#act-effect")).to_contain_text("FORCED_OPEN")
    await page.get_by_role("button", name="Do it").click()
    assert await page.locator("#act").get_attribute("open") is not None, "a reason is required"
    await page.get_by_label("Reason").fill("the vendor's line is down")
    command = page.locator("#act-cli")
    await expect(command).to_have_text(
        f"headgate breaker force-open {scanner} --for 30m --reason 'the vendor'\\''s line is down'"
    )
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator(".state")).to_contain_text("FORCED_OPEN")
    view = await desk.governance.breaker_state(scanner)
    assert view.override is not None and view.override.reason == "the vendor's line is down"
    await page.get_by_role("button", name="Resume").click()
    await page.get_by_label("Reason").fill("it is back")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator(".state")).to_contain_text("CLOSED")
    await page.goto(f"{desk.base}/audit?target=breaker/{scanner}")
    rows = page.locator("tbody tr", has_text="operator-key")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1)).to_contain_text("session")


async def test_a_tenant_gets_twice_its_quota_for_an_hour(desk: Desk, page: Page) -> None:
    tenant = desk.of("t")
    await desk.serve(poll_s=0.1)
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 2}}}})
    await desk.governance.exchange(tenant, [acquire("a")])
    await desk.saved("ledger", tenant)
    await log_in(page, desk, "operator", f"/tenants/{tenant}")
    await page.get_by_role("button", name="Override").click()
    await expect(page.get_by_label("max_active")).to_have_value("4")
    await page.get_by_label("Reason").fill("a big day")
    await page.get_by_role("button", name="Do it").click()

    async def limit() -> int | None:
        return (await desk.governance.account(tenant)).limits["scan"].max_active

    assert await eventually(limit, lambda most: most == 4) == 4
    await expect(page.locator("[data-live=set]")).to_contain_text("max_active 4")
    people = "quotas as configured, except where people have set something: scan"
    await expect(page.locator("[data-live=head]")).to_contain_text(people)
    await expect(page.locator("[data-live=quotas]")).to_contain_text("▲ by people")


async def test_what_a_pool_limits_is_raised_by_what_is_guaranteed(desk: Desk, page: Page) -> None:
    tenant, pool = desk.of("t"), desk.of("pool")
    quota = {"max_active": 5, "guaranteed": 1}
    rival = {"quotas": {"scan": {"guaranteed": 2, "lend_limit": 0}}}
    await desk.apply(
        tenants={tenant: {"quotas": {"scan": quota}}, desk.of("rival"): rival},
        pools={pool: {"resource": "scan", "capacity": 3, "strategy": "reserved"}},
    )
    await eventually(
        lambda: desk.service.pages.one("ledger", tenant),
        lambda saved: saved is not None and '"allocated":1' in saved.view.replace(" ", ""),
    )
    await log_in(page, desk, "operator", f"/tenants/{tenant}")
    await page.get_by_role("button", name="Override").click()
    await expect(page.locator("#act-now")).to_have_text(
        f"0 held, 0 wait, max_active is 5, guaranteed is 1, and pool {pool} gives 1. The pool "
        f"limits it: for more, raise what is guaranteed, or the capacity of {pool}."
    )
    await expect(page.get_by_label("guaranteed", exact=True)).to_have_value("2")
    await expect(page.locator("#act-fields input").first).to_have_id("f-guaranteed")
    await expect(page.get_by_label("max_active")).to_have_value("")
    await expect(page.locator("#act-effect")).to_contain_text("guaranteed 1 → 2")
    too_much = f"in pool {pool} the guarantees add up to 4, the capacity is 3"
    await expect(page.locator("#act-effect")).to_contain_text(too_much)
    await page.get_by_label("guaranteed", exact=True).fill("")
    await page.get_by_label("max_active").fill("9")
    limited = f"pool {pool} has 3 scan, and gives {tenant} 1 at most as things are; the pool limits"
    await expect(page.locator("#act-effect")).to_contain_text(limited)
    if folder := os.environ.get("HEADGATE_SHOTS"):
        await page.screenshot(path=f"{folder}/override.png")


async def test_the_page_goes_on_after_the_api_was_started_again(desk: Desk, page: Page) -> None:
    scanner = desk.of("scanner")
    await desk.serve(poll_s=0.1)
    port = int(desk.base.rpartition(":")[2])
    await desk.apply(downstreams={scanner: {"breaker": {"consecutive_failures": 3}}})
    await desk.saved("breaker", scanner)
    await log_in(page, desk, "viewer", f"/downstreams/{scanner}")
    await expect(page.locator("#live")).to_have_text("live")
    await desk.stop()
    await expect(page.locator("#live")).to_have_text("connecting again")
    await desk.governance.report(scanner, 1, failures=3)
    await desk.governance.until_state(scanner, BreakerState.OPEN)
    await desk.serve(port=port, poll_s=0.1)
    await expect(page.locator(".state")).to_contain_text("OPEN")
    await expect(page.locator("#live")).to_have_text("live")


async def test_keys_and_narrow_pages(desk: Desk, page: Page) -> None:
    scanner, tenant, pool = desk.of("scanner"), desk.of("t"), desk.of("pool")
    await desk.apply(
        downstreams={scanner: {}},
        tenants={tenant: {"quotas": {"scan": {"max_active": 1}, "mail": {"max_active": 1}}}},
        pools={pool: {"resource": "scan", "capacity": 4}},
    )
    wishes = [acquire("a", "mail"), acquire("b", "mail", wait_ms=600_000)]
    await desk.governance.exchange(tenant, wishes)
    told = crossing(tenant, sequence=70)
    await desk.service.alerts.take([told], {told.id: ["ops"]})
    await desk.saved("breaker", scanner)
    await desk.saved("ledger", tenant)
    await desk.saved("governor", pool)
    await log_in(page, desk, "operator", "/")
    await page.keyboard.press("g")
    await page.keyboard.press("d")
    await page.wait_for_url("**/downstreams")
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.locator("h1").click()
    await page.keyboard.press("?")
    await expect(page.locator("#keys")).to_be_visible()
    # A page without a search leads to the one that is for everything.
    await page.goto(f"{desk.base}/downstreams/{scanner}")
    await page.locator("h1").click()
    await page.keyboard.press("/")
    await page.wait_for_url("**/jobs#search")
    await expect(page.get_by_label("Workflow id")).to_be_focused()
    await page.set_viewport_size({"width": 400, "height": 800})
    for path in (
        "/",
        "/downstreams",
        f"/downstreams/{scanner}",
        "/tenants",
        f"/tenants/{tenant}",
        "/pools",
        f"/pools/{pool}",
        f"/pools/{pool}?capacity.scan=2&strategy=equal",
        "/alerts",
        f"/alerts/{quote(told.id, safe='')}",
        "/audit",
        "/jobs",
        "/jobs?workflow_id=job-b",
        "/jobs?workflow_id=nobody",
        "/tenants/nobody",
    ):
        await page.goto(desk.base + path)
        if path.endswith("job-b"):
            await expect(page.locator("[data-live=report]")).to_contain_text("place 1")
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 400, (path, width)
    # Each row is a block of its own there, and says whose it is; in a table the name stands once.
    await page.goto(f"{desk.base}/tenants")
    names = page.locator("[data-live=tenants] tbody tr td.name").get_by_text(tenant)
    for width, seen in ((400, 2), (1280, 1)):
        await page.set_viewport_size({"width": width, "height": 800})
        await expect(names.filter(visible=True)).to_have_count(seen)


async def test_a_tenant_has_keys_for_the_pages_that_it_may_see(desk: Desk, page: Page) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {"max_active": 1}}}})
    await desk.saved("ledger", tenant)
    await log_in(page, desk, "admin", "/jobs", tenant)
    await page.locator("h1").click()
    await page.keyboard.press("?")
    listed = page.locator("#keys a")
    await expect(listed).to_have_text(["Tenant", "Jobs", "Alerts", "Channels"])
    for link in await listed.all():
        answer = await page.request.get(desk.base + (await link.get_attribute("href") or ""))
        assert answer.status == 200
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("a")
    await page.keyboard.press("g")
    await page.keyboard.press("t")
    await page.wait_for_url(f"**/tenants/{tenant}")


async def test_alerts_are_silenced_from_the_page_of_one_and_told_of_again(
    desk: Desk, page: Page
) -> None:
    await desk.service.alerts.take([crossing("globex")], {crossing("globex").id: []})
    await log_in(page, desk, "operator", "/jobs")
    await page.keyboard.press("g")
    await page.keyboard.press("l")
    await page.wait_for_url(f"{desk.base}/alerts")
    opened = page.locator("[data-live=open]")
    await opened.get_by_role("link", name=crossing("globex").title).click()
    await page.get_by_role("button", name="Silence these").click()
    await expect(page.locator("#f-for")).to_have_value("3600000")
    await expect(page.locator("#act-effect")).to_contain_text("1 of 1 open alert is such")
    await page.get_by_label("Reason").fill("a load test")
    await expect(page.locator("#act-cli")).to_have_text(
        "headgate alerts silence --kind quota.threshold --subject tenant/globex/scan --for 1h "
        "--reason 'a load test'"
    )
    await page.get_by_role("button", name="Do it").click()

    async def silenced() -> int:
        return len(await desk.service.silences.in_force())

    await eventually(silenced, lambda count: count == 1)
    await page.goto(f"{desk.base}/alerts")
    await expect(page.locator("[data-live=silences]")).to_contain_text("a load test")
    if folder := os.environ.get("HEADGATE_SHOTS"):
        await page.screenshot(path=f"{folder}/alerts.png")
    await page.get_by_role("button", name="End").click()
    await page.get_by_label("Reason").fill("it is over")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("[data-live=silences]")).to_contain_text("Nothing is.")
    assert await silenced() == 0
    # Also of what there is no alert of yet.
    await page.get_by_role("button", name="Silence some").click()
    await page.get_by_label("Kind, such as").fill("breaker.*")
    await page.get_by_label("Severity", exact=True).last.select_option("warning")
    await page.get_by_label("Reason").fill("a drill")
    await expect(page.locator("#act-cli")).to_have_text(
        "headgate alerts silence --kind 'breaker.*' --severity warning --for 1h --reason 'a drill'"
    )
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("[data-live=silences]")).to_contain_text("a drill")
    (made,) = await desk.service.silences.in_force()
    assert (made.kind, made.severity, made.tenant) == ("breaker.*", "warning", None)
