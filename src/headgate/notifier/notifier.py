"""The Notifier: takes alerts over from the workflows and sees to it that people are told.

Alerts come in by ``take`` and are in Postgres from then on. Any number of processes ``run`` a
Notifier on the same database; each channel is served by one of them at a time, which composes
messages of what waits (``composing.py``) and sends them in order. When that process dies another
one takes the channel over as soon as its claim has run out.
"""

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Self
from uuid import uuid4

from headgate.model.alert import Alert
from headgate.model.channels import Channel, PagerDutyChannel
from headgate.model.errors import HeadgateError
from headgate.model.notifier import NotifierSettings
from headgate.notifier import failing, senders
from headgate.notifier.composing import Waiting, compose
from headgate.notifier.delivery import DeliveryError
from headgate.notifier.outgoing import Outgoing
from headgate.notifier.posting import Poster
from headgate.store.alerts import AlertStore
from headgate.store.channels import ChannelState, ChannelStore, Row
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.silences import SilenceStore

RETRY_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0)
"""How long after each failure in a row the next attempt follows, for three days."""

_SETTINGS_AGE_S: Final = 2.0
_POLL_S: Final = 1.0
_FORGET_EVERY_S: Final = 60.0
_KEPT_S: Final = 90 * 86_400.0
_CLEAN_EVERY_S: Final = 3_600.0
_CLAIM_MARGIN_S: Final = 15.0
_CLOSE_S: Final = 5.0
_AT_ONCE: Final = 2_000
_MISCONFIGURED_S: Final = 30.0

_log = logging.getLogger("headgate.notifier")


class Notifier:
    """Takes alerts, and delivers them to the channels of the applied configuration.

    Args:
        database: Where the configuration is, and all that is to be told.
        poster: Sends requests.
        retry_s: How long after each failure in a row the next attempt follows.
    """

    def __init__(
        self,
        database: Database,
        poster: Poster | None = None,
        retry_s: Sequence[float] = RETRY_S,
    ) -> None:
        self._configuration = ConfigurationStore(database)
        self._alerts = AlertStore(database)
        self._channels = ChannelStore(database)
        self._silences = SilenceStore(database)
        self._poster = poster or Poster()
        self._retry_s = retry_s
        self._name = f"notifier-{uuid4().hex[:12]}"
        self._settings = NotifierSettings()
        self._settings_until = 0.0
        self._forget_at = 0.0
        self._clean_at = 0.0
        self._running: asyncio.Task[None] | None = None
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._steps = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # What others use ---------------------------------------------------------------------------

    async def check(self) -> None:
        """Make sure that all channels have what they need: secrets, addresses, Apprise.

        Raises:
            ConfigurationError: With one line for each that lacks something.
        """
        settings = (await self._configuration.load()).notifier
        await asyncio.to_thread(senders.check_all, settings)

    async def take(self, alerts: Sequence[Alert]) -> None:
        """Take alerts over: once this returns, none is lost.

        Raises:
            UnavailableError: Postgres is away; nothing was taken, so hand them over again.
        """
        settings = await self._current()
        ways = {alert.id: settings.channels_for(alert) for alert in alerts}
        await self._alerts.take(alerts, ways)
        self._wake.set()

    def start(self) -> None:
        """Deliver from now on, until ``close``."""
        if self._running is None:
            self._closing = False
            self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Deliver no more; what is being sent may still be sent."""
        self._closing = True
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        serving = list(self._serving.values())
        if serving:
            await asyncio.wait(serving, timeout=_CLOSE_S)
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def work(self) -> None:
        """Deliver what can be delivered now, and return."""
        done = -1
        while done != self._steps:
            done = self._steps
            await self._serve_all()
            if self._serving:
                await asyncio.wait([*self._serving.values()])

    # Delivering --------------------------------------------------------------------------------

    async def _run(self) -> None:
        is_away = False
        while True:
            self._wake.clear()
            try:
                await self._serve_all()
                is_away = False
            except HeadgateError as error:
                if not is_away:
                    _log.warning("alerts wait: %s", error)
                is_away = True
            except Exception:
                # Whatever it was: alerts that wait in Postgres are looked at again.
                _log.exception("alerts wait: the Notifier goes on in %s s", _POLL_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _POLL_S)

    async def _serve_all(self) -> None:
        """Begin to serve every channel for which something can be done."""
        settings = await self._current()
        waiting = await self._channels.with_work()
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + _CLEAN_EVERY_S
            await self._alerts.forget_old(_KEPT_S)
        unknown = waiting - {*settings.channels}
        if unknown and time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY_S
            self._settings_until = 0.0
            settings = await self._current()
            await self._channels.forget(sorted(settings.channels))
        for name in sorted(waiting & {*settings.channels} - {*self._serving}):
            task = asyncio.create_task(self._serve(name))
            self._serving[name] = task
            task.add_done_callback(partial(self._served, name))

    def _served(self, name: str, task: asyncio.Task[None]) -> None:
        del self._serving[name]
        if not task.cancelled() and task.exception() is not None:
            _log.error("channel %s: a defect; it is tried again", name, exc_info=task.exception())

    async def _serve(self, name: str) -> None:
        """Send what one channel is to be told, as long as it takes it."""
        try:
            try:
                while not self._closing and await self._turn(name):
                    self._steps += 1
            finally:
                await self._channels.release(name, self._name)
        except HeadgateError as error:
            _log.warning("channel %s waits: %s", name, error)

    async def _turn(self, name: str) -> bool:
        """Send one message, or make some; return whether there may be more to do."""
        settings = await self._current()
        channel = settings.channels.get(name)
        if channel is None:
            return False
        state = await self._channels.claim(
            name, self._name, fingerprint(channel), channel.timeout_ms / 1000 + _CLAIM_MARGIN_S
        )
        if state is None:
            return False
        for count, reason in await self._channels.give_up(name):
            await self._tell_others(failing.given_up(name, count, reason, _now_ms()), name)
        if state.is_disabled or state.is_waiting:
            await self._tell_of(name, state, settings)
            return False
        row = _next(await self._channels.open(name, _AT_ONCE))
        if row is None:
            return await self._compose(name, channel, settings)
        await self._send(name, channel, settings, state, row)
        return True

    async def _compose(self, name: str, channel: Channel, settings: NotifierSettings) -> bool:
        """Make messages of what waits; return whether there are any."""
        found = await self._channels.waiting(name, _AT_ONCE)
        silences = await self._silences.in_force()
        silenced = {
            alert.id: silence.id
            for alert, _, is_known in found
            for silence in silences
            # Who was told that something is wrong is also told that it is over.
            if silence.covers(alert) and not is_known and alert.kind != failing.TEST
        }
        if silenced:
            await self._channels.silence(name, silenced)
        waiting = [
            Waiting(alert, waited_ms) for alert, waited_ms, _ in found if alert.id not in silenced
        ]
        if not waiting:
            return False
        messages = compose(
            waiting,
            name,
            channel,
            settings,
            channel.max_per_minute - await self._channels.lately(name),
            await self._channels.since_groups(name),
        )
        for made in messages:
            is_pagerduty = isinstance(channel, PagerDutyChannel)
            message = await self._with_resolves(name, made) if is_pagerduty else made
            await self._channels.add(
                name,
                message.model_dump(mode="json"),
                message.topic,
                [alert.id for alert in message.alerts],
            )
        return bool(messages)

    async def _with_resolves(self, name: str, message: Outgoing) -> Outgoing:
        """Return a message that says which incidents are over: its own, and those of groups."""
        last = {alert.key or alert.id: alert for alert in message.alerts}
        over = {key for key, alert in last.items() if alert.status == "resolved"}
        groups = [
            row["id"]
            for row in await self._channels.told_of(name, sorted(over))
            if not {*(row["firing"] or ())} - over
        ]
        return message.model_copy(update={"resolves": [*sorted(over), *groups]})

    async def _send(
        self,
        name: str,
        channel: Channel,
        settings: NotifierSettings,
        state: ChannelState,
        row: Row,
    ) -> None:
        message = Outgoing.model_validate(row.content)
        began = time.monotonic()
        try:
            await senders.send(self._poster, name, channel, message)
        except DeliveryError as error:
            tries = row.attempts if error.of_message else state.failures
            await self._channels.failed(
                name,
                message.id,
                _ms_since(began),
                error.outcome,
                error.status,
                str(error),
                again_s=self._again_s(error, tries),
                of_message=error.of_message,
                disable=error.is_gone,
            )
            _log.warning("%s", error)
            now = await self._channels.state(name)
            if now is not None and not error.of_message:
                await self._tell_of(name, now, settings, error.outcome == "misconfigured")
            return
        if state.told and state.failing_since_ms is not None:
            # Before it is written down that the channel works: done twice it is told of once.
            over = failing.works_again(name, state.failing_since_ms, _now_ms())
            await self._tell_others(over, name)
        await self._channels.delivered(name, message.id, _ms_since(began))

    def _again_s(self, error: DeliveryError, tries: int) -> float:
        if error.retry_after_s is not None:
            return max(1.0, error.retry_after_s)
        again_s = self._retry_s[min(tries, len(self._retry_s) - 1)]
        if error.outcome == "misconfigured":
            again_s = min(again_s, _MISCONFIGURED_S)
        # Not all channels of a fleet at the same moment.
        return again_s * random.uniform(0.9, 1.1)  # noqa: S311 - nobody guards anything with it

    async def _tell_of(
        self, name: str, state: ChannelState, settings: NotifierSettings, at_once: bool = False
    ) -> None:
        """Tell another channel that this one has been failing for long, once."""
        failing_ms, since_ms = state.failing_ms, state.failing_since_ms
        if state.told or failing_ms is None or since_ms is None:
            return
        if at_once or state.is_disabled or failing_ms >= settings.failing_after_ms:
            await self._tell_others(failing.is_failing(name, state, since_ms, _now_ms()), name)
            await self._channels.told(name)

    async def _tell_others(self, alert: Alert, but: str) -> None:
        settings = await self._current()
        shared = [name for name, channel in settings.channels.items() if channel.tenant is None]
        ways = [name for name in settings.channels_for(alert) if name != but]
        ways = ways or [name for name in shared if name != but]
        self._steps += await self._alerts.take([alert], {alert.id: ways})
        self._wake.set()

    async def _current(self) -> NotifierSettings:
        if time.monotonic() >= self._settings_until:
            self._settings = (await self._configuration.load()).notifier
            self._settings_until = time.monotonic() + _SETTINGS_AGE_S
        return self._settings


def fingerprint(channel: Channel) -> str:
    """Return what changes when the settings of a channel do."""
    return hashlib.sha256(channel.model_dump_json().encode()).hexdigest()


def _next(rows: Sequence[Row]) -> Row | None:
    """Return the first message that may be sent: what is about the same keeps its order."""
    held: set[str] = set()
    for row in rows:
        subjects = {alert["subject"] for alert in row.content["alerts"]}
        if row.is_due and not subjects & held:
            return row
        held |= subjects
    return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
