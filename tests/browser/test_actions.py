"""What people on call do to quotas and resources, from the pages."""

from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import Page, expect

from headgate.model.ledger import LedgerView
from headgate.store.keys import RoleName
from tests.api.conftest import Desk
from tests.browser.test_dashboard import log_in
from tests.harness import acquire, eventually

QUOTAS = {"scan": {"max_active": 4, "per_hour": 100}, "mail": {"max_active": 2}}


async def governed(desk: Desk, page: Page, role: RoleName = "operator") -> str:
    """A tenant with two resources, of one of which two units are held; its page is open."""
    tenant = desk.of("t")
    await desk.serve(poll_s=0.1)
    await desk.apply(tenants={tenant: {"quotas": QUOTAS}})
    await desk.governance.exchange(tenant, [acquire("a"), acquire("b")])
    await desk.saved("ledger", tenant)
    await log_in(page, desk, role, f"/tenants/{tenant}")
    return tenant


async def decide(page: Page, reason: str) -> None:
    """Do what the dialog asks."""
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#act")).not_to_be_visible()


async def account(desk: Desk, tenant: str) -> LedgerView:
    return await desk.governance.account(tenant)


async def test_any_field_is_overridden_from_a_time_on_also_below_what_is_held(
    desk: Desk, page: Page
) -> None:
    tenant = await governed(desk, page)
    row = page.locator("[data-live=quotas] tr", has_text="scan")
    await row.get_by_role("button", name="Override").click()
    effect, error = page.locator("#act-effect"), page.locator("#act-error")
    await expect(page.get_by_label("per_hour")).to_have_attribute("placeholder", "100")
    await page.get_by_label("max_active").fill("1")
    await page.get_by_label("per_hour").fill("none")
    await page.get_by_label("rate").fill("often")
    await expect(error).to_contain_text("10/s")
    await page.get_by_label("rate").fill("5/s")
    await expect(error).to_contain_text("below")
    await page.get_by_label("Also if a limit is then below").check()
    await expect(effect).to_contain_text("has another quota")
    command = page.locator("#act-cli")
    await expect(command).to_contain_text(
        f"headgate quota override {tenant} scan max_active=1 rate=5/s per_hour=none --for 1h "
        "--allow-below-usage --reason"
    )
    await decide(page, "less for a while")

    async def limit() -> int | None:
        return (await account(desk, tenant)).limits["scan"].max_active

    assert await eventually(limit, lambda most: most == 1) == 1
    limits = (await account(desk, tenant)).limits["scan"]
    assert limits.rate is not None and "per_hour" not in limits.windows
    # From a time on: the other resource is as it was until then.
    row = page.locator("[data-live=quotas] tr", has_text="mail")
    await row.get_by_role("button", name="Override").click()
    begins = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=2)
    local = await page.evaluate(
        "ms => { const at = new Date(ms); at.setMinutes(at.getMinutes() - at.getTimezoneOffset());"
        " return at.toISOString().slice(0, 16); }",
        begins.timestamp() * 1_000,
    )
    await page.get_by_label("From, in your time").fill(local)
    await expect(command).to_contain_text(f"--from {begins:%Y-%m-%dT%H:%M}:00.000Z --for 1h")
    await expect(page.get_by_label("max_active")).to_have_value("4")
    await expect(effect).to_contain_text("has another quota")
    await decide(page, "a big evening")
    view = await account(desk, tenant)
    (planned,) = [one for one in view.overrides if one.resource == "mail"]
    assert planned.begins_at_ms == int(begins.timestamp() * 1_000)
    assert planned.ends_at_ms == planned.begins_at_ms + 3_600_000
    assert view.limits["mail"].max_active == 2


async def test_one_resource_of_a_tenant_is_cut_paused_and_lifted(desk: Desk, page: Page) -> None:
    tenant = await governed(desk, page)
    row = page.locator("[data-live=quotas] tr", has_text="scan")
    await row.get_by_role("button", name="Cut").click()
    await expect(page.locator("#act-cli")).to_contain_text(
        f"headgate throttle tenant {tenant} --resource scan --to 50% --for 30m"
    )
    await decide(page, "too many at once")
    limits = (await account(desk, tenant)).limits
    assert (limits["scan"].max_active, limits["mail"].max_active) == (2, 2)
    lines = page.locator("[data-live=set] tbody tr")
    await lines.filter(has_text="cut to 50%").get_by_role("button", name="Lift").click()
    await decide(page, "it is calm again")
    assert (await account(desk, tenant)).limits["scan"].max_active == 4
    await row.get_by_role("button", name="Pause").click()
    await decide(page, "not paid")
    await expect(row).to_contain_text("not paid")
    limits = (await account(desk, tenant)).limits
    assert limits["scan"].paused is not None and limits["mail"].paused is None


async def test_a_resource_is_paused_for_all_and_lifted_from_the_overview(
    desk: Desk, page: Page
) -> None:
    tenant = await governed(desk, page)
    await page.goto(f"{desk.base}/tenants")
    await page.get_by_role("button", name="Pause for all").click()
    await page.get_by_label("Resource;").fill("scan")
    await expect(page.locator("#act-effect")).to_contain_text("1 running ledgers would be told")
    await expect(page.locator("#act-cli")).to_contain_text(
        "headgate throttle resource --to 0 scan --for 30m"
    )
    await decide(page, "the scanner's licence is over")

    async def paused() -> bool:
        return (await account(desk, tenant)).limits["scan"].paused is not None

    assert await eventually(paused, bool)
    await page.goto(desk.base)
    line = page.locator("[data-live=throttles] tbody tr")
    await expect(line).to_contain_text("the scanner's licence is over")
    await line.get_by_role("button", name="Lift").click()
    await decide(page, "there is a new one")
    await expect(page.locator("[data-live=throttles]")).to_contain_text("Nothing is.")
    assert not await eventually(paused, lambda still: not still)


async def test_a_request_is_taken_out_of_the_line(desk: Desk, page: Page) -> None:
    tenant = await governed(desk, page)
    wishes = [acquire("c"), acquire("d"), acquire("waits", wait_ms=600_000)]
    await desk.governance.exchange(tenant, wishes)
    line = page.locator("[data-live=waiters] tr", has_text="job-waits")
    await line.get_by_role("button", name="Take out").click()
    await expect(page.locator("#act-cli")).to_contain_text(
        f"headgate release waits --tenant {tenant}"
    )
    await decide(page, "its job hangs")
    await expect(line).to_have_count(0)
    view = await account(desk, tenant)
    assert (view.waiting, view.units_held) == ({}, {"scan": 4})


async def test_a_pool_and_a_breaker_are_given_back_from_the_overview(
    desk: Desk, page: Page
) -> None:
    scanner, pool = desk.of("scanner"), desk.of("pool")
    await desk.serve(poll_s=0.1)
    await desk.apply(
        downstreams={scanner: {}},
        tenants={desk.of("t"): {"quotas": QUOTAS}},
        pools={pool: {"resource": "scan", "capacity": 4}},
    )
    await desk.saved("governor", pool)
    await desk.saved("breaker", scanner)
    operator = await desk.caller("operator")
    orders: dict[str, dict[str, Any]] = {
        f"/v1/pools/{pool}/commands": {"action": "throttle", "share": 0.5},
        f"/v1/downstreams/{scanner}/commands": {"action": "shadow"},
    }
    for path, order in orders.items():
        done = await operator.post(path, json={**order, "reason": "a test"})
        assert done.status_code == 200, done.text
    await log_in(page, desk, "operator", "/")
    for kind, name in (("pool", pool), ("breaker", scanner)):
        line = page.locator("[data-live=throttles] tr", has_text=f"{kind} {name}")
        await line.get_by_role("button", name="Lift").click()
        await expect(page.locator("#act-cli")).to_contain_text(f"headgate {kind} resume {name}")
        await decide(page, "it is over")
        await expect(line).to_have_count(0)
    assert (await desk.governance.pool(pool)).override is None
    assert (await desk.governance.breaker_state(scanner)).override is None


async def test_a_capacity_that_lies_over_a_longer_one_says_so_before_it_is_set(
    desk: Desk, page: Page
) -> None:
    tenant, pool = desk.of("t"), desk.of("slots")
    await desk.serve(poll_s=0.1)
    await desk.apply(
        tenants={tenant: {"quotas": {"scan": {}}}},
        pools={pool: {"resource": "scan", "capacity": 10, "tenants": [tenant]}},
    )
    await desk.saved("governor", pool)
    operator = await desk.caller("operator")
    order = {"action": "set_capacity", "capacity": {"scan": 30}, "reason": "month end"}
    path = f"/v1/pools/{pool}/commands"
    assert (await operator.post(path, json=order)).json()["data"]["message"] == ""
    shorter = {**order, "capacity": {"scan": 8}, "for_ms": 60_000, "dry_run": True}
    tried = (await operator.post(path, json=shorter)).json()["data"]
    assert tried["capacity"] == {"scan": 8}
    assert tried["message"].startswith("it lies over what operator-key set at ")
    await log_in(page, desk, "operator", f"/pools/{pool}")
    head = page.locator("[data-live=head]")
    await expect(head).to_contain_text("of 30 scan")
    await page.get_by_role("button", name="Cut capacity").click()
    effect = page.locator("#act-effect")
    await expect(effect).to_contain_text("It would have 15 scan; that is 50% of 30 scan; it lies")
    await decide(page, "a disk is slow")
    await expect(head).to_contain_text("of 15 scan")
    await expect(head).to_contain_text("Over what operator-key has set (30 scan)")


async def test_an_admin_changes_a_configured_quota_and_an_operator_cannot(
    desk: Desk, page: Page
) -> None:
    tenant = await governed(desk, page, "admin")
    row = page.locator("[data-live=quotas] tr", has_text="scan")
    await row.get_by_role("button", name="Configure").click()
    await page.get_by_label("max_active").fill("9")
    await page.get_by_label("per_hour").fill("none")
    await expect(page.locator("#act-effect")).to_contain_text("max_active")
    await page.get_by_label("Reason").fill("a larger contract")
    await expect(page.locator("#act-cli")).to_have_text(
        f"headgate quota set {tenant} scan max_active=9 per_hour=none --reason 'a larger contract'"
    )
    await decide(page, "a larger contract")
    applied = await desk.service.configuration.load()
    quota = applied.tenants[tenant].quotas["scan"]
    assert (quota.max_active, quota.per_hour) == (9, None)
    assert applied.tenants[tenant].quotas["mail"].max_active == 2

    async def limit() -> int | None:
        return (await account(desk, tenant)).limits["scan"].max_active

    assert await eventually(limit, lambda most: most == 9) == 9
    revision = await desk.governance.revision("ledger", tenant)
    await expect(page.locator("[data-live=head]")).to_contain_text(f"revision {revision}")
    mail = page.locator("[data-live=quotas] tr", has_text="mail")
    await mail.get_by_role("button", name="Unset").click()
    await page.get_by_label("Reason").fill("mail is free")
    await expect(page.locator("#act-cli")).to_have_text(
        f"headgate quota unset {tenant} mail --reason 'mail is free'"
    )
    await decide(page, "mail is free")
    assert [*(await desk.service.configuration.load()).tenants[tenant].quotas] == ["scan"]
    # A tenant has one quota or more.
    await expect(row.get_by_role("button", name="Unset")).to_have_count(0)
    await page.context.clear_cookies()
    await log_in(page, desk, "operator", f"/tenants/{tenant}")
    await expect(row.get_by_role("button", name="Override")).to_be_visible()
    await expect(page.get_by_role("button", name="Configure")).to_have_count(0)
