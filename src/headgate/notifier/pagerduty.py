"""PagerDuty, over version 2 of its Events API."""

import hashlib
import json
from typing import Any, Final

from headgate.model.alert import Severity
from headgate.model.channels import PagerDutyChannel
from headgate.notifier.credentials import address, read
from headgate.notifier.outgoing import Outgoing, in_full, utc
from headgate.notifier.posting import Poster

USUAL: Final = "https://events.pagerduty.com"
_KEY_MAX: Final = 255
_SUMMARY_MAX: Final = 1_024
_SEVERITY: Final[dict[Severity, str]] = {
    "critical": "critical",
    "warning": "warning",
    "info": "info",
}


def check(channel: PagerDutyChannel) -> None:
    """Make sure that the key is there.

    Raises:
        ConfigurationError: It is not.
    """
    address(channel, USUAL)
    read(channel.secret_env, channel.secret_file)


async def send(
    poster: Poster, name: str, channel: PagerDutyChannel, message: Outgoing, part: int
) -> None:
    """Deliver one of the events of a message: an incident begins, or one ends.

    Raises:
        DeliveryError: It was not taken.
        ConfigurationError: The key is missing.
    """
    key = read(channel.secret_env, channel.secret_file)
    url = f"{address(channel, USUAL).rstrip('/')}/v2/enqueue"
    body = json.dumps({"routing_key": key, **events(message)[part]}).encode()
    await poster.post(name, channel, url, body, {"content-type": "application/json"})


def events(message: Outgoing) -> list[dict[str, Any]]:
    """Return what is sent for a message: one trigger, or a resolve for each incident that ends.

    A group or a summary is one incident; ``resolves`` says which incidents are over. What stands
    alone is never told to be over: its incident ends at once, unless it is critical and people are
    to see to it.
    """
    lead = message.lead
    # What is over ends its own incident at least, also where nobody knows any more how it began.
    own = [dedup_key(message)] if lead.status == "resolved" else []
    found: list[dict[str, Any]] = [
        {"event_action": "resolve", "dedup_key": bounded(key)} for key in message.resolves or own
    ]
    if lead.status == "firing":
        found.append(
            {
                "event_action": "trigger",
                "dedup_key": bounded(dedup_key(message)),
                "client": "Headgate",
                "links": [{"href": link.url, "text": link.name} for link in message.links],
                "payload": {
                    "summary": lead.title[:_SUMMARY_MAX],
                    "source": lead.subject,
                    "severity": _SEVERITY[lead.severity],
                    "timestamp": utc(lead.at_ms),
                    "class": lead.kind,
                    "custom_details": {"text": in_full(message), **lead.data},
                },
            }
        )
        if lead.severity != "critical" and not any(alert.key for alert in message.alerts):
            found.append({"event_action": "resolve", "dedup_key": bounded(dedup_key(message))})
    return found


def dedup_key(message: Outgoing) -> str:
    """Return what makes the trigger and its resolve one incident."""
    return message.lead.key or message.id if message.form == "alert" else message.id


def bounded(key: str) -> str:
    """Return a key that PagerDuty takes: one that is too long ends with a digest of it."""
    if len(key) <= _KEY_MAX:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[: _KEY_MAX - 33]}:{digest}"
