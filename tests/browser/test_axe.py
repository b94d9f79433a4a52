"""Every page can be read by everybody: axe finds nothing, in light and dark, wide and narrow."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from playwright.async_api import Page, ViewportSize, expect

from headgate.api.access import routes_of
from headgate.api.app import create_app
from headgate.gate.clock import now_ms
from headgate.model.breaker import BreakerState
from headgate.model.channels import SlackChannel
from headgate.notifier.notifier import fingerprint
from tests.api.conftest import Desk
from tests.browser.test_dashboard import log_in, log_out
from tests.foreign.packages import axe
from tests.harness import acquire
from tests.notifier.site import crossing

_WIDE: Final[ViewportSize] = {"width": 1280, "height": 900}
_NARROW: Final[ViewportSize] = {"width": 400, "height": 800}
_SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
# All that WCAG asks up to 2.2 AA, and what axe holds to be good practice.
_OUTSIDE: Final = """[document.documentElement, ...document.querySelectorAll(".scroll")]
    .filter((one) => one.scrollWidth > one.clientWidth)
    .map((one) => one.getAttribute("aria-label") || one.localName)"""
"""What has to be scrolled sideways to be seen: on a narrow page nothing is, not even a table."""
_RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="session")
def script() -> Path:
    found = axe()
    if isinstance(found, str):
        pytest.skip(f"axe-core is not installed: {found}")
    return found


class Looker:
    """Lets axe look at a page, and keeps what it finds."""

    def __init__(self, page: Page, script: str) -> None:
        self.found: list[str] = []
        self._page, self._script = page, script

    async def look(self, where: str) -> None:
        """Look at what is shown now, in light and in dark, wide and narrow."""
        # Through the debugger: the policy of the page lets no script in that is not ours.
        await self._page.evaluate(self._script)
        for size in (_WIDE, _NARROW):
            await self._page.set_viewport_size(size)
            if size is _NARROW:
                outside: list[str] = await self._page.evaluate(_OUTSIDE)
                self.found += [f"{where}: reaches beyond the page: {one}" for one in outside]
            for scheme in _SCHEMES:
                await self._page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                seen: dict[str, Any] = await self._page.evaluate(
                    "rules => axe.run({runOnly: rules, resultTypes: ['violations']})", _RULES
                )
                self.found += [
                    f"{where} ({scheme}, {size['width']} px): {wrong['id']}: "
                    f"{node['html'][:160]} {' '.join(node['failureSummary'].split())[:240]}"
                    for wrong in seen["violations"]
                    for node in wrong["nodes"][:3]
                ]


CHANNELS: Final = {
    name: SlackChannel(kind="slack", url=f"https://{name}.example/hook")
    for name in ("failing", "gone", "unused")
}


async def governed(desk: Desk) -> tuple[str, str, str]:
    """Something in every state that a page shows in another colour."""
    scanner, tenant, pool = desk.of("scanner"), desk.of("t"), desk.of("pool")
    states = ("force_open", "force_closed", "shadow")
    opening = {"breaker": {"consecutive_failures": 3, "open_ms": 600_000}}
    await desk.apply(
        downstreams={scanner: opening, **{desk.of(state): {} for state in states}},
        tenants={
            tenant: {
                "quotas": {
                    "scan": {"max_active": 1, "per_hour": 100},
                    "mail": {"max_active": 1},
                }
            }
        },
        pools={pool: {"resource": "scan", "capacity": 4}},
        notifier={
            "channels": {name: one.model_dump() for name, one in CHANNELS.items()},
            "default": [],
        },
    )
    await desk.governance.report(scanner, 1, failures=3)
    await desk.governance.until_state(scanner, BreakerState.OPEN)
    await desk.governance.exchange(tenant, [acquire("a"), acquire("b", wait_ms=60_000)])
    # Nobody is to be told that its turn has come: there are no such jobs.
    wishes = [acquire("held", "mail"), acquire("waits", "mail", wait_ms=600_000)]
    await desk.governance.exchange(tenant, wishes)
    await desk.saved("ledger", tenant)
    await desk.saved("governor", pool)
    admin, viewer = await desk.caller("admin"), await desk.caller("viewer")
    orders: dict[str, dict[str, Any]] = {
        f"/v1/downstreams/{desk.of(state)}/commands": {"action": state, "for_ms": 600_000}
        for state in states
    }
    orders[f"/v1/tenants/{tenant}/commands"] = {
        "action": {
            "kind": "override",
            "resource": "scan",
            "changes": {"max_active": 2},
            "ends_at_ms": now_ms() + 600_000,
        },
    }
    orders[f"/v1/pools/{pool}/commands"] = {
        "action": "set_capacity",
        "capacity": {"scan": 3},
        "for_ms": 600_000,
    }
    for path, body in orders.items():
        done = await admin.post(path, json={**body, "reason": "to be looked at"})
        assert done.status_code == 200, (path, done.text)
        denied = await viewer.post(path, json={**body, "reason": "may not"})
        assert denied.status_code == 403
    told = crossing(tenant, sequence=70)
    await desk.service.alerts.take([told], {told.id: ["ops"]})
    quiet = {"kind": "quota.*", "for_ms": 600_000, "reason": "to be looked at"}
    assert (await admin.post("/v1/silences", json=quiet)).status_code == 200
    await desk.saved("breaker", scanner, *[desk.of(state) for state in states])
    for name, is_gone in (("failing", False), ("gone", True)):
        await desk.database.execute(
            "INSERT INTO channel (name, fingerprint, failures, failing_since, last_error, "
            "not_before, disabled_at) VALUES ($1, $2, 3, now(), 'https://h answered 410', "
            "now() + interval '1 h', CASE WHEN $3 THEN now() END)",
            name,
            fingerprint(CHANNELS[name]),
            is_gone,
        )
    await desk.key("viewer", name="over", lasts=timedelta(seconds=-1))
    await desk.key("viewer", tenant, name="leaked")
    (leaked,) = [key for key in await desk.keys.list() if key.name == "leaked"]
    assert await desk.keys.revoke(leaked.id, "ann", "it leaked")
    return scanner, tenant, pool


def pages_of(desk: Desk) -> list[str]:
    """Every page that needs no name: one that is new is looked at as well."""
    paths = [
        route.path
        for route in routes_of(create_app(desk.service))
        if isinstance(route, APIRoute)
        and not route.include_in_schema
        and "GET" in (route.methods or ())
        and "{" not in route.path
        and not route.path.startswith("/v1/")
    ]
    assert "/" in paths and "/audit" in paths
    return [path for path in paths if path != "/login"]


@pytest.mark.timeout(300)
async def test_axe_finds_nothing_on_any_page(desk: Desk, page: Page, script: Path) -> None:
    scanner, tenant, pool = await governed(desk)
    looker = Looker(page, script.read_text())
    await page.goto(f"{desk.base}/login")
    await looker.look("login")
    await page.get_by_label("Key", exact=True).fill("hgk_nobody")
    await page.get_by_role("button", name="Log in").click()
    await looker.look("login refused")
    # What a viewer is shown is less of the same.
    await log_in(page, desk, "operator", "/")
    paths = [
        "/jobs?workflow_id=job-waits",
        *pages_of(desk),
        "/downstreams?state=RAMP",
        f"/downstreams/{scanner}",
        f"/downstreams/{desk.of('shadow')}",
        f"/downstreams/{scanner}/backtest?since=1h&consecutive_failures=2",
        "/downstreams/nobody",
        "/tenants?search=nobody",
        f"/tenants/{tenant}",
        f"/pools/{pool}",
        f"/pools/{pool}/what-if?capacity.scan=2&strategy=equal&{tenant}*scan*weight=2",
        f"/pools/{pool}/what-if?capacity.scan=many",
        "/jobs?workflow_id=nobody",
        f"/alerts/{quote(crossing(tenant, sequence=70).id, safe='')}",
        "/alerts?kind=quota.*",
        "/alerts?kind=nonsense!",
        "/audit?actor=nobody",
        "/audit?target=nosuch",
    ]
    for path in paths:
        await page.goto(desk.base + path)
        await looker.look(path)
        if path == "/alerts":
            await expect(
                page.get_by_role("link", name=crossing(tenant, sequence=70).title)
            ).to_have_count(2)
            await expect(page.get_by_role("button", name="End")).to_be_visible()
        if path == "/channels":
            await expect(page.get_by_role("button", name="Enable")).to_be_visible()
        if path.endswith("job-waits"):
            await expect(page.locator("[data-live=report]")).to_contain_text("place 1")
    await page.goto(f"{desk.base}/tenants/{tenant}")
    await page.locator("h1").click()
    await page.keyboard.press("?")
    await looker.look("the list of keys")
    await page.keyboard.press("Escape")
    for label in ("Override", "Cut all"):
        await page.get_by_role("button", name=label).first.click()
        await looker.look(f"the dialog {label}")
        await page.keyboard.press("Escape")
    # What only an admin is shown.
    await log_out(page)
    await log_in(page, desk, "admin", "/keys")
    await looker.look("/keys of an admin")
    await expect(page.locator("[data-live=keys]")).to_contain_text("revoked")
    await page.get_by_role("button", name="Make a key").click()
    await looker.look("the dialog Make a key")
    await page.get_by_label("Whom it stands for").fill("ci-bot")
    await page.get_by_label("Reason").fill("for deployments")
    await page.get_by_role("button", name="Do it").click()
    await expect(page.locator("#shown")).to_be_visible()
    await looker.look("a key that is shown once")
    await page.get_by_role("button", name="I have it").click()
    # Whoever sees one tenant: its pages, and those that are not for it.
    await log_out(page)
    await log_in(page, desk, "viewer", f"/tenants/{tenant}", tenant)
    for path, status in (
        (f"/tenants/{tenant}", 200),
        ("/alerts", 200),
        ("/channels", 200),
        ("/downstreams", 403),
        ("/tenants/another", 404),
    ):
        answer = await page.goto(desk.base + path)
        assert answer is not None and answer.status == status, (path, answer)
        await looker.look(f"{path} of a tenant")
    assert looker.found == [], "\n" + "\n".join(looker.found)
    # That it would have found something.
    await page.evaluate("document.querySelector('h1').style.color = 'gray'")
    await page.evaluate("document.querySelector('h1').style.background = 'darkgray'")
    await looker.look("spoilt")
    assert [one.partition(": ")[2][:14] for one in looker.found] == ["color-contrast"] * 4
