"""A message that a channel does not like: what it holds up, and what it does not."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from headgate.model.channel_alerts import GIVEN_UP, REFUSING
from tests.notifier.site import Answer, Endpoint, Site, alert, crossing, webhook

AT_ONCE = {"group_interval_ms": 0, "group_over": 1}


def refusing(is_refused: Callable[[list[str]], bool], status: int) -> Answer:
    """An answer that looks at the subjects of a message."""

    async def answer(request: Request) -> Response:
        subjects = subjects_of(json.loads(await request.body()))
        return Response(status_code=status if is_refused(subjects) else 204)

    return answer


def subjects_of(event: Any) -> list[str]:
    data = event["data"]
    return [one["subject"] for one in data.get("alerts", [data])]


def taken(endpoint: Endpoint, is_refused: Callable[[list[str]], bool]) -> list[str]:
    """The subjects of all that was taken, sorted."""
    told = [subjects_of(event) for event in endpoint.bodies]
    return sorted(one for subjects in told if not is_refused(subjects) for one in subjects)


async def test_what_waits_for_a_refused_message_goes_into_no_message_with_others(
    desk: Site,
) -> None:
    endpoint = Endpoint(answers=[422])
    await desk.apply(channels={"ops": webhook(await desk.serve(endpoint.app()))}, **AT_ONCE)
    await desk.tell(crossing("a"))
    await desk.tell(*(crossing(name, 90, sequence=2) for name in "abc"))
    assert subjects_of(endpoint.bodies[-1]) == ["tenant/b/scan", "tenant/c/scan"]
    assert (await desk.states("ops"))[crossing("a", sequence=2).id] == "pending"
    await desk.tell(*(crossing(name, 100, sequence=3) for name in "bc"))
    assert len(endpoint.requests) == 3
    # What comes after it follows once it is taken.
    await desk.try_again()
    assert [subjects_of(event) for event in endpoint.bodies[3:]] == [["tenant/a/scan"]] * 2
    assert endpoint.ids[3:] == [crossing("a").id, crossing("a", sequence=2).id]
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    endpoint.require_one_content_for_each_id()


async def test_a_summary_that_is_made_with_it_is_divided(desk: Site) -> None:
    endpoint = Endpoint(answers=[422])
    channel = webhook(await desk.serve(endpoint.app()), max_per_minute=2)
    await desk.apply(channels={"ops": channel})
    later = alert(4, subject=alert(1).subject)
    await desk.tell(alert(1), later, alert(2), alert(3))
    first, second = endpoint.bodies
    assert subjects_of(first) == [alert(1).subject]
    assert subjects_of(second) == [alert(2).subject, alert(3).subject]
    await desk.database.execute("UPDATE alert_attempt SET at = at - interval '61 s'")
    await desk.try_again()
    assert endpoint.ids[2:] == [alert(1).id, later.id]
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    endpoint.require_one_content_for_each_id()


async def test_a_group_that_is_too_long_comes_in_parts(desk: Site) -> None:
    def is_long(subjects: list[str]) -> bool:
        return len(subjects) > 3

    endpoint, other = Endpoint(answers=[refusing(is_long, 413)] * 20), Endpoint()
    await desk.apply(
        channels={
            "ops": webhook(await desk.serve(endpoint.app())),
            "chat": webhook(await desk.serve(other.app())),
        },
    )
    alerts = [crossing(f"t{n:02}") for n in range(16)]
    await desk.tell(*alerts)
    assert taken(endpoint, is_long) == sorted(one.subject for one in alerts)
    assert [len(subjects_of(event)) for event in endpoint.bodies[:5]] == [16, 8, 4, 2, 2]
    assert {*(await desk.states("ops")).values()} == {"delivered"}
    endpoint.require_one_content_for_each_id()
    # All has been told, so nobody is woken for it.
    assert [event["data"]["kind"] for event in other.bodies] == ["quota.threshold"]


async def test_an_alert_that_is_not_liked_does_not_take_its_group_with_it(desk: Site) -> None:
    def is_bad(subjects: list[str]) -> bool:
        return "tenant/t17/scan" in subjects

    endpoint, other = Endpoint(answers=[refusing(is_bad, 400)] * 90), Endpoint()
    await desk.apply(
        channels={
            "ops": webhook(await desk.serve(endpoint.app())),
            "chat": webhook(await desk.serve(other.app())),
        },
    )
    alerts = [crossing(f"t{n:02}") for n in range(40)]
    await desk.tell(*alerts)
    # The smallest parts follow when they are tried again.
    await desk.try_again()
    await desk.database.execute("UPDATE alert_attempt SET at = at - interval '61 s'")
    for _ in range(3):
        await desk.try_again()
    good = sorted(one.subject for one in alerts if one.subject != "tenant/t17/scan")
    assert taken(endpoint, is_bad) == good
    states = await desk.states("ops")
    assert [id for id, state in states.items() if state != "delivered"] == [crossing("t17").id]
    told = [event["data"] for event in other.bodies if event["data"]["kind"] == REFUSING]
    assert [one["status"] for one in told] == ["firing"]
    endpoint.require_one_content_for_each_id()


async def test_a_receiver_that_likes_nothing_is_not_flooded_when_it_is_put_right(
    desk: Site,
) -> None:
    endpoint = Endpoint(answers=[400] * 7)
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(*(crossing(f"t{n:02}") for n in range(40)))
    assert [len(subjects_of(event)) for event in endpoint.bodies] == [40, 20, 10, 10, 20, 10, 10]
    endpoint.requests.clear()
    await desk.try_again()
    assert [len(subjects_of(event)) for event in endpoint.bodies] == [10] * 4
    assert {*(await desk.states("ops")).values()} == {"delivered"}


async def test_a_refused_group_is_given_up_after_three_days_and_holds_up_nobody_else(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_bad(subjects: list[str]) -> bool:
        return "tenant/t0/scan" in subjects

    monkeypatch.setenv("HEADGATE_TEST_KEY", "hunter2")
    pager, chat = Endpoint(path="/v2/enqueue", answers=[400]), Endpoint()
    url = await desk.serve(pager.app())
    await desk.apply(
        channels={
            "pager": {"kind": "pagerduty", "url": url, "secret_env": "HEADGATE_TEST_KEY"},
            "chat": webhook(await desk.serve(chat.app())),
        },
        **AT_ONCE,
    )
    group = [crossing(f"t{n}") for n in range(8)]
    await desk.tell(*group)
    assert len(pager.requests) == 1, "an incident is not divided"
    others = [crossing(name, sequence=2) for name in ("t0", "new", "other")]
    await desk.tell(*others)
    assert pager.bodies[-1]["payload"]["summary"] == "2 tenants: near or at their quota"
    assert (await desk.states("pager"))[others[0].id] == "pending"
    await desk.after(3 * 86_400 + 1)
    states = await desk.states("pager")
    assert {states[one.id] for one in [*group, others[0]]} == {"abandoned"}
    told = [event["data"] for event in chat.bodies if event["data"]["kind"] == GIVEN_UP]
    assert sum(one["data"]["alerts"] for one in told) == 9
    assert "answered 400" in told[0]["text"]
    # Whose alerts were given up is told of what comes.
    await desk.tell(crossing("t0", 100, sequence=3))
    assert pager.bodies[-1]["payload"]["source"] == "tenant/t0/scan"


async def test_thousands_of_refused_messages_do_not_hide_what_comes(desk: Site) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.database.execute(
        "INSERT INTO alert_message (channel, id, form, topic, content, due_at, refused) "
        "SELECT 'ops', 'm' || n, 'alert', '', '{}'::jsonb, now() + interval '1 h', true "
        "FROM generate_series(1, 2500) n"
    )
    await desk.database.execute(
        "INSERT INTO alert_in_message (channel, message_id, alert_id, subject) "
        "SELECT 'ops', 'm' || n, 'm' || n, 's' || n FROM generate_series(1, 2500) n"
    )
    await desk.tell(alert(1), alert(2, subject="s1"))
    assert endpoint.ids == [alert(1).id]
