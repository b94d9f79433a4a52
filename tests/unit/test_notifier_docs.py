"""The messages in docs/notifier.md are what people are sent."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from headgate.model.alert import Alert
from headgate.model.channels import SlackChannel
from headgate.model.notifier import NotifierSettings
from headgate.notifier.failing import news
from headgate.notifier.outgoing import Outgoing, group, single, summary
from headgate.notifier.slack import content
from headgate.notifier.webhook import envelope
from headgate.quota.bound import Bound
from headgate.quota.news import usage_news
from headgate.store.channel_rows import ChannelState, Standing
from tests.unit.test_breaker_alerts import NOON, Downstream

DOCS: Final = (Path(__file__).parents[2] / "docs" / "notifier.md").read_text()
LINES: Final = " ".join(DOCS.replace("\n> ", "\n").replace("\\-", "-").split())
CHANNEL: Final = SlackChannel(kind="slack", url="https://hooks.example/x")
SETTINGS: Final = NotifierSettings(
    dashboard_url="https://headgate.example.com",
    temporal_ui_url="https://temporal.example.com",
    temporal_namespace="governance",
)


def a_breaker(names: tuple[str, ...] = ("scanner",)) -> list[Alert]:
    downstream = Downstream()
    downstream.fail()
    (opened,) = downstream.told()
    said = opened.model_dump_json()
    return [Alert.model_validate_json(said.replace("scanner", name)) for name in names]


def tenants(count: int) -> list[Alert]:
    found = []
    for number in range(count):
        tenant, used = f"t{number}", 10 if number == 3 else 8
        subject = f"tenant/{tenant}/scan"
        level = used * 10
        said = usage_news("told", level, used, Bound(tenant, "scan", "max_active", 10))
        found.append(
            Alert(
                id=f"{subject}:1:1:{said.kind}",
                kind=said.kind,
                severity=said.severity,
                subject=subject,
                title=said.title,
                text=said.text,
                at_ms=NOON,
                advice=said.advice,
                tenant=tenant,
            )
        )
    return found


def channels() -> list[Outgoing]:
    gone = ChannelState(
        is_disabled=True,
        is_waiting=False,
        failing_ms=1,
        failing_since_ms=NOON - 1,
        last_error="channel ops: https://hooks.example.com answered 410",
        failures=1,
        reminded_ms=0,
    )
    works = ChannelState(False, False, None, None, None, 0, 0)
    refusal = "channel pager: https://events.pagerduty.com answered 400"
    (disabled,) = news("ops", Standing(gone, 0, None, [], {}), NOON, after_ms=300_000)
    (over,) = news(
        "ops", Standing(works, 0, None, [], {disabled.kind: disabled}), NOON + 720_000, after_ms=1
    )
    (refusing,) = news("pager", Standing(works, 1, refusal, [], {}), NOON, after_ms=1)
    return [single(one, CHANNEL, SETTINGS) for one in (refusing, disabled, over)]


def messages() -> list[Outgoing]:
    (opened,) = a_breaker()
    more = a_breaker(("scanner", "signer", "mailer"))
    return [
        single(opened, CHANNEL, SETTINGS),
        group(tenants(6), "ops", CHANNEL, SETTINGS),
        summary(more, "ops", CHANNEL, SETTINGS),
        *channels(),
    ]


def as_shown(message: Outgoing) -> str:
    """A message as a chat shows it, in the Markdown of the docs."""
    shown = content(message)
    (body,) = shown["attachments"]
    text = body["text"].replace("*What can be done:*", "**What can be done:**")
    text = re.sub(r"<[^|>]*\|([^>]*)>", r"\1", text)
    return " ".join(f"**{shown['text']}** {text} *{body['footer']}*".split())


@pytest.mark.parametrize("message", messages(), ids=lambda one: one.lead.kind)
def test_the_examples_are_what_is_sent(message: Outgoing) -> None:
    assert as_shown(message) in LINES


def test_the_event_is_what_a_webhook_gets() -> None:
    (opened,) = a_breaker()
    (text,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    assert json.loads(text) == envelope(single(opened, CHANNEL, SETTINGS))


def test_the_titles_of_the_examples_do_not_repeat_what_is_there_by_itself() -> None:
    example = (Path(__file__).parents[2] / "examples" / "headgate.yaml").read_text()
    for text in (DOCS, example):
        (title,) = re.findall(r"title: (\"[^\"]*\")", text)
        channel = CHANNEL.model_copy(update={"title": json.loads(title)})
        said = content(single(a_breaker()[0], channel, SETTINGS))["text"]
        assert said.startswith("[critical] eu-1: ")
        assert said.count("critical") == 1
