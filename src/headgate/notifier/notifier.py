"""Delivering alerts: to every channel, at least once, in order."""

import asyncio
import time
from typing import Final, Self

import httpx2

from headgate.model.alert import Alert
from headgate.model.configuration import NotifierSettings, WebhookChannel
from headgate.model.errors import HeadgateError
from headgate.notifier.webhook import DeliveryError, send
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.deliveries import DeliveryStore

_SETTINGS_AGE_S: Final = 2.0


class Notifier:
    """Delivers alerts to the channels of the applied configuration.

    Args:
        database: Where the configuration is, and where attempts are recorded.
    """

    def __init__(self, database: Database) -> None:
        self._configuration = ConfigurationStore(database)
        self._deliveries = DeliveryStore(database)
        self._client: httpx2.AsyncClient | None = None
        self._settings = NotifierSettings()
        self._settings_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; the next delivery opens what it needs."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def deliver(self, alerts: list[Alert]) -> None:
        """Deliver ``alerts`` to every channel that has not confirmed them yet.

        Raises:
            DeliveryError: Some channel did not take all of them; calling again goes on from there.
        """
        channels = sorted((await self._current()).channels.items())
        # At the same time: a channel that is slow or down holds up no other.
        ends = await asyncio.gather(
            *(self._deliver_to(name, channel, alerts) for name, channel in channels),
            return_exceptions=True,
        )
        failures = [end for end in ends if end is not None]
        for end in failures:
            if not isinstance(end, HeadgateError):
                raise end
        if failures:
            raise DeliveryError("; ".join(str(end) for end in failures))

    async def _deliver_to(self, name: str, channel: WebhookChannel, alerts: list[Alert]) -> None:
        """Deliver in order; an alert that is not taken holds up those after it."""
        for alert in alerts:
            if await self._deliveries.is_delivered(alert, name):
                continue
            if self._client is None:
                self._client = httpx2.AsyncClient(follow_redirects=False)
            try:
                await send(self._client, name, channel, alert)
            except HeadgateError as error:
                await self._deliveries.record(alert, name, str(error))
                raise
            await self._deliveries.record(alert, name, None)

    async def _current(self) -> NotifierSettings:
        if time.monotonic() >= self._settings_until:
            self._settings = (await self._configuration.load()).notifier
            self._settings_until = time.monotonic() + _SETTINGS_AGE_S
        return self._settings
