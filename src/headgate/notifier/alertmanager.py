"""Prometheus's Alertmanager, over version 2 of its API."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from headgate.model.alert import Alert
from headgate.model.channels import AlertmanagerChannel
from headgate.model.notifier import tenant_of
from headgate.notifier.credentials import address, read
from headgate.notifier.outgoing import Link, Outgoing, since_of, utc
from headgate.notifier.posting import Poster

_LASTS_MS: Final = 86_400_000
"""An alert that fires holds so long without a word; it is repeated much more often."""

_ALONE_LASTS_MS: Final = 3_600_000
"""One that is never resolved ends by itself."""


def check(channel: AlertmanagerChannel) -> None:
    """Make sure that the address and the token are there.

    Raises:
        ConfigurationError: They are not.
    """
    _headers(channel)
    address(channel)


async def send(poster: Poster, name: str, channel: AlertmanagerChannel, message: Outgoing) -> None:
    """Deliver one message: all its alerts at once, for Alertmanager to group.

    Raises:
        DeliveryError: It was not taken.
        ConfigurationError: The token or the address is missing.
    """
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    # Of several about the same, the last one says how it is now.
    last = {alert.key or alert.id: alert for alert in message.alerts}
    # With the words of the channel's templates, where it is the one that people read.
    told = [message.lead if one.id == message.lead.id else one for one in last.values()]
    body = [as_alert(alert, channel, message.links, now_ms) for alert in told]
    await _post(poster, name, channel, body)


async def remind(
    poster: Poster, name: str, channel: AlertmanagerChannel, still: Sequence[Outgoing]
) -> None:
    """Say that alerts still fire.

    Alertmanager ends what it hears nothing of, and keeps alerts in memory only: who does not
    repeat them, as Prometheus does, finds none that fires after a restart.

    Raises:
        DeliveryError: It was not taken.
        ConfigurationError: The token or the address is missing.
    """
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    body = [as_alert(message.lead, channel, message.links, now_ms) for message in still]
    await _post(poster, name, channel, body)


async def _post(
    poster: Poster, name: str, channel: AlertmanagerChannel, body: list[dict[str, Any]]
) -> None:
    url = f"{address(channel).rstrip('/')}/api/v2/alerts"
    await poster.post(name, channel, url, json.dumps(body).encode(), _headers(channel))


def as_alert(
    alert: Alert, channel: AlertmanagerChannel, links: list[Link], now_ms: int
) -> dict[str, Any]:
    """Return an alert in Alertmanager's words.

    Its labels are what it is about, so that firing, repeated and resolved are one alert there.
    """
    lasts_ms = _LASTS_MS if alert.key else _ALONE_LASTS_MS
    # By the key, not by the kind: what resolves may be of another one.
    name, _, about = alert.key.partition("/")
    labels = {
        **channel.labels,
        "alertname": name or alert.kind,
        "subject": about or alert.subject,
        **({} if alert.key else {"id": alert.id}),
    }
    # Not severity: a warning that becomes critical stays the same alert.
    tenant = tenant_of(alert)
    if tenant:
        labels["tenant"] = tenant
    annotations = {
        "summary": alert.title,
        "description": alert.text,
        "severity": alert.severity,
        "advice": alert.advice,
        **{link.name.lower(): link.url for link in links},
    }
    resolved = alert.status == "resolved"
    begins_ms = min(since_of(alert), alert.at_ms)
    return {
        "labels": labels,
        "annotations": {key: text for key, text in annotations.items() if text},
        "startsAt": utc(begins_ms),
        "endsAt": utc(max(alert.at_ms, begins_ms + 1) if resolved else now_ms + lasts_ms),
        **({"generatorURL": links[0].url} if links else {}),
    }


def _headers(channel: AlertmanagerChannel) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if channel.secret_env is not None or channel.secret_file is not None:
        headers["authorization"] = f"Bearer {read(channel.secret_env, channel.secret_file)}"
    return headers
