"""Which messages the waiting alerts of a channel become: one by one, in groups, or a summary.

A pure function of what waits; see docs/notifier.md for the rules in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from headgate.model.alert import Alert
from headgate.model.channels import Channel
from headgate.model.notifier import NotifierSettings, tenant_of
from headgate.notifier.outgoing import Outgoing, group, single, summary, topic_of

GROUP_MAX: Final = 250
"""Alerts in one message at most: receivers refuse what is too long."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An alert that a channel has not been told of.

    Attributes:
        alert: The alert.
        waited_ms: How long it has been waiting.
    """

    alert: Alert
    waited_ms: int


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
    units = _units(waiting, settings, since_group_ms)
    if len(units) <= budget:
        told, rest = units, []
    else:
        told, rest = units[: budget - 1], [alert for unit in units[budget - 1 :] for alert in unit]
    messages = [
        single(unit[0], channel, settings)
        if len(unit) == 1
        else group(unit, name, channel, settings)
        for unit in told
    ]
    if rest:
        messages.append(summary(rest[:GROUP_MAX], name, channel, settings))
    return messages


def _units(
    waiting: Sequence[Waiting], settings: NotifierSettings, since_group_ms: Mapping[str, int]
) -> list[list[Alert]]:
    """Return which alerts are told of together, in the order of the first of each.

    Alerts about the same subject keep their order: one that has to wait makes those after it wait,
    and one that goes into a group makes those wait that do not.
    """
    longest: dict[str, int] = {}
    for one in waiting:
        if _is_grouped(one.alert):
            topic = topic_of(one.alert)
            longest[topic] = max(longest.get(topic, 0), one.waited_ms)
    ready: list[Alert] = []
    goes_with: dict[str, str] = {}
    for one in waiting:
        alert = one.alert
        topic = topic_of(alert) if _is_grouped(alert) else ""
        is_ready = not topic or (
            longest[topic] >= settings.group_wait_ms
            and since_group_ms.get(topic, settings.group_interval_ms) >= settings.group_interval_ms
        )
        together = goes_with.setdefault(alert.subject, topic if is_ready else "waits")
        if is_ready and together == topic:
            ready.append(alert)
        else:
            goes_with[alert.subject] = "waits"
    of_topic: dict[str, list[Alert]] = {}
    for alert in ready:
        if _is_grouped(alert):
            of_topic.setdefault(topic_of(alert), []).append(alert)
    units: list[list[Alert]] = []
    for alert in ready:
        members = of_topic.get(topic_of(alert), []) if _is_grouped(alert) else [alert]
        if len(members) <= settings.group_over:
            units.append([alert])
        elif alert is members[0]:
            units += [
                members[begin : begin + GROUP_MAX] for begin in range(0, len(members), GROUP_MAX)
            ]
    return units


def _is_grouped(alert: Alert) -> bool:
    """Return whether many tenants may cause such alerts at once."""
    return tenant_of(alert) is not None
