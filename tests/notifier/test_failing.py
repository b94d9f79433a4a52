"""What people are told of channels that do not take alerts: at once or after a while, and once."""

import asyncio
from typing import Any

import httpcore2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from headgate.model.alert import Alert
from headgate.model.audit import Order
from headgate.model.channel_alerts import FAILING, GIVEN_UP, REFUSING
from headgate.model.channels import SlackChannel, WebhookChannel
from headgate.model.errors import ConfigurationError
from headgate.notifier import by_apprise
from headgate.notifier.by_hand import enable_again, send_test
from headgate.notifier.failing import news
from headgate.notifier.notifier import Notifier, fingerprint
from headgate.notifier.posting import Poster
from headgate.store.channel_rows import ChannelState, Standing
from headgate.store.channels import ChannelStore
from headgate.store.database import Database
from headgate.store.untold import UntoldStore
from tests.notifier.site import SECRET, Endpoint, Site, alert, webhook

NOW_MS = 1_800_000_000_000
WORKS = ChannelState(False, False, None, None, None, 0, 0)


def failing(for_ms: int, disabled: bool = False) -> ChannelState:
    return ChannelState(
        is_disabled=disabled,
        is_waiting=True,
        failing_ms=for_ms,
        failing_since_ms=NOW_MS - for_ms,
        last_error="channel ops: https://h answered 503",
        failures=3,
        reminded_ms=0,
    )


def standing(state: ChannelState, told: list[Alert], **fields: Any) -> Standing:
    known = {one.kind: one for one in told if one.status == "firing"}
    usual: dict[str, Any] = {"refused": 0, "refusal": None, "given_up": []}
    return Standing(state=state, told=known, **{**usual, **fields})


def told_of(at: Standing, at_once: bool = False) -> list[Alert]:
    return news("ops", at, NOW_MS, after_ms=300_000, at_once=at_once)


def test_a_failure_is_told_after_a_while_and_once() -> None:
    assert told_of(standing(failing(299_999), [])) == []
    (told,) = told_of(standing(failing(300_000), []))
    assert told.title == "Channel ops does not take alerts"
    assert told.text.startswith("3 attempts in a row failed; the last: https://h answered 503.")
    assert told_of(standing(failing(400_000), [told])) == []
    (over,) = told_of(standing(WORKS, [told]))
    assert (over.key, over.status, over.since_ms) == (told.key, "resolved", told.since_ms)
    assert over.text.startswith("It did not for 5 min;")
    assert told_of(standing(WORKS, [])) == []


def test_what_does_not_pass_by_itself_is_told_at_once() -> None:
    (told,) = told_of(standing(failing(1), []), at_once=True)
    assert told.severity == "critical"


def test_that_it_is_disabled_is_told_though_it_was_known_to_fail() -> None:
    (told,) = told_of(standing(failing(300_000), []))
    (worse,) = told_of(standing(failing(400_000, disabled=True), [told]))
    assert worse.title == "Channel ops is disabled: its endpoint is gone"
    assert (worse.key, worse.status) == (told.key, "firing")
    assert told_of(standing(failing(500_000, disabled=True), [worse])) == []


def test_one_that_is_configured_no_more_does_not_go_on_failing() -> None:
    (told,) = told_of(standing(failing(300_000), []))
    (over,) = told_of(standing(failing(400_000), [told], is_configured=False))
    assert (over.title, over.status) == ("Channel ops is configured no more", "resolved")
    assert told_of(standing(failing(400_000), [], is_configured=False)) == []


def test_refusals_are_one_alert_until_none_waits() -> None:
    refused = {"refused": 1, "refusal": "channel ops: https://h answered 422"}
    (told,) = told_of(standing(WORKS, [], **refused))
    assert told.text.startswith("1 message refused: https://h answered 422.")
    assert told_of(standing(WORKS, [told], **{**refused, "refused": 7})) == []
    (over,) = told_of(standing(WORKS, [told]))
    assert (over.key, over.status) == (told.key, "resolved")


def test_what_lasts_is_told_again() -> None:
    refused: dict[str, Any] = {"refused": 2, "refusal": "channel ops: https://h answered 422"}
    first = told_of(standing(failing(300_000), [], **refused))
    assert [one.kind for one in first] == [FAILING, REFUSING]
    later = NOW_MS + 14_400_000

    def at(now_ms: int, state: ChannelState, **fields: Any) -> list[Alert]:
        known = standing(state, first, **fields)
        return news("ops", known, now_ms, after_ms=300_000, repeat_ms=14_400_000)

    assert at(later - 1, failing(1), **refused) == []
    again = at(later, failing(1), **refused)
    assert [one.title for one in again] == [
        "Still: Channel ops does not take alerts",
        "Still: Channel ops refuses what it is sent",
    ]
    assert again[0].text.endswith("It has been so for 4 h 5 min.")
    assert [(one.key, one.since_ms) for one in again] == [
        (one.key, one.since_ms or one.at_ms) for one in first
    ]
    assert not {one.id for one in first} & {one.id for one in again}
    # One that got worse, or is over, is told of once.
    assert len(at(later, failing(1, disabled=True), refused=0, refusal=None)) == 2
    assert [one.status for one in at(later, WORKS)] == ["resolved"] * 2
    assert at(later, failing(1), is_configured=False)[0].status == "resolved"


async def test_a_channel_that_is_gone_is_told_of_again_though_nothing_waits_for_it(
    desk: Site,
) -> None:
    gone, good = Endpoint(answers=[410]), Endpoint()
    await desk.channels(gone=await desk.serve(gone.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    await desk.database.execute("UPDATE delivery SET state = 'abandoned' WHERE channel = 'gone'")
    await desk.database.execute("UPDATE alert_message SET state = 'delivered'")
    await desk.database.execute(
        "UPDATE alert SET content = jsonb_set(content, '{at_ms}', "
        "to_jsonb((content->>'at_ms')::bigint - 14400000)) WHERE kind = $1",
        FAILING,
    )
    desk.notifier = await desk.another()
    await desk.notifier.work()
    told = [event["data"]["title"] for event in good.bodies if event["data"]["kind"] == FAILING]
    assert told[1:] == ["Still: Channel gone is disabled: its endpoint is gone"]
    await (await desk.another()).work()
    assert len(gone.requests) == 1
    assert len(good.requests) == 3


def test_alerts_of_the_same_moment_have_ids_of_their_own() -> None:
    given_up = [(2, "answered 503"), (1, "not reached")]
    told = told_of(standing(failing(300_000), [], given_up=given_up))
    assert len(told) == len({one.id for one in told}) == 3
    again = told_of(standing(failing(300_000), [], given_up=given_up))
    assert not {one.id for one in told} & {one.id for one in again}


@pytest.mark.parametrize("status", [401, 403, 404, 405, 308])
async def test_a_refusal_that_will_not_pass_is_told_through_another_channel_at_once(
    desk: Site, status: int
) -> None:
    bad, good = Endpoint(answers=[status, status]), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    told = good.bodies[1]["data"]
    assert (told["kind"], told["title"]) == (FAILING, "Channel bad does not take alerts")
    assert f"answered {status}" in told["text"]
    await desk.try_again()
    assert len(good.requests) == 2
    await desk.try_again()
    assert [event["data"]["status"] for event in good.bodies[1:]] == ["firing", "resolved"]
    bad.require_one_content_for_each_id()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_one_that_may_pass_is_not_told_at_once(desk: Site, status: int) -> None:
    bad, good = Endpoint(answers=[status]), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    assert good.ids == [alert(1).id]


@pytest.mark.parametrize(
    ("answer", "secret", "advice"),
    [
        (302, SECRET, "Correct its url and apply, or set the right secret. headgate notifier test"),
        (204, "", "Correct what it names: a secret where the governance worker runs, which is sta"),
    ],
    ids=["url", "secret"],  # every worker of pytest makes a secret of its own
)
async def test_what_can_be_done_is_to_put_right_what_is_wrong(
    desk: Site, monkeypatch: pytest.MonkeyPatch, answer: int, secret: str, advice: str
) -> None:
    ops, chat = Endpoint(answers=[answer]), Endpoint()
    monkeypatch.setenv("HEADGATE_TEST_OTHER", secret)
    await desk.apply(
        channels={
            "ops": webhook(await desk.serve(ops.app()), secret_env="HEADGATE_TEST_OTHER"),
            "chat": webhook(await desk.serve(chat.app())),
        },
        routes=[{"kinds": ["breaker.*"], "channels": ["ops"]}],
    )
    await desk.tell(alert(1))
    (told,) = [event["data"] for event in chat.bodies]
    assert told["kind"] == FAILING
    assert told["advice"].startswith(advice)
    assert told["advice"].endswith("headgate notifier test ops shows whether it works again.")


async def test_an_endpoint_that_is_gone_after_it_has_failed_for_long(desk: Site) -> None:
    bad, good = Endpoint(answers=[503, 503, 410]), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    await desk.after(301)
    await desk.try_again()
    titles = [event["data"]["title"] for event in good.bodies[1:]]
    assert titles == [
        "Channel bad does not take alerts",
        "Channel bad is disabled: its endpoint is gone",
    ]
    assert len({event["data"]["key"] for event in good.bodies[1:]}) == 1


async def test_what_is_given_up_and_the_alert_of_it_come_together(desk: Site) -> None:
    """Cut short between the two, neither is there, and the next look brings both."""
    bad, good = Endpoint(answers=[503] * 9), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    await _let_no_alert_in(desk.database)
    await desk.after(86_400 * 3 + 1)
    assert await desk.states("bad") == {alert(1).id: "composed"}
    await desk.database.execute("DROP TRIGGER refused ON alert")
    await desk.notifier.work()
    assert await desk.states("bad") == {alert(1).id: "abandoned"}
    titles = [event["data"]["title"] for event in good.bodies]
    assert "Channel bad: 1 alert given up" in titles
    assert len(titles) == len({*titles})


async def test_that_a_channel_works_again_is_not_lost_either(desk: Site) -> None:
    bad, good = Endpoint(answers=[404, 204, 204]), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    await _let_no_alert_in(desk.database)
    await desk.try_again()
    assert await desk.states("bad") == {alert(1).id: "composed"}  # it was sent, and cut short
    await desk.database.execute("DROP TRIGGER refused ON alert")
    await desk.try_again()
    assert [event["data"]["status"] for event in good.bodies[1:]] == ["firing", "resolved"]
    bad.require_one_content_for_each_id()


async def test_a_failing_channel_that_is_removed_is_told_to_be_over(desk: Site) -> None:
    bad, good = Endpoint(answers=[404]), Endpoint()
    urls = {"bad": await desk.serve(bad.app()), "good": await desk.serve(good.app())}
    await desk.channels(**urls)
    await desk.tell(alert(1))
    await desk.apply(channels={"good": webhook(urls["good"])})
    await desk.notifier.work()
    titles = [event["data"]["title"] for event in good.bodies[1:]]
    assert titles == [
        "Channel bad does not take alerts",
        "Channel bad: 1 alert given up, for it is configured no more",
        "Channel bad is configured no more",
    ]
    assert (await desk.states("bad"))[alert(1).id] == "abandoned"
    await (await desk.another()).work()
    assert len(good.requests) == 4


async def test_a_failing_channel_is_told_to_be_over_though_nothing_waits_for_it(
    desk: Site,
) -> None:
    bad, good = Endpoint(answers=[404] * 2), Endpoint()
    urls = {"bad": await desk.serve(bad.app()), "good": await desk.serve(good.app())}
    await desk.channels(**urls)
    await desk.tell(alert(1))
    await desk.after(86_400 * 3 + 1)
    assert await desk.states("bad") == {alert(1).id: "abandoned"}
    await desk.apply(channels={"good": webhook(urls["good"])})
    await desk.notifier.work()
    told = [event["data"] for event in good.bodies if event["data"]["kind"] == FAILING]
    assert [one["status"] for one in told] == ["firing", "resolved"]
    assert told[1]["title"] == "Channel bad is configured no more"
    assert await desk.database.fetch_value("SELECT count(*) FROM channel WHERE name = 'bad'") == 0


async def test_what_waits_for_a_channel_that_is_renamed_is_not_given_up_silently(
    desk: Site,
) -> None:
    """Also where it was never tried under its old name."""
    good = Endpoint()
    url = await desk.serve(good.app())
    await desk.channels(old=url)
    await desk.notifier.take([alert(1), alert(2)])
    await desk.channels(new=url)
    await desk.notifier.work()
    (told,) = [event["data"] for event in good.bodies]
    assert (told["kind"], told["severity"]) == (GIVEN_UP, "critical")
    assert told["title"] == "Channel old: 2 alerts given up, for it is configured no more"
    assert "headgate alerts list --channel old --state abandoned -n 2" in told["advice"]


async def test_a_channel_that_cannot_be_composed_for_is_told_as_failing(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = Endpoint(), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    usual = UntoldStore.waiting

    async def waiting(self: UntoldStore, channel: str, limit: int) -> Any:
        if channel == "bad":
            raise RuntimeError("a query\nof months of history")
        return await usual(self, channel, limit)

    with monkeypatch.context() as broken:
        broken.setattr(UntoldStore, "waiting", waiting)
        await desk.tell(alert(1))
        assert good.ids == [alert(1).id], "it may pass"
        await desk.after(301)
        await desk.after(60)
    told = good.bodies[1]["data"]
    assert (told["kind"], told["status"]) == (FAILING, "firing")
    assert "what waits cannot be made into messages: a query of months of history" in told["text"]
    assert bad.requests == []
    await desk.after(60)
    assert bad.ids == [alert(1).id]
    assert [event["data"]["status"] for event in good.bodies[1:]] == ["firing", "resolved"]


async def test_whatever_a_channel_raises_is_an_attempt_that_is_told_of(
    desk: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(channel: object) -> None:
        raise ImportError("a plug-in of json://hunter2 lacks a library")

    good = Endpoint()
    monkeypatch.setenv("HEADGATE_TEST_URL", "json://hunter2")
    await desk.apply(
        channels={
            "any": {"kind": "apprise", "url_env": "HEADGATE_TEST_URL"},
            "good": webhook(await desk.serve(good.app())),
        }
    )
    monkeypatch.setattr(by_apprise, "check", broken)
    with pytest.raises(ConfigurationError) as refusal:
        await desk.notifier.check()
    assert str(refusal.value) == "notifier.channels.any: could not be opened (ImportError)"
    await desk.tell(alert(1))
    said = "channel any: could not be sent (ImportError)"
    assert await desk.attempts("any") == [("unreachable", None, said)]
    assert (await desk.channel("any"))["waits_s"] > 0
    await desk.after(301)
    told = good.bodies[-1]["data"]
    assert (told["kind"], told["title"]) == (FAILING, "Channel any does not take alerts")
    assert "could not be sent (ImportError)" in told["text"]
    assert "hunter2" not in caplog.text + str(good.bodies)


async def test_a_protocol_that_nobody_speaks_is_a_failure_like_others(desk: Site) -> None:
    class Broken(Poster):
        async def post(self, *_: object) -> None:
            raise httpcore2.UnsupportedProtocol("hunter2")

    await desk.apply(channels={"chat": {"kind": "slack", "url": "https://127.0.0.1:9/x"}})
    desk.notifier = await desk.resources.enter_async_context(Notifier(desk.database, Broken()))
    await desk.tell(alert(1))
    said = "channel chat: could not be sent (UnsupportedProtocol)"
    assert await desk.attempts("chat") == [("unreachable", None, said)]


async def one_message_is_refused(desk: Site, **settings: Any) -> tuple[Endpoint, str]:
    """Have a message refused that is tried again in an hour only."""
    endpoint = Endpoint(answers=[400])
    url = await desk.serve(endpoint.app())
    await desk.apply(channels={"ops": webhook(url, **settings)})
    await desk.tell(alert(1))
    await desk.database.execute("UPDATE alert_message SET due_at = now() + interval '1 h'")
    await desk.notifier.work()
    assert len(endpoint.requests) == 1
    return endpoint, url


async def test_what_was_refused_is_tried_at_once_with_other_settings(desk: Site) -> None:
    endpoint, url = await one_message_is_refused(desk)
    await desk.apply(channels={"ops": webhook(url)}, group_over=7)
    await desk.notifier.work()
    assert len(endpoint.requests) == 1, "nothing of the channel has changed"
    await desk.apply(channels={"ops": webhook(url, title="$title!")})
    await desk.notifier.work()
    assert endpoint.ids == [alert(1).id] * 2


@pytest.mark.parametrize("how", ["enable", "test"])
async def test_what_was_refused_is_tried_at_once_when_people_say_so(desk: Site, how: str) -> None:
    endpoint, _ = await one_message_is_refused(desk)
    tests: list[str] = []
    for at_ms in (1, 2):  # the answer to the first was lost
        order = Order("ada", "the key is right now", "r", at_ms)
        if how == "test":
            tests = [await send_test(desk.database, "ops", order)]
        else:
            assert await enable_again(desk.database, "ops", order)
        await desk.notifier.work()
    assert endpoint.ids == [alert(1).id] * 2 + tests
    rows = await desk.database.fetch(
        "SELECT action, target, actor FROM audit WHERE action = $1", how
    )
    assert [tuple(row) for row in rows] == [(how, "channel/ops", "ada")]


@pytest.mark.parametrize(
    ("answer", "is_tried"), [(400, True), (401, True), (429, False), (503, False)]
)
async def test_a_process_with_another_environment_tries_what_was_refused(
    desk: Site, answer: int, is_tried: bool
) -> None:
    endpoint = Endpoint(answers=[answer])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(alert(1))
    await desk.database.execute("UPDATE alert_message SET due_at = now() + interval '1 h'")
    await desk.database.execute("UPDATE channel SET not_before = now() + interval '1 h'")
    await desk.database.execute("UPDATE alert_message SET due_at = now() WHERE NOT refused")
    await ChannelStore(desk.database).try_refused()
    await desk.notifier.work()
    assert len(endpoint.requests) == 1 + is_tried


async def test_a_notifier_that_begins_tries_what_was_refused(desk: Site) -> None:
    endpoint, _ = await one_message_is_refused(desk)
    tried = asyncio.Event()

    async def take(request: Request) -> Response:
        tried.set()
        return Response(status_code=204)

    endpoint.answers = [take]
    (await desk.another()).start()
    await asyncio.wait_for(tried.wait(), 20)


async def test_a_refusal_is_not_over_because_the_channel_was_away_meanwhile(desk: Site) -> None:
    bad, good = Endpoint(answers=[400, 503, 400]), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    await desk.try_again()
    await desk.try_again()
    told = [event["data"] for event in good.bodies if event["data"]["kind"] == REFUSING]
    assert [one["status"] for one in told] == ["firing"]
    await desk.try_again()
    told = [event["data"] for event in good.bodies if event["data"]["kind"] == REFUSING]
    assert [one["status"] for one in told] == ["firing", "resolved"]


def test_a_release_with_more_settings_changes_no_channel() -> None:
    class Later(WebhookChannel):
        new: bool = False

    said = {"kind": "webhook", "url": "https://h", "secret_env": "X"}
    assert fingerprint(WebhookChannel(**said)) == fingerprint(Later(**said))
    assert fingerprint(Later(**said)) != fingerprint(Later(**said, new=True))
    assert fingerprint(Later(**said)) != fingerprint(Later(**said, timeout_ms=5_000))
    slack = SlackChannel(kind="slack", url="https://h")
    assert fingerprint(slack) != fingerprint(SlackChannel(kind="slack", url="https://i"))


async def _let_no_alert_in(database: Database) -> None:
    """As if the process died at the moment at which it writes an alert down."""
    await database.execute(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'cut short'; END $$"
    )
    await database.execute(
        "CREATE TRIGGER refused BEFORE INSERT ON alert FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
