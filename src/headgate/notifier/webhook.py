"""A webhook: a CloudEvents 1.0 envelope, signed after Standard Webhooks."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, Final

from standardwebhooks.webhooks import Webhook

from headgate.alerts.words import many
from headgate.model.channels import WebhookChannel
from headgate.model.errors import ConfigurationError
from headgate.notifier.credentials import address, read_all
from headgate.notifier.outgoing import Outgoing, utc
from headgate.notifier.posting import Poster

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SOURCE: Final = "/headgate"

_KEY_MIN: Final = 24
"""Bytes; Standard Webhooks wants 24 to 64."""


def check(channel: WebhookChannel) -> None:
    """Make sure that all secrets are there.

    Raises:
        ConfigurationError: One is not, or is malformed.
    """
    address(channel)
    signers(channel)


async def send(poster: Poster, name: str, channel: WebhookChannel, message: Outgoing) -> None:
    """Deliver one message. Its id is the ``webhook-id``, the same in every attempt.

    Raises:
        DeliveryError: It was not taken.
        ConfigurationError: A secret is missing, malformed or too short.
    """
    body = json.dumps(envelope(message), separators=(",", ":"))
    now = datetime.now(UTC)
    # One signature for each secret, with spaces between: a receiver that knows any of them takes
    # it, so that a secret can be replaced without a moment at which nothing arrives.
    signatures = [signer.sign(message.id, now, body) for signer in signers(channel)]
    headers = {
        "content-type": CONTENT_TYPE,
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    await poster.post(name, channel, address(channel), body.encode(), headers)


def envelope(message: Outgoing) -> dict[str, Any]:
    """Return the event; the same for the same message."""
    lead = message.lead
    data = {
        **lead.model_dump(mode="json"),
        "form": message.form,
        "links": {link.name: link.url for link in message.links},
    }
    if message.form != "alert" or len(message.alerts) > 1:
        data["alerts"] = [
            alert.model_dump(mode="json", exclude={"advice", "data"}) for alert in message.alerts
        ]
    return {
        "specversion": "1.0",
        "id": message.id,
        "source": SOURCE,
        "type": f"headgate.{lead.kind}",
        "subject": lead.subject,
        "time": utc(lead.at_ms),
        "datacontenttype": "application/json",
        "data": data,
    }


def signers(channel: WebhookChannel) -> list[Webhook]:
    """Return one signer for each secret.

    Raises:
        ConfigurationError: A secret is missing, malformed or too short.
    """
    secrets = read_all(channel.variables, channel.files)
    return [Webhook(_key(place, secret)) for place, secret in secrets]


def _key(place: str, secret: str) -> bytes:
    """Return what a secret stands for: the library takes whatever it finds in one, also nothing."""
    prefix, _, encoded = secret.partition("_")
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        key = base64.b64decode(padded, validate=True) if prefix == "whsec" else b""
    except ValueError:
        key = b""
    if not key:
        raise ConfigurationError(f"{place} holds no secret of the form whsec_<base64>")
    if len(key) < _KEY_MIN:
        raise ConfigurationError(
            f"{place} holds a secret of {many(len(key), 'byte')}: write one of {_KEY_MIN} to 64, "
            "such as whsec_ and what openssl rand -base64 32 prints"
        )
    return key
