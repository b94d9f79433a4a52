"""Keys are made and revoked through the API, by admins; what is secret is shown once."""

import json
from typing import Any

import pytest

from tests.api.conftest import Desk

ORDER = {"name": "ci-bot", "role": "operator", "for_ms": 86_400_000, "reason": "for deployments"}


async def test_a_key_is_made_once_used_and_revoked(desk: Desk) -> None:
    admin = await desk.caller("admin")
    tried = (await admin.post("/v1/keys", json={**ORDER, "dry_run": True})).json()["data"]
    assert tried["key"] is tried["secret"] is None
    assert tried["message"].startswith("make a key for ci-bot, operator of all tenants, until ")
    once = {"Idempotency-Key": desk.of("ci")}
    answer = await admin.post("/v1/keys", json=ORDER, headers=once)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()["data"]
    key, secret = made["key"], made["secret"]
    assert secret.startswith(f"hgk_{key['id']}_")
    assert (key["name"], key["role"], key["tenant"], key["state"]) == (
        *("ci-bot", "operator"),
        *(None, "valid"),
    )
    # The answer was lost: it is not made again, nor shown.
    again = await admin.post("/v1/keys", json=ORDER, headers=once)
    assert again.status_code == 409 and key["id"] in again.json()["detail"]
    listed = await admin.get("/v1/keys")
    assert [one["name"] for one in listed.json()["items"]] == ["ci-bot", "admin-key"]
    assert secret.split("_", 2)[2] not in listed.text + again.text

    bot = await desk.caller(Authorization=f"Bearer {secret}")
    assert (await bot.get("/v1/me")).json()["name"] == "ci-bot"
    path = f"/v1/keys/{key['id']}/revoke"
    said = (await admin.post(path, json={"reason": "it leaked", "dry_run": True})).json()["data"]
    assert said["message"] == f"refuse ci-bot's key {key['id']} (operator) and end its logins"
    assert (await bot.get("/v1/me")).status_code == 200
    for _ in range(2):
        revoked = await admin.post(
            path, json={"reason": "it leaked"}, headers={"Idempotency-Key": desk.of("leak")}
        )
        assert revoked.status_code == 200, revoked.text
        assert revoked.json()["data"]["key"]["state"] == "revoked"
    assert (await bot.get("/v1/me")).status_code == 401
    assert (await admin.post(path, json={"reason": "once more"})).status_code == 404
    lines = (await admin.get("/v1/audit", params={"target": f"key/{key['id']}"})).json()["items"]
    assert [(line["action"], line["actor"], line["reason"]) for line in lines] == [
        ("key_revoked", "admin-key", "it leaked"),
        ("key_created", "admin-key", "for deployments"),
    ]
    assert {line["how"].partition(" ")[0] for line in lines} == {"key"}
    assert secret.split("_", 2)[2] not in json.dumps(lines)


async def test_the_last_admin_who_revokes_the_own_key_is_warned(desk: Desk) -> None:
    admin = await desk.caller("admin")
    (mine,) = (await admin.get("/v1/keys")).json()["items"]
    path = f"/v1/keys/{mine['id']}/revoke"
    said = (await admin.post(path, json={"reason": "I leave", "dry_run": True})).json()["data"]
    assert said["message"].endswith(
        "; it is the one that you are using; no other key is an admin's, so the next is made with "
        "headgate keys create"
    )


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_only_admins_see_and_make_keys(desk: Desk, role: Any) -> None:
    for caller in (await desk.caller(role), await desk.caller("admin", tenant=desk.of("t"))):
        assert (await caller.get("/v1/keys")).status_code == 403
        assert (await caller.post("/v1/keys", json=ORDER)).status_code == 403
        revoked = await caller.post("/v1/keys/0123456789ab/revoke", json={"reason": "no more"})
        assert revoked.status_code == 403


async def test_a_key_for_a_tenant_that_nobody_has_heard_of_is_made_with_a_warning(
    desk: Desk,
) -> None:
    acme = desk.of("acme")
    await desk.apply(tenants={acme: {"quotas": {"scan": {}}}})
    admin = await desk.caller("admin")
    said = f"; there is no tenant '{acme[:-1]}': did you mean {acme}?"
    for dry_run in (True, False):
        order = {**ORDER, "tenant": acme[:-1], "dry_run": dry_run}
        made = await admin.post("/v1/keys", json=order)
        assert made.status_code == 200 and made.json()["data"]["message"].endswith(said)
    listed = await admin.post("/v1/keys", json={**ORDER, "tenant": acme, "dry_run": True})
    assert "there is no tenant" not in listed.text and "also as admin" not in listed.text
    order = {**ORDER, "tenant": acme, "role": "admin", "dry_run": True}
    assert "and nothing else, also as admin" in (await admin.post("/v1/keys", json=order)).text
