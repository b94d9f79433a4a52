"""Alerts as they are taken over: none is lost, and what has an id never says something else."""

import asyncio
from typing import Any

import pytest

from headgate.alerts.summary import summarise
from headgate.model.alert import Alert
from headgate.notifier.notifier import Notifier
from headgate.store.messages import MessageStore
from headgate.store.untold import UntoldStore
from tests.notifier.site import Endpoint, Site, alert, crossing, webhook


async def test_another_content_under_the_same_id_is_told_under_another(
    desk: Site, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    first, other = crossing("acme"), crossing("acme", level=100)
    assert first.id == other.id
    for one in (first, other, first, other):
        await desk.tell(one)
    assert len(endpoint.ids) == len({*endpoint.ids}) == 2
    told = [event["data"] for event in endpoint.bodies]
    assert [one["title"] for one in told] == [first.title, other.title]
    assert told[0]["id"] == first.id
    assert told[1]["id"] == endpoint.ids[1]
    assert told[1]["id"].endswith(":quota.threshold")
    said = [record.getMessage() for record in caplog.records if "something else" in record.message]
    assert said == [f"alert {first.id} is there and says something else; kept as {told[1]['id']}"]


async def test_an_alert_right_after_channels_were_applied_is_told_to_them(desk: Site) -> None:
    endpoint = Endpoint()
    early = await desk.apply()
    await early.take([alert(1)])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await early.take([alert(2)])
    await early.work()
    assert endpoint.ids == [alert(2).id]


async def test_several_workers_take_the_same_two_and_tell_each_once(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    both = [crossing("acme"), crossing("acme", level=100)]
    workers = [desk.notifier, *[await desk.another() for _ in range(3)]]

    async def take(worker: Notifier, one: Alert) -> None:
        await worker.take([one])

    await asyncio.gather(*(take(worker, one) for worker in workers for one in both))
    await desk.notifier.work()
    told = [one["id"] for body in endpoint.bodies for one in _told_by(body)]
    assert len(told) == len({*told}) == 2


async def test_what_was_sent_again_meanwhile_is_not_put_into_a_group(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    many = [crossing(f"t{n}") for n in range(8)]
    await desk.notifier.take(many)
    waiting = await UntoldStore(desk.database).waiting("ops", 100)
    await desk.again(many[3].id)
    group = {"id": "group:x", "form": "group", "alerts": []}
    assert not await MessageStore(desk.database).add(
        "ops", group, "topic", [one.alert.id for one in waiting]
    )
    await desk.notifier.work()
    told = [
        [one["id"] for one in event["data"].get("alerts", [event["data"]])]
        for event in endpoint.bodies
    ]
    assert sorted(len(ids) for ids in told) == [1, 7]
    assert sorted(id for ids in told for id in ids) == sorted(one.id for one in many)


async def test_sending_again_while_it_is_composed_and_sent_loses_nothing(desk: Site) -> None:
    endpoint = Endpoint()
    channel = webhook(await desk.serve(endpoint.app()), max_per_minute=1_000)
    await desk.apply(channels={"ops": channel})
    workers = [desk.notifier, await desk.another()]
    for number in range(30):
        one = alert(number)
        await desk.notifier.take([one])
        await asyncio.gather(desk.again(one.id), *(worker.work() for worker in workers))
    await desk.notifier.work()
    assert {*endpoint.ids} == {alert(number).id for number in range(30)}
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    endpoint.require_one_content_for_each_id()


@pytest.mark.parametrize("kind", ["snapshot.lag", "notifier.failing", "alerts.collapsed"])
async def test_what_is_the_operators_affair_does_not_go_to_a_tenant(desk: Site, kind: str) -> None:
    own, ops = Endpoint(), Endpoint()
    await desk.apply(
        channels={
            "acme-own": webhook(await desk.serve(own.app()), tenant="acme"),
            "ops": webhook(await desk.serve(ops.app())),
        }
    )
    of_house = crossing("acme").model_copy(update={"kind": kind, "subject": "tenant/acme"})
    await desk.tell(of_house)
    assert (len(own.requests), len(ops.requests)) == (0, 1)


@pytest.mark.parametrize(
    "kind",
    [
        *("quota.threshold", "quota.denied", "guarantee.unmet", "permits.reclaimed"),
        *("override.expiring", "throttle.expiring"),
    ],
)
async def test_what_is_about_its_quota_does(desk: Site, kind: str) -> None:
    own = Endpoint()
    channel = webhook(await desk.serve(own.app()), tenant="acme")
    await desk.apply(channels={"acme-own": channel})
    of_quota = crossing("acme").model_copy(update={"kind": kind})
    await desk.tell(of_quota, alert(1), crossing("globex"))
    assert own.ids == [of_quota.id]


async def test_of_what_was_left_out_a_tenant_hears_its_own(desk: Site) -> None:
    own, ops = Endpoint(), Endpoint()
    await desk.apply(
        channels={
            "acme-own": webhook(await desk.serve(own.app()), tenant="acme"),
            "ops": webhook(await desk.serve(ops.app())),
        }
    )
    lost = [crossing("acme"), crossing("globex"), crossing("globex", level=100)]
    summary = summarise(lost, "pool/scans:1:9:alerts.collapsed", "no room", lost[0].at_ms)
    await desk.tell(summary)
    await desk.tell(summary)  # the workflow does not know whether it was heard
    assert ops.ids == [summary.id]
    assert own.ids == ["tenant/acme/pool/scans:1:9:quota.collapsed"]
    assert own.bodies[0]["data"]["title"] == "acme: 1 alert not delivered one by one"
    assert b"globex" not in own.requests[0][1]
    await desk.again(own.ids[0])
    assert len(own.ids) == 2


async def test_what_was_applied_before_mistakes_were_refused_goes_on(desk: Site) -> None:
    """A release that knows of more mistakes must not silence all channels at once."""
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.database.execute("DELETE FROM configuration WHERE kind = 'tenant'")
    await desk.database.execute(
        "UPDATE configuration SET spec = spec || $1 || jsonb_build_object('channels', "
        "spec->'channels' || $2) WHERE name = 'notifier'",
        {"routes": [{"kinds": ["braker.*"], "channels": ["ops"]}], "default": ["ops"]},
        {"own": webhook("https://acme.example", tenant="amce")},
    )
    desk.notifier = await desk.another()
    await desk.tell(alert(1))
    assert endpoint.ids == [alert(1).id]


async def test_what_a_process_of_an_older_release_has_composed_is_sent(desk: Site) -> None:
    """It goes on for a while beside new ones, and does not write down what they look for."""
    endpoint = Endpoint(answers=[503])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(alert(1))
    await desk.database.execute("DELETE FROM alert_in_message")
    desk.notifier = await desk.another()
    await desk.try_again()
    assert endpoint.ids == [alert(1).id] * 2
    assert await desk.states("ops") == {alert(1).id: "delivered"}


def _told_by(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an event tells of."""
    data = body["data"]
    return [*data.get("alerts", [data])]
