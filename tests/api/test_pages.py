"""The dashboard: what pages show, and to whom."""

import re
from urllib.parse import quote

import httpx2
import pytest
from markupsafe import escape

from headgate.model.breaker import BreakerState
from headgate.view.status import Status
from tests.api.conftest import Desk
from tests.api.page_text import only
from tests.harness import acquire, eventually, now_ms

HTML = {"Accept": "text/html"}


async def governed(desk: Desk) -> tuple[str, str, str]:
    """A broken downstream, a tenant that waits, and its pool."""
    scanner, tenant, pool = desk.of("scan.ner/<b>"[:8]), desk.of("t"), desk.of("pool")
    await desk.apply(
        downstreams={scanner: {"breaker": {"consecutive_failures": 3, "open_ms": 600_000}}},
        tenants={tenant: {"quotas": {"scan": {"max_active": 1, "per_hour": 100}}}},
        pools={pool: {"resource": "scan", "capacity": 4}},
    )
    await desk.governance.report(scanner, 1, failures=3)
    await desk.governance.until_state(scanner, BreakerState.OPEN)
    await desk.governance.exchange(tenant, [acquire("a"), acquire("b", wait_ms=60_000)])
    await desk.saved("breaker", scanner)
    await desk.saved("ledger", tenant)
    await desk.saved("governor", pool)
    return scanner, tenant, pool


async def test_every_page_is_shown_and_none_has_a_script_or_a_style_in_it(desk: Desk) -> None:
    scanner, tenant, pool = await governed(desk)
    viewer = await desk.caller("viewer", **HTML)
    pages = {
        "/": "Overview",
        "/downstreams": scanner,
        f"/downstreams/{quote(scanner, safe='')}": "Transitions",
        "/downstreams?search=&state=": scanner,
        "/downstreams?state=RAMP": "No downstream is like that",
        "/tenants": tenant,
        "/tenants?sort=name&search=": tenant,
        f"/tenants/{tenant}": "Holders",
        "/pools": pool,
        f"/pools/{pool}": "Who gets what",
        f"/pools/{pool}/what-if": "What would be different",
        f"/pools/{pool}/what-if?capacity.scan=2&strategy=equal": "Would have",
        f"/pools/{pool}/what-if?capacity.scan=many": "write a whole number",
        "/jobs": "Why does a job wait?",
        "/alerts?search=&severity=&kind=&tenant=": "Where it went",
        "/audit?target=&actor=&action=": "Audit",
        "/audit?target=nosuch": "Nothing in the audit is like that.",
        f"/audit?search={tenant.upper()}&since=2h&until=": f"ledger/{tenant}",
        f"/audit?search={tenant}&since=2h+ago&until=1h": "Nothing in the audit is like that.",
        "/audit?since=1x": "or how long ago, such as 2h",
    }
    for path, expected in pages.items():
        answer = await viewer.get(path)
        assert answer.status_code == 200, (path, answer.text[:500])
        assert expected in answer.text, path
        assert " style=" not in answer.text and "onclick" not in answer.text, path
        assert answer.text.count("<script") == 1, path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert len(answer.content) < 30_000, (path, len(answer.content))
        assert 'class="act"' not in answer.text, path

    async def both() -> tuple[str, Status]:
        return (await viewer.get("/")).text, await desk.service.overview.status(now_ms())

    def agree(told: tuple[str, Status]) -> bool:
        page, status = told
        return status.verdict == "blocked" and escape(status.line) in re.sub(r"<[^>]*>", "", page)

    # As headgate status says, unless something has happened between the two.
    overview, _ = await eventually(both, agree)
    assert f'<a href="/downstreams/{quote(scanner, safe="")}">breaker/' in overview
    assert re.search(r'<a href="/alerts">\d+ alerts? (is|are) open</a>', overview)
    # Who reads the audit goes on to what was changed.
    audit = (await viewer.get("/audit")).text
    for page in (f"/downstreams/{quote(scanner, safe='')}", f"/tenants/{tenant}", f"/pools/{pool}"):
        assert f'<td data-label="To"><a href="{page}">' in audit, page
    history = (await viewer.get(f"/pools/{pool}")).text
    assert f"governor/{pool}</a>" in history and "of 4 scan</strong> held" in history
    operator = await desk.caller("operator", **HTML)
    may = (await operator.get(f"/tenants/{tenant}")).text
    assert 'class="act"' in may and "<noscript>" in may and "<noscript>" not in overview
    pause = {"action": {"kind": "pause", "resource": "scan"}, "reason": "not paid"}
    assert (await operator.post(f"/v1/tenants/{tenant}/commands", json=pause)).status_code == 200
    paused = f'<a href="/tenants/{tenant}">tenant/{tenant}/scan</a>'

    async def shown() -> str:
        return (await viewer.get("/")).text

    await eventually(shown, lambda text: paused in text)
    missing = await viewer.get("/downstreams/nobody")
    assert missing.status_code == 404 and "<h1>There is no such thing</h1>" in missing.text
    job = await viewer.get("/jobs", params={"workflow_id": "nobody"})
    assert job.status_code == 404 and "there is no workflow" in job.text
    for name in ("headgate.css", "headgate.js", "icon.svg"):
        assert (await viewer.get(f"/static/{name}")).status_code == 200
    assert (await viewer.get("/static/..%2Frender.py")).status_code == 404


async def test_the_login_names_no_keys_that_it_does_not_hear(desk: Desk) -> None:
    stranger, viewer = await desk.caller(Accept="text/html"), await desk.caller("viewer", **HTML)
    assert "<kbd>" not in (await stranger.get("/login")).text
    assert "<kbd>/</kbd> search" in (await viewer.get("/jobs")).text


async def test_the_page_of_a_new_breaker_claims_nothing_of_the_time_before_it(desk: Desk) -> None:
    scanner, _, _ = await governed(desk)
    viewer = await desk.caller("viewer", **HTML)
    shown = (await viewer.get(f"/downstreams/{quote(scanner, safe='')}")).text
    assert "there since" in only(r'<svg class="strip"[^>]*aria-label="([^"]*)"', shown)
    assert "Gray: before it was there" in shown


async def test_after_a_resume_the_head_of_a_breaker_counts_from_there(desk: Desk) -> None:
    scanner, _, _ = await governed(desk)
    operator = await desk.caller("operator", **HTML)
    for action in ("force_closed", "resume"):
        order = {"action": action, "reason": "a drill"}
        path = f"/v1/downstreams/{quote(scanner, safe='')}/commands"
        assert (await operator.post(path, json=order)).status_code == 200
    view = await desk.governance.breaker_state(scanner)
    assert view.transitions[-1].at_ms == view.in_force_since_ms > view.since_ms

    async def head() -> str:
        shown = (await operator.get(f"/downstreams/{quote(scanner, safe='')}")).text
        return only(r'data-live="head">(.*?)</section>', shown)

    await eventually(head, lambda text: f'changed <time data-ms="{view.in_force_since_ms}"' in text)


async def test_the_overview_leads_to_the_channels_that_take_no_alerts(desk: Desk) -> None:
    await desk.stop_working()  # its Notifier would forget a channel that nobody has configured
    await desk.database.execute(
        "INSERT INTO channel (name, fingerprint, disabled_at, last_error) "
        "VALUES ('gone', 'x', now(), 'channel gone: https://hooks.example answered 410')"
    )
    viewer = await desk.caller("viewer", **HTML)
    page = (await viewer.get("/")).text
    assert '<a href="/channels">channel/gone</a>' in page
    assert "disabled: https://hooks.example answered 410" in page
    await desk.database.execute("DELETE FROM channel WHERE name = 'gone'")


async def test_what_is_shown_is_text_and_never_markup(desk: Desk) -> None:
    scanner, _, _ = await governed(desk)
    operator = await desk.caller("operator", **HTML)
    done = await operator.post(
        f"/v1/downstreams/{quote(scanner, safe='')}/commands",
        json={"action": "force_open", "reason": "<script>alert(1)</script>\"'>"},
    )
    assert done.status_code == 200
    await desk.saved("breaker", scanner)
    page = await operator.get(f"/downstreams/{quote(scanner, safe='')}")
    assert "<script>alert" not in page.text


async def test_a_key_logs_in_and_a_session_ends_with_it(desk: Desk) -> None:
    browser = await desk.caller(None, None, **HTML)
    asked = await browser.get("/tenants?sort=name")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/login?to=%2Ftenants%3Fsort%3Dname"
    assert "Log in" in (await browser.get(asked.headers["location"])).text
    key = await desk.key("operator")
    same = {"Sec-Fetch-Site": "same-origin"}
    wrong = await browser.post("/login", data={"key": key + "x"}, headers=same)
    assert wrong.status_code == 401 and "unknown, revoked or over" in wrong.text
    foreign = await browser.post(
        "/login", data={"key": key}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert foreign.status_code == 403
    away = {"key": key, "to": "//evil.example"}
    inside = await browser.post("/login", data=away, headers=same)
    assert (inside.status_code, inside.headers["location"]) == (303, "/")
    cookie = inside.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and key not in cookie
    assert "Downstreams" in (await browser.get("/")).text
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    path = f"/v1/downstreams/{scanner}/commands"
    order = {"action": "shadow", "reason": "looking at it"}
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert (await browser.post(path, json=order, headers=headers)).status_code == 403
    assert (await browser.post(path, json=order, headers=same)).status_code == 200
    line = (await desk.service.audit.lines(1, action="denied"))[0]
    assert line.reason.startswith("a browser sends this")
    (made,) = await desk.keys.list()
    await desk.keys.revoke(made.id, "test", "it leaked")
    assert (await browser.get("/")).status_code == 303


async def test_logging_out_ends_the_session(desk: Desk) -> None:
    browser = await desk.caller(None, None, **HTML)
    same = {"Sec-Fetch-Site": "same-origin"}
    await browser.post("/login", data={"key": await desk.key("viewer")}, headers=same)
    cookies = dict(browser.cookies)
    assert (await browser.get("/")).status_code == 200
    await browser.post("/logout", headers=same)
    again = httpx2.AsyncClient(base_url=desk.base, cookies=cookies, headers=HTML)
    async with again:
        assert (await again.get("/")).status_code == 303


async def test_over_https_the_cookie_belongs_to_this_host_alone(desk: Desk) -> None:
    await desk.serve(public_url="https://headgate.example")
    browser = await desk.caller(None, None, **HTML)
    login = await browser.post(
        "/login",
        data={"key": await desk.key("viewer")},
        headers={"Origin": "https://headgate.example"},
    )
    cookie = login.headers["set-cookie"]
    assert cookie.startswith("__Host-") and "Secure" in cookie and "Domain" not in cookie


@pytest.mark.parametrize("path", ["/", "/tenants", "/pools", "/audit", "/jobs", "/alerts"])
async def test_who_sees_one_tenant_sees_no_page_of_all(desk: Desk, path: str) -> None:
    mine, other = desk.of("mine"), desk.of("other")
    quotas = {"quotas": {"scan": {"max_active": 1}}}
    await desk.apply(tenants={mine: quotas, other: quotas})
    await desk.saved("ledger", mine, other)
    caller = await desk.caller("viewer", tenant=mine, **HTML)
    answer = await caller.get(path)
    expected = {"/": 303, "/jobs": 200, "/alerts": 200}.get(path, 403)
    assert answer.status_code == expected and other not in answer.text
    assert (await caller.get(f"/tenants/{other}")).status_code == 404
    assert (await caller.get(f"/tenants/{mine}")).status_code == 200
