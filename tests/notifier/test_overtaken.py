"""What was over before a channel could be told of it calls nobody any more, and is not lost."""

from typing import Any

import pytest

from headgate.model.alert import Alert
from headgate.store.alerts import AlertStore
from tests.notifier.site import Endpoint, Site, alert, crossing, ids_of, webhook

KEY = "HEADGATE_TEST_ROUTING_KEY"


async def channel_of(desk: Site, kind: str, endpoint: Endpoint) -> dict[str, Any]:
    url = await desk.serve(endpoint.app())
    if kind == "pagerduty":
        return {"kind": kind, "url": url, "secret_env": KEY}
    if kind == "alertmanager":
        return {"kind": kind, "url": url}
    return webhook(url)


def breaker(status: str = "firing", number: int = 1) -> Alert:
    over = {"severity": "info", "title": "scanner: breaker closed"} if status != "firing" else {}
    return alert(
        1, id=f"downstream/scanner-1:{number}:1:x", key="breaker.opened/s", status=status, **over
    )


@pytest.mark.parametrize("answer", [400, 401, 503, 410])
@pytest.mark.parametrize("kind", ["pagerduty", "alertmanager", "webhook"])
async def test_what_is_over_by_now_calls_nobody(
    desk: Site, monkeypatch: pytest.MonkeyPatch, kind: str, answer: int
) -> None:
    monkeypatch.setenv(KEY, "hunter2")
    paths = {"pagerduty": "/v2/enqueue", "alertmanager": "/api/v2/alerts", "webhook": "/alerts"}
    endpoint = Endpoint([answer], path=paths[kind])
    chat = Endpoint()
    channels = {
        "ops": await channel_of(desk, kind, endpoint),
        "chat": webhook(await desk.serve(chat.app())),
    }
    routes = [{"kinds": ["channel.*"], "channels": ["chat"]}]
    await desk.apply(channels=channels, routes=routes, default=["ops"])
    opened, still, closed = breaker(), breaker(number=2), breaker("resolved", number=3)
    await desk.tell(opened)
    await desk.tell(still)
    await desk.tell(closed)
    endpoint.requests.clear()
    await desk.database.execute("UPDATE channel SET disabled_at = NULL")
    await desk.try_again()
    if kind == "pagerduty":
        (event,) = endpoint.bodies
        assert (event["event_action"], event["dedup_key"]) == ("resolve", "breaker.opened/s")
    elif kind == "alertmanager":
        ((event,),) = endpoint.bodies
        assert event["annotations"]["summary"] == "scanner: breaker closed"
        assert event["endsAt"] < "2027-01-16"
    else:
        (event,) = endpoint.bodies
        assert (event["id"], event["data"]["status"]) == (closed.id, "resolved")
        assert "It was over before it could be told here." in event["data"]["text"]
        assert [one["id"] for one in event["data"]["alerts"]] == ids_of([opened, still, closed])
    # What was done with each is on record, and nobody was told in between that all is well.
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    told = await AlertStore(desk.database).one(opened.id)
    assert told is not None
    assert (told.deliveries[0].message, told.deliveries[0].is_together) == (closed.id, True)
    tries = await AlertStore(desk.database).attempts(opened.id)
    assert [(one.outcome, one.status) for one in tries] == [
        ("refused", answer),
        ("delivered", None),
    ]
    ends = [body["data"]["status"] for body in chat.bodies]
    assert ends in (["firing", "resolved"], [])


async def test_of_a_group_only_what_is_still_so_is_told(desk: Site) -> None:
    endpoint = Endpoint([503])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(*(crossing(f"t{n}") for n in range(8)))
    over = [crossing(f"t{n}", status="resolved", sequence=2) for n in range(2)]
    await desk.tell(*over)
    endpoint.requests.clear()
    await desk.try_again()
    fires, ended = (body["data"] for body in endpoint.bodies)
    assert (fires["title"], fires["status"]) == ("6 tenants: near or at their quota", "firing")
    assert (ended["title"], ended["status"]) == (
        "2 tenants: no longer near their quota",
        "resolved",
    )
    assert len(ended["alerts"]) == 4
    endpoint.require_one_content_for_each_id()
    assert {*(await desk.states("ops")).values()} == {"delivered"}


async def test_a_tenant_whose_channel_was_gone_is_told_how_it_is_now(desk: Site) -> None:
    endpoint = Endpoint([410])
    own = webhook(await desk.serve(endpoint.app()), tenant="acme")
    await desk.apply(channels={"acme": own})
    await desk.tell(crossing("acme", 80))
    others = [
        crossing("acme", 90, sequence=sequence).model_copy(
            update={"subject": f"tenant/acme/{name}", "key": f"quota.threshold/{name}", "id": id}
        )
        for sequence in range(2, 6)
        for name in ("scan", "sign")
        for id in (f"{name}-{sequence}",)
    ]
    await desk.tell(*others)
    endpoint.requests.clear()
    await desk.database.execute("UPDATE channel SET disabled_at = NULL")
    await desk.try_again()
    assert endpoint.ids == [crossing("acme").id, "scan-5", "sign-5"]
    assert {*(await desk.states("acme")).values()} == {"delivered"}


async def test_where_something_else_waits_about_the_subject_the_order_is_kept(desk: Site) -> None:
    endpoint = Endpoint([503])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    opened, closed = breaker(), breaker("resolved", number=2)
    alone = alert(1, id="alone")
    await desk.tell(opened)
    await desk.tell(alone, closed)
    endpoint.requests.clear()
    await desk.try_again()
    assert endpoint.ids == [opened.id, "alone", closed.id]
