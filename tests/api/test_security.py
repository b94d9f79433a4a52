"""Who may call what, and what becomes of those who may not."""

import json
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from fastapi.routing import APIRoute

from headgate.api.access import ANYONE, Guard, declared, require_declared, routes_of
from headgate.api.app import create_app
from headgate.api.dashboard.render import assets
from headgate.api.principal import Role
from headgate.api.rates import Rates
from headgate.api.server import settings_for
from headgate.api.settings import OidcSettings
from headgate.model.errors import ConfigurationError
from headgate.store.database import Database
from headgate.store.keys import KeyStore
from tests.api.conftest import Desk
from tests.harness import acquire, eventually

PUBLIC = {"/healthz", "/readyz", "/v1/openapi.json", "/login", "/logout", "/static/{file}"}


def test_every_route_has_declared_who_may_call_it(desk: Desk) -> None:
    app = create_app(desk.service)
    open_to_all = set()
    for route in routes_of(app):
        assert isinstance(route, APIRoute), route
        may = declared(route)
        assert may is not None, route.path
        if may is ANYONE:
            open_to_all.add(route.path)
            continue
        assert isinstance(may, Guard)
        reads = (route.methods or set()) <= {"GET"}
        harmless = reads or route.path.endswith(("/what-if", "/backtest"))
        assert harmless or may.role >= Role.OPERATOR, route.path
    assert open_to_all == PUBLIC


def test_an_app_with_a_route_that_does_not_say_so_is_not_served() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    with pytest.raises(RuntimeError, match="/forgotten"):
        require_declared(app)


async def test_without_a_key_nothing_is_shown_and_it_is_written_down(desk: Desk) -> None:
    stranger = await desk.caller()
    answer = await stranger.get("/v1/downstreams")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    lines = await desk.service.audit.lines(10, action="denied")
    assert lines[0].actor == "nobody" and lines[0].target == "GET /v1/downstreams"
    for header in ("Bearer hgk_000000000000_wrong", "Basic YTpi", "Bearer", "Bearer ey.a.b"):
        wrong = await stranger.get("/v1/downstreams", headers={"Authorization": header})
        assert wrong.status_code == 401, header


async def test_a_viewer_cannot_change_anything_and_that_is_in_the_audit(desk: Desk) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    viewer = await desk.caller("viewer")
    order = {"action": "force_open", "reason": "just because"}
    denied = await viewer.post(f"/v1/downstreams/{scanner}/commands", json=order)
    assert denied.status_code == 403 and denied.json()["code"] == "forbidden"
    assert (await desk.governance.breaker_state(scanner)).override is None
    (line,) = await desk.service.audit.lines(1, action="denied")
    assert (line.actor, line.how) == ("viewer-key", line.how)
    assert line.how is not None and line.how.startswith("key ")


async def test_another_tenants_object_is_not_there(desk: Desk) -> None:
    mine, other = desk.of("mine"), desk.of("other")
    quotas = {"quotas": {"scan": {"max_active": 1}}}
    await desk.apply(tenants={mine: quotas, other: quotas})
    await desk.saved("ledger", mine, other)
    caller = await desk.caller("operator", tenant=mine)
    assert (await caller.get(f"/v1/tenants/{mine}")).status_code == 200
    theirs = await caller.get(f"/v1/tenants/{other}")
    nobodys = await caller.get(f"/v1/tenants/{desk.of('nobody')}")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.json()["detail"] == nobodys.json()["detail"].replace("nobody", "other")
    for path in (f"/v1/tenants/{other}/holders", "/v1/jobs/job-of-another/why"):
        assert (await caller.get(path)).status_code == 404, path
    for path in ("/v1/tenants", "/v1/audit", "/v1/pools", "/v1/downstreams", "/v1/throttles"):
        assert (await caller.get(path)).status_code == 403, path
    raised = await caller.post(
        f"/v1/tenants/{mine}/commands",
        json={"action": {"kind": "resume", "resource": "*"}, "reason": "more for me"},
    )
    assert raised.status_code == 403


async def _denials(desk: Desk) -> list[tuple[str, str, int]]:
    lines = await desk.service.audit.lines(50, action="denied")
    return [(line.actor, line.target, (line.after or {})["status"]) for line in lines]


async def test_what_a_route_itself_refuses_is_in_the_audit(desk: Desk) -> None:
    mine, other = desk.of("mine"), desk.of("other")
    quotas = {"quotas": {"scan": {"max_active": 1}}}
    await desk.apply(tenants={mine: quotas, other: quotas})
    caller = await desk.caller("operator", tenant=mine)
    path = f"/v1/tenants/{mine}/commands"
    more = {"action": {"kind": "resume", "resource": "*"}, "reason": "more for me"}
    assert (await caller.post(path, json=more)).status_code == 403
    for alerts in ("/v1/alerts", "/alerts"):
        assert (await caller.get(alerts, params={"tenant": other})).status_code == 404
    await desk.governance.exchange(other, [acquire("theirs")])
    everyone, why = await desk.caller("viewer"), "/v1/jobs/job-theirs/why"
    await eventually(lambda: everyone.get(why), lambda found: found.status_code == 200)
    assert (await caller.get(why)).status_code == 404
    assert await _denials(desk) == [
        ("operator-key", f"GET {why}", 404),
        ("operator-key", "GET /alerts", 404),
        ("operator-key", "GET /v1/alerts", 404),
        ("operator-key", f"POST {path}", 403),
    ]


async def test_a_page_is_denied_as_the_api_is(desk: Desk) -> None:
    caller = await desk.caller()
    wrong = {"Authorization": "Bearer hgk_000000000000_wrong", "Accept": "text/html"}
    assert (await caller.get("/tenants", headers=wrong)).status_code == 401
    assert await _denials(desk) == [("nobody", "GET /tenants", 401)]
    codes = [(await caller.get("/tenants", headers=wrong)).status_code for _ in range(40)]
    assert 429 in codes, "strangers are put off before they fill the audit"
    # Who says nothing is led to the login, and has not been denied anything.
    before = len(await _denials(desk))
    assert (await caller.get("/tenants")).status_code == 303
    assert len(await _denials(desk)) == before


async def test_what_other_sites_have_browsers_send_is_in_the_audit_with_whose_browser(
    desk: Desk,
) -> None:
    caller, key = await desk.caller(), await desk.key("operator")
    same = {"Sec-Fetch-Site": "same-origin"}
    logged_in = await caller.post("/login", data={"key": key}, headers=same)
    assert logged_in.status_code == 303
    cross = {"Sec-Fetch-Site": "cross-site"}
    order = {"action": "reset", "reason": "a trap"}
    path = f"/v1/downstreams/{desk.of('s')}/commands"
    assert (await caller.post(path, json=order, headers=cross)).status_code == 403
    assert (await caller.post("/login", data={"key": key}, headers=cross)).status_code == 403
    assert (await caller.post("/logout", headers=cross)).status_code == 403
    assert await _denials(desk) == [
        ("nobody", "POST /logout", 403),
        ("nobody", "POST /login", 403),
        ("operator-key", f"POST {path}", 403),
    ]
    (line, *_) = await desk.service.audit.lines(1, action="denied", actor="operator-key")
    assert line.how is not None and line.how.startswith("session ")


@pytest.mark.parametrize("key", ["hgk_%00_x", "hgk_%ED%A0%80_x", "hgk_%FF_%00", "%00", ""])
async def test_no_key_that_is_none_gets_as_far_as_postgres(desk: Desk, key: str) -> None:
    stranger = await desk.caller()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Sec-Fetch-Site": "same-origin",
    }
    answer = await stranger.post("/login", content=f"key={key}", headers=headers)
    assert answer.status_code == 401 and "unknown, revoked or over" in answer.text


@pytest.mark.parametrize(
    "keys", [["\ud800"], [1, "\ud800"], [0, "a\x00"], [2**70, "a"], ["1", "a"], [True, "a"], {}, 1]
)
async def test_a_cursor_that_was_tampered_with_is_refused(desk: Desk, keys: object) -> None:
    viewer = await desk.caller("viewer")
    cursor = urlsafe_b64encode(json.dumps(keys).encode()).decode()
    for path in ("/v1/tenants", "/v1/downstreams", "/v1/audit", "/tenants", "/v1/alerts"):
        answer = await viewer.get(path, params={"cursor": cursor})
        assert answer.status_code == 400, (path, answer.text)


async def test_names_of_files_that_are_none_are_not_kept(desk: Desk) -> None:
    stranger = await desk.caller()
    for number in range(20):
        answer = await stranger.get(f"/static/no-such-file-{number}")
        assert answer.status_code == 404
    assert {"headgate.css", "headgate.js", "icon.svg"} == set(assets())
    assert assets.cache_info().currsize == 1


async def test_who_calls_is_not_told_where_postgres_and_temporal_are(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    address = "127.0.0.1:1/nowhere"
    async with Database(f"postgresql://headgate:secret@{address}") as nowhere:
        desk.service.keys = KeyStore(nowhere)
        stranger = await desk.caller()
        wrong = {"Authorization": "Bearer hgk_000000000000_wrong"}
        answer = await stranger.get("/v1/me", headers=wrong)
    assert answer.status_code == 503 and answer.headers["retry-after"]
    assert "127.0.0.1" not in answer.text and "HEADGATE" not in answer.text
    assert address in caplog.text


async def test_a_key_that_is_revoked_or_over_opens_nothing(desk: Desk) -> None:
    admin = await desk.caller("admin")
    assert (await admin.get("/v1/me")).json()["role"] == "admin"
    (key,) = await desk.keys.list()
    assert await desk.keys.revoke(key.id, "test", "it leaked")
    assert (await admin.get("/v1/me")).status_code == 401
    over = await desk.key(lasts=timedelta(seconds=-1))
    answer = await admin.get("/v1/me", headers={"Authorization": f"Bearer {over}"})
    assert answer.status_code == 401
    stored = await desk.database.fetch("SELECT * FROM api_key")
    assert not any(over.split("_", 2)[2] in str(dict(row)) for row in stored)


async def test_too_many_requests_are_put_off(desk: Desk) -> None:
    await desk.serve(per_second=0.5, burst=3, now=lambda: 100.0)
    viewer = await desk.caller("viewer")
    codes = [(await viewer.get("/v1/me")).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    late = await viewer.get("/v1/me")
    assert late.headers["retry-after"] == "2"
    other = await desk.caller("viewer")
    assert (await other.get("/v1/me")).status_code == 200
    assert await _denials(desk) == [("viewer-key", "GET /v1/me", 429)], "once, not each time"


async def test_a_request_that_is_too_large_is_refused(desk: Desk) -> None:
    operator = await desk.caller("operator")
    path = f"/v1/downstreams/{desk.of('s')}/commands"
    large = {"action": "reset", "reason": "x" * 100_000}
    assert (await operator.post(path, json=large)).status_code == 413

    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1_000

    headers = {"Content-Type": "application/json"}
    assert (await operator.post(path, content=chunks(), headers=headers)).status_code == 413
    assert (await operator.get("/v1/tenants", params={"limit": 201})).status_code == 422


async def test_open_on_this_machine_but_not_to_the_pages_of_other_sites(desk: Desk) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    await desk.serve(open_as="somebody")
    local = await desk.caller()
    me = (await local.get("/v1/me")).json()
    assert (me["name"], me["role"], me["how"]) == ("somebody", "admin", "open")
    path = f"/v1/downstreams/{scanner}/commands"
    order = {"action": "shadow", "reason": "a trap"}
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
    ):
        answer = await local.post(path, json=order, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site"), headers
    rebound = await local.get("/v1/me", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    own = await local.post(path, json=order, headers={"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 200
    wrong_key = await local.get("/v1/me", headers={"Authorization": "Bearer hgk_a_b"})
    assert wrong_key.status_code == 401


async def test_nothing_but_loopback_is_served_before_somebody_can_say_who_it_is(
    desk: Desk,
) -> None:
    with pytest.raises(ConfigurationError, match="headgate keys create"):
        await settings_for(desk.database, "0.0.0.0", "me")
    assert (await settings_for(desk.database, "127.0.0.1", "me")).open_as == "me"
    await desk.key()
    assert (await settings_for(desk.database, "0.0.0.0", "me")).open_as is None
    assert (await settings_for(desk.database, "127.0.0.1", "me")).open_as is None


async def test_the_first_key_closes_what_was_open(desk: Desk) -> None:
    clock = Clock()
    await desk.serve(open_as="somebody", now=clock)
    local = await desk.caller()
    assert (await local.get("/v1/me")).json()["how"] == "open"
    made = await local.post("/v1/keys", json={"name": "ann", "role": "admin", "reason": "first"})
    assert made.status_code in (200, 201), made.text
    clock.now_s += 2
    assert (await local.get("/v1/me")).status_code == 401
    page = await local.get("/keys", headers={"Accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login?to=%2Fkeys")
    bearer = {"Authorization": f"Bearer {made.json()['data']['secret']}"}
    assert (await local.get("/v1/me", headers=bearer)).json()["name"] == "ann"
    # It stays closed when the key is gone.
    (key,) = await desk.keys.list()
    assert await desk.keys.revoke(key.id, "ann", "it leaked")
    clock.now_s += 2
    assert (await local.get("/v1/me")).status_code == 401


class Clock:
    """A clock that a test moves, in seconds."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Issuer:
    """An OpenID provider: a key, and the tokens that it signs."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(65_537, 2_048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig"}]}))
        self.settings = OidcSettings(
            issuer="https://issuer.example", audience="headgate", jwks=str(self.jwks)
        )

    def token(
        self, key: Any = None, algorithm: str = "RS256", kid: str = "k1", **claims: Any
    ) -> str:
        said = {
            "iss": "https://issuer.example",
            "aud": "headgate",
            "sub": "u-17",
            "email": "ann@example.com",
            "exp": datetime.now(UTC) + timedelta(minutes=5),
            "headgate_role": "operator",
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        signs_with: Any = None if algorithm == "none" else key or self.key
        return jwt.encode(said, signs_with, algorithm, headers={"kid": kid})


async def test_a_token_of_the_issuer_is_believed_and_no_other(desk: Desk, tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    await desk.serve(oidc=issuer.settings)
    desk.service.strangers = Rates(1_000.0, 1_000, time.monotonic)
    caller = await desk.caller()

    async def me(token: str) -> Any:
        return await caller.get("/v1/me", headers={"Authorization": f"Bearer {token}"})

    found = (await me(issuer.token())).json()
    assert (found["name"], found["role"], found["how"]) == ("ann@example.com", "operator", "oidc")
    groups = (await me(issuer.token(headgate_role=["staff", "viewer", "admin"]))).json()
    assert groups["role"] == "admin"
    scoped = (await me(issuer.token(headgate_tenant="acme"))).json()
    assert scoped["tenant"] == "acme"
    other = rsa.generate_private_key(65_537, 2_048)
    refused = {
        "another issuer": issuer.token(iss="https://evil.example"),
        "another audience": issuer.token(aud="elsewhere"),
        "over": issuer.token(exp=datetime.now(UTC) - timedelta(minutes=5)),
        "not yet": issuer.token(nbf=datetime.now(UTC) + timedelta(minutes=5)),
        "never over": issuer.token(exp=None),
        "nobody": issuer.token(sub=None),
        "another key": issuer.token(key=other),
        "an unknown key": issuer.token(kid="k2"),
        "no role": issuer.token(headgate_role=None),
        "a role that is none": issuer.token(headgate_role="root"),
        "a tenant that is none": issuer.token(headgate_tenant=["acme"]),
        "signed with a secret": issuer.token(
            key="the secret of nobody, long enough", algorithm="HS256"
        ),
        "not signed": issuer.token(algorithm="none"),
    }
    for why, token in refused.items():
        answer = await me(token)
        assert answer.status_code == 401, (why, answer.text)


def test_an_algorithm_that_the_verifier_could_sign_with_is_not_accepted() -> None:
    for unsafe in ("HS256", "none"):
        with pytest.raises(ConfigurationError, match="--oidc-algorithm"):
            OidcSettings("https://i.example", "headgate", "k.json", algorithms=(unsafe,))
    with pytest.raises(ConfigurationError, match="https"):
        OidcSettings("https://i.example", "headgate", "http://i.example/jwks")
