"""What is sent to a channel: one alert, or several in one message."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from string import Template
from typing import Final, Literal
from urllib.parse import quote

from headgate.alerts.desk import LASTED
from headgate.alerts.words import many, span
from headgate.model.alert import Alert, Severity
from headgate.model.channels import Channel
from headgate.model.contract import Message
from headgate.model.notifier import NotifierSettings, tenant_of
from headgate.view.places import page_of, workflow_of

LISTED: Final = 20
"""So many alerts of a group are listed for people; all of them are in the data."""

ABOUT: Final = {
    "quota.threshold": ("near or at their quota", "no longer near their quota"),
    "quota.forecast": ("will soon have used up their quota", "their quota lasts after all"),
    "quota.denied": ("denied for long", "no longer denied"),
    "quota.waiting": ("jobs wait for long", "jobs no longer wait for long"),
    "guarantee.unmet": ("do not get what is guaranteed", "get what is guaranteed again"),
    "permits.reclaimed": ("permits of jobs that had ended came back", "over"),
    "override.expiring": ("their overrides end soon", "over"),
    "throttle.expiring": ("their throttles end soon", "over"),
    "snapshot.lag": ("their state is not saved", "their state is saved again"),
    "notifier.failing": ("their alerts came late", "over"),
    "quota.collapsed": ("alerts of theirs not told one by one", "over"),
    "alerts.collapsed": ("alerts not told one by one", "over"),
}
"""What the title of a group says of its tenants: while it fires, and when it is over."""

_GRAVITY: Final[dict[Severity, int]] = {"critical": 0, "warning": 1, "info": 2}


class Link(Message):
    """Where to look."""

    name: str
    url: str


class Outgoing(Message):
    """A message to one channel, as it is kept in Postgres: every attempt sends the same.

    Attributes:
        id: The alert's own; of a group or a summary one of its own, made of what is in it.
        form: ``alert``: one, or several about one subject that have waited together. ``group``: of
            one kind, about many tenants. ``summary``: what came beyond the rate of the channel.
        lead: What people read: the alert itself, or one that stands for all.
        alerts: All that it tells of, in the order they came.
        links: Where to look.
        topic: What makes alerts fit into one group.
        resolves: For PagerDuty: the keys of what is over by this.
    """

    id: str
    form: Literal["alert", "group", "summary"]
    lead: Alert
    alerts: list[Alert]
    links: list[Link] = []
    topic: str = ""
    resolves: list[str] = []


def topic_of(alert: Alert) -> str:
    """Return what an alert may share a message with."""
    return f"{alert.kind}/{alert.status}"


def single(alert: Alert, channel: Channel, settings: NotifierSettings) -> Outgoing:
    """Return the message that tells of one alert."""
    return Outgoing(
        id=alert.id,
        form="alert",
        lead=_in_words_of(channel, alert, 1),
        alerts=[alert],
        links=_links(alert, settings),
        topic=topic_of(alert),
    )


def together(alerts: Sequence[Alert], channel: Channel, settings: NotifierSettings) -> Outgoing:
    """Return the message that tells of alerts about one subject that have waited together.

    It is that of the last one, which says how it is now, with those before it.
    """
    last = alerts[-1]
    if len(alerts) == 1:
        return single(last, channel, settings)
    if last.status == "resolved":
        heading = "It was over before it could be told here. What there was:"
    else:
        heading = "What there was before, and could not be told here at once:"
    before = [f"- {people_time(one.at_ms)}: {one.title}. {one.text}" for one in alerts[:-1]]
    left_out = len(before) - LISTED
    if left_out > 0:
        before = [f"- {many(left_out, 'earlier one')}", *before[left_out:]]
    lead = last.model_copy(update={"text": "\n".join([last.text, heading, *before])})
    message = single(last, channel, settings)
    return message.model_copy(
        update={"lead": _in_words_of(channel, lead, 1), "alerts": list(alerts)}
    )


def group(
    alerts: Sequence[Alert], name: str, channel: Channel, settings: NotifierSettings
) -> Outgoing:
    """Return the message that tells of alerts of one kind about many tenants."""
    tenants = {tenant_of(alert) or alert.subject for alert in alerts}
    last = alerts[-1]
    fires, over = ABOUT.get(last.kind, (last.kind, f"{last.kind} is over"))
    what = over if last.status == "resolved" else fires
    return _together(
        alerts,
        name,
        channel,
        settings,
        form="group",
        title=f"{len(tenants)} tenants: {what}"
        if len(tenants) > 1
        else f"{next(iter(tenants))}: {what} ({len(alerts)} times)",
        opening="",
    )


def summary(
    alerts: Sequence[Alert], name: str, channel: Channel, settings: NotifierSettings
) -> Outgoing:
    """Return the message that tells of what came beyond the rate of a channel."""
    return _together(
        alerts,
        name,
        channel,
        settings,
        form="summary",
        title=many(len(_last(alerts)), "more alert"),
        opening=f"More alerts came than {name} takes in a minute ({channel.max_per_minute}); "
        "these are told of together:\n",
    )


def part_of(
    message: Outgoing,
    alerts: Sequence[Alert],
    name: str,
    channel: Channel,
    settings: NotifierSettings,
) -> Outgoing:
    """Return the message that tells of some of the alerts of a group or a summary."""
    if len(alerts) == 1:
        return single(alerts[0], channel, settings)
    make = group if message.form == "group" else summary
    return make(alerts, name, channel, settings)


def _together(
    alerts: Sequence[Alert],
    name: str,
    channel: Channel,
    settings: NotifierSettings,
    *,
    form: Literal["group", "summary"],
    title: str,
    opening: str,
) -> Outgoing:
    members = "\n".join([name, *sorted(alert.id for alert in alerts)])
    digest = hashlib.sha256(members.encode()).hexdigest()[:24]
    last = _last(alerts)
    kinds = sorted({alert.kind for alert in last})
    kind = kinds[0] if len(kinds) == 1 else "notifier.summary"
    tenants = {tenant_of(alert) for alert in alerts}
    listed = sorted(last, key=lambda alert: _GRAVITY[alert.severity])
    is_over = all(alert.status == "resolved" for alert in last)
    lines = [f"- {_line(alert, is_over)}" for alert in listed[:LISTED]]
    if len(listed) > LISTED:
        lines.append(f"- and {len(listed) - LISTED} more: headgate alerts list -n {len(listed)}")
    advice = _advice_for(listed, kinds)
    since = [alert.at_ms if alert.since_ms is None else alert.since_ms for alert in last]
    lead = Alert(
        id=f"{form}:{digest}:{len(alerts)}:{kind}",
        kind=kind,
        severity=min((alert.severity for alert in last), key=_GRAVITY.__getitem__),
        subject=form if len(last) > 1 else last[0].subject,
        title=title,
        text=opening + "\n".join(lines),
        at_ms=max(alert.at_ms for alert in alerts),
        data={"alerts": len(last), "tenants": len(tenants - {None})},
        status="resolved" if is_over else "firing",
        tenant=next(iter(tenants)) if len(tenants) == 1 else None,
        since_ms=min(since),
        advice=advice,
    )
    return Outgoing(
        id=lead.id,
        form=form,
        lead=_in_words_of(channel, lead, len(last)),
        alerts=list(alerts),
        links=_links(lead, settings),
        topic=topic_of(alerts[-1]) if form == "group" else "summary",
    )


def _last(alerts: Sequence[Alert]) -> list[Alert]:
    """Return, of several about the same, the last one: it says how it is now."""
    return list({(alert.subject, alert.key or alert.id): alert for alert in alerts}.values())


def _advice_for(alerts: Sequence[Alert], kinds: Sequence[str]) -> str:
    """Return what can be done about all of them, or how to learn it of each."""
    found = {alert.advice for alert in alerts if alert.advice}
    if len(found) < 2:
        return "".join(found)
    of = f" --kind {kinds[0]}" if len(kinds) == 1 else ""
    return (
        f"headgate alerts list{of} -n {len(alerts)} names each; headgate alerts show ID says what "
        "can be done."
    )


def _line(alert: Alert, all_over: bool) -> str:
    """Return one line; that it is over is not said where all of them are."""
    if alert.status == "firing":
        return alert.title
    lasted = alert.data.get(LASTED)
    said = [] if all_over else ["resolved"]
    said += [f"after {span(lasted)}"] if isinstance(lasted, int) else []
    return f"{alert.title} ({', '.join(said)})" if said else alert.title


def utc(at_ms: int) -> str:
    """Return a time for people and for RFC 3339 alike."""
    time = datetime.fromtimestamp(at_ms / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def people_time(at_ms: int) -> str:
    """Return a time as it stands in a message: ``2026-11-24 14:20:05 UTC``."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def since_of(alert: Alert) -> int:
    """Return since when it has been so."""
    return alert.at_ms if alert.since_ms is None else alert.since_ms


_MENTION: Final = re.compile(
    r"@(?=(?:all|channel|everyone|here)\b)|(?<!\w)@(?=[\w&!])|<(?=!)", re.IGNORECASE
)
"""All at once, one person or a role (``@ada``, ``<@U1>``, ``<@&7>``) and Slack's ``<!here>``; what
stands behind a letter, as in an address of mail, calls nobody."""


def without_mentions(text: str) -> str:
    """Return text that calls nobody in a chat: names of tenants and reasons are not ours."""
    return _MENTION.sub("\\g<0>\u200b", text)


def in_full(message: Outgoing) -> str:
    """Return all that people read under the title, in plain lines."""
    lead = message.lead
    parts = [lead.text]
    if lead.advice:
        parts.append(f"What can be done: {lead.advice}")
    parts.append(f"Since {people_time(since_of(lead))}")
    parts += [f"{link.name}: {link.url}" for link in message.links]
    return "\n".join(part for part in parts if part)


def _in_words_of(channel: Channel, alert: Alert, count: int) -> Alert:
    """Return the alert with title and text as the channel's templates have them."""
    words = {
        "kind": alert.kind,
        "severity": alert.severity,
        "status": alert.status,
        "subject": alert.subject,
        "tenant": tenant_of(alert) or "",
        "title": alert.title,
        "text": alert.text,
        "advice": alert.advice,
        "since": people_time(since_of(alert)),
        "at": people_time(alert.at_ms),
        "count": str(count),
        "id": alert.id,
    }
    changed = {
        field: Template(template).safe_substitute(words)
        for field, template in (("title", channel.title), ("text", channel.text))
        if template is not None
    }
    return alert.model_copy(update=changed)


def _links(alert: Alert, settings: NotifierSettings) -> list[Link]:
    """Return where to look: the page of the dashboard, and the workflow that decided."""
    links = []
    if settings.dashboard_url is not None:
        links.append(Link(name="Dashboard", url=f"{settings.dashboard_url}{_page(alert)}"))
    decided_by = workflow_of(alert)
    if settings.temporal_ui_url is not None and decided_by is not None:
        # Without a run: the workflow continues as new, and the link is to lead to what it is now.
        place = f"namespaces/{settings.temporal_namespace}/workflows/{quote(decided_by, safe='')}"
        links.append(Link(name="Temporal", url=f"{settings.temporal_ui_url}/{place}"))
    return links


def _page(alert: Alert) -> str:
    page = page_of(alert)
    if page is not None:
        return page
    return f"/alerts?kind={alert.kind}" if alert.kind in ABOUT else "/alerts"
