"""One HTTP POST of the Notifier: no redirects, no proxies, checked addresses, three timeouts."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import httpcore2

from headgate.model.channels import HttpChannel
from headgate.notifier.addresses import CheckedBackend, RefusedAddressError
from headgate.notifier.delivery import DeliveryError

_RETRY_AFTER_MAX_S: Final = 86_400.0
_OF_MESSAGE: Final = frozenset({400, 406, 409, 411, 413, 415, 422, 431})
"""Answers that say that this message is not liked; others would say so of any."""


def shown(url: str) -> str:
    """Return the part of an address that may be shown: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Poster:
    """Sends POST requests.

    Args:
        tls: Whom to trust; the authorities that this machine trusts when None.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls

    async def post(
        self,
        name: str,
        channel: HttpChannel,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> None:
        """Send ``body`` and return once the channel has answered with 2xx.

        Messages name the host only: many webhooks have a secret in their path.

        Args:
            name: The channel's name, for messages.
            channel: Its timeouts, and what it allows.
            url: Where to, checked.
            body: What to send.
            headers: With the type of the body.

        Raises:
            DeliveryError: Anything but an answer of 2xx.
        """
        place = shown(url)
        try:
            status, retry_after, extra = await self._answer(channel, url, body, headers)
        except RefusedAddressError as error:
            raise DeliveryError(f"channel {name}: {error}", "misconfigured") from error
        except TimeoutError as error:
            raise DeliveryError(
                f"channel {name}: {place} not reached: no answer within "
                f"{channel.timeout_ms / 1000:g} s"
            ) from error
        except (
            httpcore2.TimeoutException,
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            OSError,
            ValueError,
        ) as error:
            reason = " ".join(str(error).split()) or _words(error)
            raise DeliveryError(
                f"channel {name}: {place} not reached: {reason.replace(url, '...')}"
            ) from error
        if not 200 <= status < 300:
            raise DeliveryError(
                f"channel {name}: {place} answered {status}{extra}",
                "refused",
                status=status,
                retry_after_s=retry_after,
                of_message=status in _OF_MESSAGE,
            )

    async def _answer(
        self, channel: HttpChannel, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, float | None, str]:
        if self._tls is None:
            # It reads the authorities from disk.
            self._tls = await asyncio.to_thread(httpcore2.default_ssl_context)
        connect_s, read_s = channel.connect_timeout_ms / 1000, channel.read_timeout_ms / 1000
        timeouts = {"connect": connect_s, "read": read_s, "write": read_s, "pool": connect_s}
        # A connection of its own: whoever is spoken to has been checked for this message.
        sent: list[tuple[bytes | str, bytes | str]] = [
            ("host", urlsplit(url).netloc),
            ("user-agent", "headgate"),
            ("content-length", str(len(body))),
            *headers.items(),
        ]
        async with (
            asyncio.timeout(channel.timeout_ms / 1000),
            httpcore2.AsyncConnectionPool(
                ssl_context=self._tls,
                network_backend=CheckedBackend(channel.allow_private),
                max_keepalive_connections=0,
            ) as pool,
            # Streamed, and only its head is read: whatever a receiver answers, it is not kept.
            pool.stream(
                "POST",
                url,
                headers=sent,
                content=body,
                extensions={"timeout": timeouts},
            ) as answer,
        ):
            redirected = 300 <= answer.status < 400
            extra = "; redirects are not followed, so correct its url" if redirected else ""
            # Of what was taken nothing more is asked: it must not fail for an odd header.
            taken = 200 <= answer.status < 300
            return answer.status, None if taken else _retry_after(answer.headers), extra


def _words(error: Exception) -> str:
    return (
        "no answer in time"
        if isinstance(error, httpcore2.TimeoutException)
        else type(error).__name__
    )


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Return what ``Retry-After`` asks for, in seconds: it is a number, or a date."""
    for key, value in headers:
        if key.lower() != b"retry-after":
            continue
        text = value.decode("latin-1").strip()
        if text.isdecimal():
            return min(float(text[:9]), _RETRY_AFTER_MAX_S)
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), _RETRY_AFTER_MAX_S)
    return None
