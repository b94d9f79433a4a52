"""Which messages the waiting alerts of a channel become: one by one, in groups, or a summary.

A pure function of what waits; see docs/notifier.md for the rules in words.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from headgate.model.alert import Alert
from headgate.model.channels import Channel
from headgate.model.notifier import NotifierSettings, tenant_of
from headgate.notifier.bundles import Bundle, Waiting, bundled
from headgate.notifier.outgoing import Outgoing, group, summary, together, topic_of

GROUP_MAX: Final = 250
"""Alerts in one message at most: receivers refuse what is too long."""


def compose(
    waiting: Sequence[Waiting],
    name: str,
    channel: Channel,
    settings: NotifierSettings,
    budget: int,
    since_group_ms: Mapping[str, int],
) -> list[Outgoing]:
    """Return the messages to send now, in order; what is in none of them waits on.

    Args:
        waiting: In the order they came.
        name: Of the channel.
        channel: Its settings.
        settings: Of grouping.
        budget: How many messages the channel may still be sent in this minute.
        since_group_ms: How long ago the last group was sent, by topic.
    """
    if budget < 1:
        return []
    units = _units(bundled(waiting), settings, since_group_ms)
    if len(units) <= budget:
        told, rest = units, []
    else:
        told, rest = units[: budget - 1], [one for unit in units[budget - 1 :] for one in unit]
    messages = [_message(unit, name, channel, settings) for unit in told]
    if rest:
        messages.append(summary(_alerts(_divided(rest)[0]), name, channel, settings))
    return messages


def _message(
    unit: Sequence[Bundle], name: str, channel: Channel, settings: NotifierSettings
) -> Outgoing:
    """Return the message that tells of some bundles of one topic."""
    if len(unit) == 1:
        return together(unit[0].alerts, channel, settings)
    return group(_alerts(unit), name, channel, settings)


def _alerts(unit: Sequence[Bundle]) -> list[Alert]:
    return [alert for bundle in unit for alert in bundle.alerts]


def _units(
    bundles: Sequence[Bundle], settings: NotifierSettings, since_group_ms: Mapping[str, int]
) -> list[list[Bundle]]:
    """Return which alerts are told of together, in the order of the first of each.

    Alerts about the same subject keep their order: one that has to wait makes those after it wait,
    and one that goes into a group makes those wait that do not.
    """
    longest: dict[str, int] = {}
    for bundle in bundles:
        if _is_grouped(bundle.last):
            topic = topic_of(bundle.last)
            longest[topic] = max(longest.get(topic, 0), bundle.waited_ms)
    ready: list[Bundle] = []
    goes_with: dict[str, str] = {}
    for bundle in bundles:
        alert = bundle.last
        topic = topic_of(alert) if _is_grouped(alert) else ""
        is_ready = not topic or (
            longest[topic] >= settings.group_wait_ms
            and since_group_ms.get(topic, settings.group_interval_ms) >= settings.group_interval_ms
        )
        way = goes_with.setdefault(alert.subject, topic if is_ready else "waits")
        if is_ready and way == topic:
            ready.append(bundle)
        else:
            goes_with[alert.subject] = "waits"
    of_topic: dict[str, list[Bundle]] = {}
    for bundle in ready:
        if _is_grouped(bundle.last):
            of_topic.setdefault(topic_of(bundle.last), []).append(bundle)
    units: list[list[Bundle]] = []
    for bundle in ready:
        members = [bundle]
        if _is_grouped(bundle.last):
            members = of_topic[topic_of(bundle.last)]
        if len(members) <= settings.group_over:
            units.append([bundle])
        elif bundle is members[0]:
            units += _divided(members)
    return units


def _divided(bundles: Sequence[Bundle]) -> list[list[Bundle]]:
    """Return bundles by what fits into one message; none is taken apart."""
    found: list[list[Bundle]] = []
    room = 0
    for bundle in bundles:
        if not found or len(bundle.alerts) > room:
            found.append([])
            room = GROUP_MAX
        found[-1].append(bundle)
        room -= len(bundle.alerts)
    return found


def _is_grouped(alert: Alert) -> bool:
    """Return whether many tenants may cause such alerts at once."""
    return tenant_of(alert) is not None
