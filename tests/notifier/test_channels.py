"""PagerDuty, Slack and Apprise: what they are sent."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from headgate.model.errors import ConfigurationError
from headgate.notifier.pagerduty import bounded
from tests.notifier.site import Endpoint, Site, alert, crossing, webhook

KEY = "HEADGATE_TEST_KEY"


async def pagerduty(desk: Site, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Endpoint:
    endpoint = Endpoint(path="/v2/enqueue")
    monkeypatch.setenv(KEY, "hunter2")
    url = await desk.serve(endpoint.app())
    channel = {"kind": "pagerduty", "url": url, "secret_env": KEY}
    await desk.apply(channels={"pager": channel}, **settings)
    return endpoint


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
        "links": [{"href": "https://headgate.example", "text": "Dashboard"}],
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
                "Dashboard: https://headgate.example"
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
    assert {event["event_action"] for event in endpoint.bodies[1:]} == {"resolve"}


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
                "text": "&lt;!channel&gt; &amp; 5 calls failed\n"
                "*What can be done:* Look at its log.\n"
                "<https://headgate.example|Dashboard>",
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
        f"channel chat: {file} cannot be read: No such file or directory",
    )


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
    await desk.apply(
        channels={
            "a": webhook("https://h", secret_envs=["NOT_THERE"]),
            "b": {"kind": "pagerduty", "secret_file": "/not/there"},
            "c": {"kind": "slack", "url_env": "HEADGATE_TEST_URL"},
            "d": {"kind": "alertmanager", "url": "https://h", "secret_env": "NOT_THERE_EITHER"},
        }
    )
    with pytest.raises(ConfigurationError) as refusal:
        await desk.notifier.check()
    said = str(refusal.value).splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "the environment of the governance worker lacks NOT_THERE",
        "/not/there cannot be read: No such file or directory",
        "HEADGATE_TEST_URL goes over http to another machine: write https, or allow_http: true "
        "where the network between is trusted",
        "the environment of the governance worker lacks NOT_THERE_EITHER",
    ]
    assert [line.partition(": ")[0] for line in said] == [
        f"notifier.channels.{name}" for name in "abcd"
    ]
