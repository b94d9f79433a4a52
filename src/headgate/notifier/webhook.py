"""A signed JSON message to a webhook, after Standard Webhooks."""

import asyncio
import json
import os
from datetime import UTC, datetime
from typing import Final

import httpx2
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from headgate.model.alert import Alert
from headgate.model.configuration import WebhookChannel
from headgate.model.errors import ConfigurationError, HeadgateError

_TIMEOUT: Final = httpx2.Timeout(15.0, connect=5.0)
_TIMEOUT_S: Final = 20.0
"""For all of it: a receiver that sends a byte now and then would pass the other one."""


class DeliveryError(HeadgateError):
    """A channel did not take an alert; trying again may help."""


async def send(
    client: httpx2.AsyncClient, name: str, channel: WebhookChannel, alert: Alert
) -> None:
    """Deliver one alert. Its id is the ``webhook-id``, the same in every attempt.

    Args:
        client: Must not follow redirects.
        name: The channel's name, for messages.
        channel: Where to, and which environment variable holds the secret.
        alert: What to say.

    Messages name the host only: many webhooks have a secret in their path.

    Raises:
        DeliveryError: Anything but an answer of 2xx.
        ConfigurationError: The secret is missing or malformed.
    """
    body = json.dumps({"type": alert.kind, **alert.model_dump(mode="json")}, separators=(",", ":"))
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": alert.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": _signer(name, channel).sign(alert.id, now, body),
    }
    try:
        # Streamed, and only the status is read: whatever a receiver answers, it is not kept.
        async with (
            asyncio.timeout(_TIMEOUT_S),
            client.stream(
                "POST", channel.url, content=body, headers=headers, timeout=_TIMEOUT
            ) as answer,
        ):
            status, accepted, elsewhere = (
                answer.status_code,
                answer.is_success,
                answer.is_redirect,
            )
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DeliveryError(
            f"channel {name}: {channel.host} not reached: {reason.replace(channel.url, '...')}"
        ) from error
    if not accepted:
        hint = "; redirects are not followed, so correct its url" if elsewhere else ""
        raise DeliveryError(f"channel {name}: {channel.host} answered {status}{hint}")


def _signer(name: str, channel: WebhookChannel) -> Webhook:
    secret = os.environ.get(channel.secret_env, "")
    if not secret:
        raise ConfigurationError(
            f"channel {name}: the environment of the governance worker lacks {channel.secret_env}"
        )
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError) as error:
        raise ConfigurationError(
            f"channel {name}: {channel.secret_env} is no secret of the form whsec_<base64>"
        ) from error
