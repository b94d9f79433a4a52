"""Channels are looked at, tried and enabled through the API."""

from typing import Any
from urllib.parse import quote

from tests.api.conftest import Desk
from tests.notifier.site import Endpoint, Site, crossing, webhook


async def test_a_channel_is_tried_disabled_and_enabled(desk: Desk, site: Site) -> None:
    ops, own = Endpoint(answers=[204, 410]), Endpoint()
    await site.apply(
        channels={
            "ops": webhook(await site.serve(ops.app())),
            "own": webhook(await site.serve(own.app()), tenant="acme"),
        }
    )
    operator = await desk.caller("operator")

    async def shown() -> dict[str, Any]:
        found = (await operator.get("/v1/channels")).json()["items"]
        return {one["channel"]: one for one in found}

    assert {name: one["state"] for name, one in (await shown()).items()} == {
        "ops": "unused",
        "own": "unused",
    }
    path, body = "/v1/channels/ops/test", {"reason": "is it there"}
    tried = await operator.post(path, json={**body, "dry_run": True})
    assert tried.json()["data"]["message"] == "send a test alert to ops, and what waits for it"
    await site.notifier.work()
    assert ops.requests == []
    for _ in range(2):
        done = await operator.post(path, json=body, headers={"Idempotency-Key": desk.of("once")})
        assert done.status_code == 200, done.text
        await site.notifier.work()
    (event,) = ops.bodies
    assert event["id"] == done.json()["data"]["alert"]
    assert "operator-key wanted to know" in event["data"]["text"]
    told = await operator.get(f"/v1/alerts/{quote(event['id'], safe='')}")
    assert [one["outcome"] for one in told.json()["attempts"]] == ["delivered"]
    view = (await shown())["ops"]
    assert (view["state"], view["waiting"], view["last"]["outcome"]) == ("works", 0, "delivered")

    await site.tell(crossing("globex"))
    view = (await shown())["ops"]
    assert (view["state"], view["waiting"], view["last"]["status"]) == ("disabled", 1, 410)
    refused = await operator.post(path, json=body)
    assert refused.status_code == 409 and "is disabled" in refused.json()["detail"]
    enable = "/v1/channels/ops/enable"
    done = await operator.post(enable, json={"reason": "it is back"})
    assert done.json()["data"] == {
        "was_used": True,
        "message": "try ops again at once, with what waits for it",
    }
    await site.notifier.work()
    assert (await shown())["ops"]["state"] == "works" and len(ops.requests) == 3
    unused = await operator.post("/v1/channels/own/enable", json={"reason": "it is back"})
    assert unused.json()["data"]["message"].startswith("change nothing: own was not disabled")
    lines = (await operator.get("/v1/audit", params={"target": "channel/ops"})).json()["items"]
    assert [(one["action"], one["reason"], one["how"][:3]) for one in lines] == [
        ("enable", "it is back", "key"),
        ("test", "is it there", "key"),
    ]


async def test_a_tenant_sees_its_own_channels_and_viewers_try_none(desk: Desk, site: Site) -> None:
    await site.apply(
        channels={
            "ops": webhook("https://ops.example"),
            "own": webhook("https://acme.example", tenant="acme"),
        }
    )
    acme, viewer = await desk.caller("operator", "acme"), await desk.caller("viewer")
    listed = (await acme.get("/v1/channels")).json()["items"]
    assert [one["channel"] for one in listed] == ["own"]
    assert len((await viewer.get("/v1/channels")).json()["items"]) == 2
    for caller in (acme, viewer):
        for action in ("test", "enable"):
            answer = await caller.post(f"/v1/channels/own/{action}", json={"reason": "may I"})
            assert answer.status_code == 403
    operator = await desk.caller("operator")
    absent = await operator.post("/v1/channels/opps/test", json={"reason": "is it there"})
    assert absent.status_code == 404 and "ops, own" in absent.json()["detail"]
