"""A webhook as Slack has them; Mattermost and others take the same."""

import json
from typing import Any, Final

from headgate.model.alert import Alert
from headgate.model.channels import SlackChannel
from headgate.notifier.credentials import address
from headgate.notifier.outgoing import Outgoing, times_of, without_mentions
from headgate.notifier.posting import Poster

_TEXT_MAX: Final = 3_000
_COLORS: Final = {"critical": "#c0392b", "warning": "#d68910", "info": "#5d6d7e"}
_RESOLVED: Final = "#1e8449"


def check(channel: SlackChannel) -> None:
    """Make sure that the address is there.

    Raises:
        ConfigurationError: It is not.
    """
    address(channel)


async def send(poster: Poster, name: str, channel: SlackChannel, message: Outgoing) -> None:
    """Deliver one message.

    Raises:
        DeliveryError: It was not taken.
        ConfigurationError: The address is missing.
    """
    body = json.dumps(content(message)).encode()
    await poster.post(name, channel, address(channel), body, {"content-type": "application/json"})


def content(message: Outgoing) -> dict[str, Any]:
    """Return the message in Slack's words; the text alone is what a notification shows."""
    lead = message.lead
    title = f"{_mark(lead)} {lead.title}"
    lines = [_escaped(lead.text[:_TEXT_MAX])]
    if lead.advice:
        lines.append(f"*What can be done:* {_escaped(lead.advice)}")
    links = " · ".join(f"<{link.url}|{_escaped(link.name)}>" for link in message.links)
    if links:
        lines.append(links)
    color = _RESOLVED if lead.status == "resolved" else _COLORS[lead.severity]
    return {
        "text": _escaped(title),
        "attachments": [
            {
                "fallback": _escaped(title),
                "color": color,
                "text": "\n".join(lines),
                "footer": f"{_escaped(lead.subject)} · {times_of(lead)}",
                "mrkdwn_in": ["text"],
            }
        ],
    }


def _mark(lead: Alert) -> str:
    return "[resolved]" if lead.status == "resolved" else f"[{lead.severity}]"


def _escaped(text: str) -> str:
    """Return text in which nothing calls anybody or becomes a link.

    Slack calls a channel by ``<!channel>`` and people by ``<@U1>``, Mattermost by ``@channel`` and
    ``@ada``.
    """
    return without_mentions(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
