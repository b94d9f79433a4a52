"""PagerDuty, Slack and Apprise: what they are sent."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from headgate.model.alert import Alert, Status
from headgate.model.channels import PagerDutyChannel
from headgate.model.errors import ConfigurationError
from headgate.model.notifier import NotifierSettings
from headgate.notifier.outgoing import single
from headgate.notifier.pagerduty import bounded, events
from tests.notifier.site import Endpoint, Site, alert, crossing, webhook

KEY = "HEADGATE_TEST_KEY"


async def pagerduty(desk: Site, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Endpoint:
    endpoint = Endpoint(path="/v2/enqueue")
    monkeypatch.setenv(KEY, "hunter2")
    url = await desk.serve(endpoint.app())
    channel = {"kind": "pagerduty", "url": url, "secret_env": KEY}
    await desk.apply(channels={"pager": channel}, **settings)
    return endpoint


async def a_group_is_open(desk: Site, endpoint: Endpoint, count: int) -> tuple[str, list[Alert]]:
    """Tell of many tenants at once; return their incident, and what says that each is over."""
    tenants = [f"t{n:02}" for n in range(count)]
    await desk.tell(*(crossing(one) for one in tenants))
    (trigger,) = endpoint.bodies
    endpoint.requests.clear()
    return trigger["dedup_key"], [crossing(one, status="resolved", sequence=2) for one in tenants]


async def test_an_incident_begins_and_ends_by_one_key(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, dashboard_url="https://headgate.example")
    await desk.tell(crossing("acme", 100))
    await desk.tell(crossing("acme", status="resolved", sequence=2))
    trigger, resolve = endpoint.bodies
    assert trigger == {
        "routing_key": "hunter2",
        "event_action": "trigger",
        "dedup_key": "quota.threshold/tenant/acme/scan",
        "client": "Headgate",
        "links": [{"href": "https://headgate.example/tenants/acme", "text": "Dashboard"}],
        "payload": {
            "summary": "acme:  100 % of scan in use",
            "source": "tenant/acme/scan",
            "severity": "critical",
            "timestamp": "2027-01-15T08:00:00.000Z",
            "class": "quota.threshold",
            "custom_details": {
                "text": "100 of 100 scan are held\n"
                "What can be done: Raise its max_active, or wait.\n"
                "Since 2027-01-15 08:00:00 UTC\n"
                "Dashboard: https://headgate.example/tenants/acme"
            },
        },
    }
    assert resolve == {
        "routing_key": "hunter2",
        "event_action": "resolve",
        "dedup_key": "quota.threshold/tenant/acme/scan",
    }


async def test_a_group_is_one_incident_that_ends_with_the_last_of_it(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch)
    tenants = [f"t{n}" for n in range(8)]
    await desk.tell(*(crossing(one) for one in tenants))
    (trigger,) = endpoint.bodies
    assert trigger["dedup_key"].startswith("group:")
    assert trigger["payload"]["summary"] == "8 tenants: near or at their quota"
    for tenant in tenants[:-1]:
        await desk.tell(crossing(tenant, status="resolved", sequence=2))
    ended = [event["dedup_key"] for event in endpoint.bodies[1:]]
    assert trigger["dedup_key"] not in ended
    await desk.tell(crossing(tenants[-1], status="resolved", sequence=2))
    assert endpoint.bodies[-1]["dedup_key"] == trigger["dedup_key"]
    assert len(endpoint.requests) == 1 + 8
    assert {event["event_action"] for event in endpoint.bodies[1:]} == {"resolve"}


async def test_a_resend_of_what_is_over_ends_its_incident(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch)
    group, over = await a_group_is_open(desk, endpoint, 8)
    await desk.tell(*over)
    assert group in [event["dedup_key"] for event in endpoint.bodies]
    before = len(endpoint.requests)
    await desk.again(over[3].id)
    assert [(one["event_action"], one["dedup_key"]) for one in endpoint.bodies[before:]] == [
        ("resolve", group),
    ]


async def test_a_group_of_which_all_was_sent_again_alone_ends_as_well(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    group, over = await a_group_is_open(desk, endpoint, 8)
    for one in over:
        await desk.again(crossing(str(one.tenant)).id)
    endpoint.requests.clear()
    await desk.database.execute("UPDATE alert_attempt SET at = at - interval '61 s'")
    await desk.tell(*over)
    ended = [event["dedup_key"] for event in endpoint.bodies]
    assert {event["event_action"] for event in endpoint.bodies} == {"resolve"}
    assert sorted(ended) == sorted([group, *(one.key for one in over)])


@pytest.mark.parametrize("kind", ["pagerduty", "alertmanager"])
async def test_what_is_over_begins_no_incident_when_it_is_sent_again(
    desk: Site, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    endpoint = Endpoint(path="/v2/enqueue" if kind == "pagerduty" else "/api/v2/alerts")
    chat = Endpoint()
    monkeypatch.setenv(KEY, "hunter2")
    url = await desk.serve(endpoint.app())
    await desk.apply(
        channels={
            "pager": {"kind": kind, "url": url, "secret_env": KEY},
            "chat": webhook(await desk.serve(chat.app())),
        }
    )
    fires, over = crossing("acme"), crossing("acme", status="resolved", sequence=2)
    await desk.tell(fires)
    await desk.again(fires.id)
    assert len(endpoint.requests) == 2, "as long as it lasts it is the same incident"
    await desk.tell(over)
    told = len(endpoint.requests)
    with pytest.raises(ConfigurationError) as refusal:
        await desk.again(fires.id)
    assert str(refusal.value) == (
        f"{fires.id} is over since 2027-01-15 08:00:00 UTC, and pager would begin an incident that "
        f"nobody ends: send its end again ({over.id}), or name another channel"
    )
    await desk.again(over.id)
    assert len(endpoint.requests) == told + 1
    # It has begun anew, so that it has not ended.
    await desk.tell(crossing("acme", sequence=3))
    await desk.again(crossing("acme", sequence=3).id)
    assert len(endpoint.requests) == told + 3
    # And what was said of the time before, or when it was less bad, does not take its place.
    await desk.tell(crossing("acme", level=100, sequence=4))
    told = len(endpoint.requests)
    for old in (fires, over, crossing("acme", sequence=3)):
        with pytest.raises(ConfigurationError, match=r"scan:1:4:quota.threshold has been told of"):
            await desk.again(old.id)
    await desk.again(crossing("acme", level=100, sequence=4).id)
    assert len(endpoint.requests) == told + 1


async def test_what_ended_long_ago_is_not_ended_again(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    tenants = [f"t{n}" for n in range(8)]
    ended = []
    for sequence in (1, 3, 5):
        await desk.tell(*(crossing(one, sequence=sequence) for one in tenants))
        begun = endpoint.bodies[-1]["dedup_key"]
        endpoint.requests.clear()
        over = [crossing(one, status="resolved", sequence=sequence + 1) for one in tenants]
        await desk.tell(*over)
        assert [one["dedup_key"] for one in endpoint.bodies] == [begun]
        ended.append(begun)
    assert len({*ended}) == 3


async def test_what_was_over_and_begins_again_in_one_message_is_two_incidents(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(path="/v2/enqueue")
    monkeypatch.setenv(KEY, "hunter2")
    channel = {"kind": "pagerduty", "url": await desk.serve(endpoint.app()), "secret_env": KEY}
    await desk.apply(channels={"pager": {**channel, "max_per_minute": 2}})

    def breakers(turn: int, status: Status) -> list[Alert]:
        return [
            alert(n, id=f"{n}-{turn}", key=f"breaker.opened/scanner-{n}", status=status)
            for n in range(6)
        ]

    await desk.tell(*breakers(1, "firing"))
    alone, first = [event["dedup_key"] for event in endpoint.bodies]
    assert alone == "breaker.opened/scanner-0"
    await desk.after(61)
    endpoint.requests.clear()
    await desk.tell(*breakers(2, "resolved"), *breakers(3, "firing"))
    told = [(event["event_action"], event["dedup_key"]) for event in endpoint.bodies]
    *ended, (action, second) = told
    assert ended == [("resolve", alone), ("resolve", first)]
    assert (action, second == first) == ("trigger", False)
    await desk.after(61)
    endpoint.requests.clear()
    await desk.tell(*breakers(4, "resolved"))
    told = [(event["event_action"], event["dedup_key"]) for event in endpoint.bodies]
    assert told[-1] == ("resolve", second)
    assert first not in [key for _, key in told]


async def test_the_end_that_a_channel_never_took_does_not_keep_an_incident_open(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    group, over = await a_group_is_open(desk, endpoint, 8)
    endpoint.answers = [503]
    await desk.tell(*over[:7])
    await desk.after(86_400 * 3 + 1)
    assert [*(await desk.states("pager")).values()].count("abandoned") == 7
    await desk.tell(over[7])
    await desk.try_again()
    assert endpoint.bodies[-1]["dedup_key"] == group


async def test_500_tenants_that_recover_end_two_incidents_with_two_requests(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    tenants = [f"t{n:03}" for n in range(500)]
    await desk.tell(*(crossing(one) for one in tenants))
    begun = [event["dedup_key"] for event in endpoint.bodies]
    endpoint.requests.clear()
    await desk.tell(*(crossing(one, status="resolved", sequence=2) for one in tenants))
    assert [event["dedup_key"] for event in endpoint.bodies] == begun
    assert len(begun) == 2


async def test_who_had_an_incident_of_its_own_has_it_ended_beside_the_group(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    alone = crossing("alone")
    await desk.tell(alone)
    endpoint.requests.clear()
    group, over = await a_group_is_open(desk, endpoint, 8)
    await desk.tell(*over, crossing("alone", status="resolved", sequence=2))
    assert [event["dedup_key"] for event in endpoint.bodies] == [alone.key, group]


async def several_groups_are_open(
    desk: Site, endpoint: Endpoint, count: int
) -> tuple[list[str], list[Alert]]:
    """Open so many groups of six; return their incidents, and what ends one after the other."""
    groups, over = [], []
    for number in range(count):
        tenants = [f"t{number:02}-{n}" for n in range(6)]
        await desk.tell(*(crossing(one) for one in tenants))
        groups.append(endpoint.bodies[-1]["dedup_key"])
        over += [crossing(one, status="resolved", sequence=2) for one in tenants]
    endpoint.requests.clear()
    return groups, over


async def test_pagerduty_goes_on_with_the_event_where_it_was_cut_short(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    groups, over = await several_groups_are_open(desk, endpoint, 12)
    limited = Response(status_code=429, headers={"retry-after": "60"})
    endpoint.answers = [*[202] * 9, limited]
    await desk.tell(*over)
    assert len(endpoint.requests) == 10
    await desk.try_again()
    keys = [event["dedup_key"] for event in endpoint.bodies]
    assert keys[9] == keys[10]
    assert list(dict.fromkeys(keys)) == groups
    assert len(keys) - 1 == 12
    assert {*(await desk.states("pager")).values()} == {"delivered"}


async def test_what_was_cut_short_is_whole_for_a_channel_of_another_kind(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    _, over = await several_groups_are_open(desk, endpoint, 3)
    endpoint.answers = [202, 503]
    await desk.tell(*over)
    chat = Endpoint()
    await desk.apply(
        channels={"pager": {"kind": "slack", "url": f"{await desk.serve(chat.app())}/alerts"}}
    )
    await desk.notifier.work()
    assert len(chat.requests) == 1
    assert {*(await desk.states("pager")).values()} == {"delivered"}


async def test_a_long_message_is_not_sent_by_two_workers_side_by_side(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []

    async def claimed(request: Request) -> Response:
        left.append(
            await desk.database.fetch_value(
                "SELECT extract(epoch FROM claimed_until - now())::float FROM channel"
            )
        )
        # As if each request took as long as it may.
        await desk.database.execute(
            "UPDATE channel SET claimed_until = claimed_until - interval '20 s'"
        )
        return Response(status_code=202)

    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    _, over = await several_groups_are_open(desk, endpoint, 13)
    endpoint.answers = [claimed] * 13
    await desk.tell(*over)
    assert len(left) == 13
    assert min(left) > 20


async def test_a_worker_that_has_lost_its_channel_sends_nothing_more(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(request: Request) -> Response:
        await desk.database.execute("UPDATE channel SET claimed_by = 'another'")
        return Response(status_code=202)

    endpoint = await pagerduty(desk, monkeypatch, group_interval_ms=0)
    _, over = await several_groups_are_open(desk, endpoint, 13)
    endpoint.answers = [202, 202, lost]
    await desk.tell(*over)
    assert len(endpoint.requests) == 3
    await desk.database.execute("UPDATE channel SET claimed_until = now()")
    await (await desk.another()).work()
    keys = [event["dedup_key"] for event in endpoint.bodies]
    # The one that nobody could say was taken comes twice, and none is left out.
    assert keys[2] == keys[3]
    assert len({*keys}) == len(keys) - 1 == 13


async def test_a_wrong_key_of_pagerduty_is_told_at_once_and_once(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, other = Endpoint(path="/v2/enqueue", answers=[400] * 3), Endpoint()
    monkeypatch.setenv(KEY, "revoked")
    url = await desk.serve(endpoint.app())
    await desk.apply(
        channels={
            "pager": {"kind": "pagerduty", "url": url, "secret_env": KEY},
            "chat": webhook(await desk.serve(other.app())),
        }
    )
    await desk.tell(alert(1), alert(2))
    await desk.try_again()
    told = [event["data"] for event in other.bodies if event["data"]["kind"] == "channel.refusing"]
    assert [one["status"] for one in told] == ["firing"]
    assert told[0]["title"] == "Channel pager refuses what it is sent"
    assert f"1 message refused: {url} answered 400." in told[0]["text"]
    # It works again once nothing waits that was refused.
    await desk.try_again()
    told = [event["data"] for event in other.bodies if event["data"]["kind"] == "channel.refusing"]
    assert [one["status"] for one in told] == ["firing", "resolved"]
    assert told[0]["key"] == told[1]["key"]
    assert {*(await desk.states("pager")).values()} == {"delivered"}


def test_no_message_is_nothing_for_pagerduty() -> None:
    channel = PagerDutyChannel(kind="pagerduty", secret_env=KEY)
    fires, over = crossing("acme"), crossing("acme", status="resolved")
    made = [single(one, channel, NotifierSettings()) for one in (fires, over)]
    assert [[event["event_action"] for event in events(one)] for one in made] == [
        ["trigger"],
        ["resolve"],
    ]
    assert len({event["dedup_key"] for one in made for event in events(one)}) == 1


def test_a_key_that_is_too_long_stays_one_of_its_own() -> None:
    assert bounded("x" * 255) == "x" * 255
    long, longer = bounded("x" * 256), bounded("x" * 257)
    assert len(long) == len(longer) == 255
    assert long != longer


async def test_a_message_as_slack_shows_it(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(path="/services/hunter2")
    monkeypatch.setenv("HEADGATE_TEST_URL", f"{await desk.serve(endpoint.app())}/services/hunter2")
    await desk.apply(
        channels={"chat": {"kind": "slack", "url_env": "HEADGATE_TEST_URL"}},
        dashboard_url="https://headgate.example",
    )
    await desk.tell(alert(1, text="<!channel> & 5 calls failed", advice="Look at its log."))
    await desk.tell(crossing("acme", status="resolved"))
    first, second = endpoint.bodies
    assert first == {
        "text": "[critical] scanner-1 is cut off",
        "attachments": [
            {
                "fallback": "[critical] scanner-1 is cut off",
                "color": "#c0392b",
                "text": "&lt;\u200b!channel&gt; &amp; 5 calls failed\n"
                "*What can be done:* Look at its log.\n"
                "<https://headgate.example/downstreams/scanner-1|Dashboard>",
                "footer": "downstream/scanner-1 · since 2027-01-15 08:00:00 UTC",
                "mrkdwn_in": ["text"],
            }
        ],
    }
    assert second["text"].startswith("[resolved] acme")


async def test_a_secret_address_from_a_file(desk: Site, tmp_path: Path) -> None:
    endpoint, file = Endpoint(path="/x"), tmp_path / "url"
    file.write_text(f"{await desk.serve(endpoint.app())}/x\n")
    await desk.apply(channels={"chat": {"kind": "slack", "url_file": str(file)}})
    await desk.tell(alert(1))
    assert len(endpoint.requests) == 1
    file.unlink()
    await desk.tell(alert(2))
    assert (await desk.attempts("chat"))[-1] == (
        "misconfigured",
        None,
        f"channel chat: where the governance worker runs, {file} cannot be read: "
        "No such file or directory",
    )


async def test_names_of_tenants_call_nobody(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint()
    url = f"{await desk.serve(endpoint.app())}/alerts"
    await desk.apply(channels={"chat": {"kind": "slack", "url": url}})
    names = "@channel @here @all @Everyone ops@example.com @ada <@U1> <@&7> <!channel> x@all"
    told = {"title": names, "text": names, "advice": names, "subject": "downstream/@all"}
    await desk.tell(alert(1, **told))
    said = json.dumps(endpoint.bodies, ensure_ascii=False)
    for call in ("@channel", "@here", "@all", "@Everyone", "@ada", "@U1", "@&", "<!", "<@"):
        assert call not in said
    assert "ops@example.com" in said
    assert "@\u200bchannel" in said


needs_apprise = pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="headgate[apprise] is not installed"
)
of_apprise = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""What it imports is its own affair."""


@needs_apprise
@of_apprise
async def test_apprise_delivers(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(path="/notify", answers=[200, 500, 200])
    url = (await desk.serve(endpoint.app())).replace("http://", "json://")
    monkeypatch.setenv("HEADGATE_TEST_URL", f"{url}/notify")
    channel = {"kind": "apprise", "url_env": "HEADGATE_TEST_URL", "title": "$severity: $title"}
    await desk.apply(channels={"any": channel})
    await desk.tell(alert(1))
    body = json.loads(endpoint.requests[0][1])
    assert (body["title"], body["type"]) == ("critical: scanner-1 is cut off", "failure")
    assert "5 calls in a row failed" in body["message"]
    await desk.tell(alert(2))
    assert (await desk.attempts("any"))[-1][2] == "channel any: Apprise could not deliver it"
    await desk.try_again()
    assert {*(await desk.states("any")).values()} == {"delivered"}


@needs_apprise
@of_apprise
async def test_apprise_calls_nobody_either(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord calls people by ``<@1>`` and roles by ``<@&7>``, Slack a channel by ``<!here>``."""
    endpoint = Endpoint(path="/notify")
    url = (await desk.serve(endpoint.app())).replace("http://", "json://")
    monkeypatch.setenv("HEADGATE_TEST_URL", f"{url}/notify")
    await desk.apply(channels={"any": {"kind": "apprise", "url_env": "HEADGATE_TEST_URL"}})
    await desk.tell(alert(1, title="<@1> @ada", text="<@&7> <!here> ops@example.com"))
    body = json.loads(endpoint.requests[0][1])
    said = f"{body['title']} {body['message']}"
    for call in ("<@1", "@ada", "@&", "<!"):
        assert call not in said
    assert "ops@example.com" in said


@needs_apprise
@of_apprise
async def test_an_address_that_apprise_does_not_know_is_not_shown(
    desk: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HEADGATE_TEST_URL", "nosuch://hunter2")
    await desk.apply(channels={"any": {"kind": "apprise", "url_env": "HEADGATE_TEST_URL"}})
    with pytest.raises(ConfigurationError) as refusal:
        await desk.notifier.check()
    assert "hunter2" not in caplog.text
    assert str(refusal.value) == (
        "notifier.channels.any: HEADGATE_TEST_URL holds an address that Apprise does not know"
    )


async def test_without_apprise_it_says_what_to_install(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "apprise" else find(name)
    )
    await desk.apply(channels={"any": {"kind": "apprise", "url_env": "HEADGATE_TEST_URL"}})
    with pytest.raises(ConfigurationError, match=r"pip install 'headgate\[apprise\]'"):
        await desk.notifier.check()
    await desk.tell(alert(1))
    assert (await desk.attempts("any"))[0][0] == "misconfigured"


async def test_all_that_channels_lack_is_told_at_once(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_TEST_URL", "http://example.com/hunter2")
    monkeypatch.setenv("HEADGATE_TEST_METADATA", "https://169.254.169.254/hunter2")
    monkeypatch.setenv("HEADGATE_TEST_PRIVATE", "https://10.1.2.3/hunter2")
    await desk.apply(
        channels={
            "a": webhook("https://h", secret_envs=["NOT_THERE"]),
            "b": {"kind": "pagerduty", "secret_file": "/not/there"},
            "c": {"kind": "slack", "url_env": "HEADGATE_TEST_URL"},
            "d": {"kind": "alertmanager", "url": "https://h", "secret_env": "NOT_THERE_EITHER"},
            "e": {"kind": "slack", "url_env": "HEADGATE_TEST_METADATA"},
            "f": {"kind": "slack", "url_env": "HEADGATE_TEST_PRIVATE"},
            "g": {"kind": "slack", "url_env": "HEADGATE_TEST_PRIVATE", "allow_private": True},
        }
    )
    with pytest.raises(ConfigurationError) as refusal:
        await desk.notifier.check()
    said = str(refusal.value).splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "the environment lacks NOT_THERE",
        "/not/there cannot be read: No such file or directory",
        "HEADGATE_TEST_URL goes over http to another machine: write https, or allow_http: true "
        "where the network between is trusted",
        "the environment lacks NOT_THERE_EITHER",
        "HEADGATE_TEST_METADATA is at 169.254.169.254, which is no address of a service: refused",
        "HEADGATE_TEST_PRIVATE is at 10.1.2.3, in a private network: refused without "
        "allow_private: true",
    ]
    assert [line.partition(": ")[0] for line in said] == [
        f"notifier.channels.{name}" for name in "abcdef"
    ]
