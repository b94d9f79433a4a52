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

from headgate.alerts.summary import COLLAPSED, for_tenant
from headgate.model.alert import Alert
from headgate.model.channel_alerts import TEST
from headgate.model.channels import AlertmanagerChannel, Channel, PagerDutyChannel
from headgate.model.errors import HeadgateError
from headgate.model.notifier import NotifierSettings
from headgate.notifier import failing, senders
from headgate.notifier.bundles import Waiting, overtaken
from headgate.notifier.composing import GROUP_MAX, compose
from headgate.notifier.delivery import DeliveryError
from headgate.notifier.incidents import with_resolves
from headgate.notifier.outgoing import Outgoing, part_of, single, together
from headgate.notifier.posting import Poster
from headgate.store.alerts import AlertStore
from headgate.store.channel_rows import ChannelState, Failure, Part, Row, Standing, Tell
from headgate.store.channels import ChannelStore
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.lasting import LastingStore
from headgate.store.messages import MessageStore
from headgate.store.silences import SilenceStore
from headgate.store.untold import UntoldStore

RETRY_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0)
"""How long after each failure in a row the next attempt follows, for three days."""

REMIND_MS: Final = 600_000
"""How often an Alertmanager is told what is still so: it has forgotten it when it was restarted."""

_REMIND_EVERY_S: Final = 30.0
_SETTINGS_AGE_S: Final = 2.0
_POLL_S: Final = 1.0
_FORGET_EVERY_S: Final = 60.0
_KEPT_S: Final = 90 * 86_400.0
_CLEAN_EVERY_S: Final = 3_600.0
_CLAIM_MARGIN_S: Final = 15.0
_CLOSE_S: Final = 5.0
_AT_ONCE: Final = 2_000
_MISCONFIGURED_S: Final = 30.0
_RECOMPOSE_S: Final = 60.0
_REASON_MAX: Final = 500
_TOO_LONG: Final = 413
_DISLIKED: Final = frozenset({400, 422})
_DIVIDED_AT_ANY_RATE: Final = 16
_NOT_COMPOSED: Final = "what waits cannot be made into messages"

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
        self._untold = UntoldStore(database)
        self._messages = MessageStore(database)
        self._lasting = LastingStore(database)
        self._silences = SilenceStore(database)
        self._poster = poster or Poster()
        self._retry_s = retry_s
        self._name = f"notifier-{uuid4().hex[:12]}"
        self._settings = NotifierSettings()
        self._repeat_ms: int | None = None
        self._keeps_open = True
        self._settings_until = 0.0
        self._forget_at = 0.0
        self._clean_at = 0.0
        self._remind_at = 0.0
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
        # As they are now: who is told is settled for good with this.
        settings = await self._configuration.notifier()
        if settings != self._settings:
            self._settings_until = 0.0
        ways = {alert.id: settings.channels_for(alert) for alert in alerts}
        # What was left out of a full outbox tenants hear of their own, through their own channels.
        for tenant in settings.tenants_with_channels():
            for own in [for_tenant(one, tenant) for one in alerts if one.kind == COLLAPSED]:
                if own is not None:
                    alerts = [*alerts, own]
                    ways[own.id] = settings.channels_of(tenant)
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
        is_away, is_new = False, True
        while True:
            self._wake.clear()
            try:
                if is_new:
                    # Its environment is new: what lacked the right secret may be taken now.
                    await self._channels.try_refused()
                    is_new = False
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
        await self._untold.lift(sorted(settings.channels))
        waiting = await self._channels.with_work()
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _FORGET_EVERY_S
            await self._messages.adopt()
            waiting |= await self._channels.failing()  # also when nothing waits for them
            known = waiting | await self._channels.unserved()
            if known - {*settings.channels}:
                self._settings_until = 0.0
                settings = await self._current()
            for name in sorted(known - {*settings.channels}):
                self._told(await self._channels.forget(name, self._teller(name, settings)))
        if time.monotonic() >= self._remind_at:
            self._remind_at = time.monotonic() + _REMIND_EVERY_S
            waiting |= await self._lasting.to_remind(_forgetful(settings), REMIND_MS)
        for name in sorted(waiting & {*settings.channels} - {*self._serving}):
            task = asyncio.create_task(self._serve(name))
            self._serving[name] = task
            task.add_done_callback(partial(self._served, name))
        if time.monotonic() >= self._clean_at:  # last, as it takes its time after a storm
            self._clean_at = time.monotonic() + _CLEAN_EVERY_S
            await self._alerts.forget_old(_KEPT_S, keeps_open=self._keeps_open)

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
            name, self._name, fingerprint(channel), _claim_s(channel)
        )
        if state is None:
            return False
        self._told(await self._channels.look(name, self._teller(name, settings)))
        if state.is_disabled or state.is_waiting:
            return False
        row = await self._messages.next(name)
        if row is None:
            made = await self._composed(name, channel, settings, state)
            if made is not False:
                return bool(made)
            await self._remind(name, channel, settings, state)
            return False
        message = Outgoing.model_validate(row.content)
        if row.held:
            free = [id for id in row.members if id not in row.held]
            parts = await self._parts(name, channel, settings, message, [row.held, free])
            await self._messages.divide(name, message.id, parts)
            return True
        if row.parts_taken == 0 and await self._is_overtaken(name, channel, settings, message, row):
            return True
        if await self._channels.lately(name) >= channel.max_per_minute:
            return False  # what was kept while it was away comes no faster either
        return await self._send(name, channel, settings, state, row, message)

    async def _is_overtaken(
        self,
        name: str,
        channel: Channel,
        settings: NotifierSettings,
        message: Outgoing,
        row: Row,
    ) -> bool:
        """Put another message in the place of one that tells of what is over by now.

        Nobody is called for that any more. It has another id, as it says something else.
        """
        later = await self._untold.ending(name, message.id, row.members)
        told = [alert for alert in message.alerts if alert.id in row.members]
        over = overtaken(told, later)
        if not over:
            return False
        known = {alert.id for some in over for alert in some}
        left = [alert.id for alert in told if alert.id not in known]
        parts = await self._parts(name, channel, settings, message, [left])
        ended = [alert for some in over for alert in some]
        ends = (
            together(ended, channel, settings)
            if len(over) == 1
            else part_of(message, ended, name, channel, settings)
        )
        parts.append(await self._part(name, channel, ends))
        await self._messages.divide(name, message.id, parts)
        return True

    async def _composed(
        self, name: str, channel: Channel, settings: NotifierSettings, state: ChannelState
    ) -> bool | None:
        """Make messages as ``_compose`` does; None: that has failed, which is told if it lasts."""
        teller = self._teller(name, settings)
        try:
            made = await self._compose(name, channel, settings)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            said = f"channel {name}: {_NOT_COMPOSED}: {reason[:_REASON_MAX]}"
            _log.warning("%s", said, exc_info=not isinstance(error, HeadgateError))
            again_s = min(self._retry_s[min(state.failures, len(self._retry_s) - 1)], _RECOMPOSE_S)
            self._told(
                await self._channels.failed_otherwise(name, said, again_s=again_s, tell=teller)
            )
            return None
        if not made and _NOT_COMPOSED in (state.last_error or ""):
            self._told(await self._channels.works(name, teller))
        return made

    async def _compose(self, name: str, channel: Channel, settings: NotifierSettings) -> bool:
        """Make messages of what waits; return whether there are any."""
        found = await self._untold.waiting(name, _AT_ONCE)
        silences = await self._silences.in_force()
        silenced = {
            one.alert.id: silence.id
            for one in found
            for silence in silences
            # Who was told that something is wrong is also told that it is over.
            if silence.covers(one.alert) and not one.is_known and one.alert.kind != TEST
        }
        # And who was not, is not.
        unheard = {one.alert.id: one.silence for one in found if one.silence is not None}
        if silenced or unheard:
            await self._untold.silence(name, silenced, unheard)
            return True  # what else is over by that is seen when it is looked at anew
        waiting = [Waiting(one.alert, one.waited_ms) for one in found]
        if not waiting:
            return False
        messages = compose(
            waiting,
            name,
            channel,
            settings,
            channel.max_per_minute - await self._channels.lately(name),
            await self._messages.since_groups(name),
        )
        for made in messages:
            is_pagerduty = isinstance(channel, PagerDutyChannel)
            message = await with_resolves(self._lasting, name, made) if is_pagerduty else made
            if not await self._messages.add(
                name,
                message.model_dump(mode="json"),
                message.topic,
                [alert.id for alert in message.alerts],
            ):
                return True
        return bool(messages)

    async def _send(
        self,
        name: str,
        channel: Channel,
        settings: NotifierSettings,
        state: ChannelState,
        row: Row,
        message: Outgoing,
    ) -> bool:
        """Try to send a message; return whether to go on serving its channel."""
        began, claim_s = time.monotonic(), _claim_s(channel)
        try:
            for part in range(row.parts_taken, senders.parts(channel, message)):
                # The first one is covered by the claim of this turn.
                if part > row.parts_taken and not await self._channels.hold(
                    name, self._name, claim_s, message.id, part
                ):
                    return False
                await senders.send(self._poster, name, channel, message, part)
        except DeliveryError as error:
            tries = row.attempts if error.of_message else state.failures
            parts: list[Part] = []
            if await self._is_to_divide(name, channel, message, error):
                half = (len(row.members) + 1) // 2
                halves = [row.members[:half], row.members[half:]]
                parts = await self._parts(name, channel, settings, message, halves)
            told = await self._messages.failed(
                name,
                message.id,
                self._failure(error, _ms_since(began), tries),
                self._teller(name, settings, at_once=error.is_final),
                parts,
            )
            _log.warning("%s", error)
        else:
            told = await self._messages.delivered(
                name, message.id, _ms_since(began), self._teller(name, settings)
            )
        self._told(told)
        return True

    async def _is_to_divide(
        self, name: str, channel: Channel, message: Outgoing, error: DeliveryError
    ) -> bool:
        """Return whether a message that tells of many alerts is tried again in two halves.

        What is too long may be taken in parts, and one alert that is not liked should not take
        hundreds with it. Of a receiver that likes nothing at all, down to single alerts only once
        it has taken something: else they would flood it when it is put right.
        """
        if message.form == "alert" or isinstance(channel, PagerDutyChannel):
            return False  # to PagerDuty a group is one incident, however many it is about
        if error.status in _DISLIKED:
            is_large = len(message.alerts) > _DIVIDED_AT_ANY_RATE
            return is_large or await self._messages.has_taken_since(name, message.id)
        return error.status == _TOO_LONG

    async def _parts(
        self,
        name: str,
        channel: Channel,
        settings: NotifierSettings,
        message: Outgoing,
        shares: Sequence[Sequence[str]],
    ) -> list[Part]:
        """Return the messages that a message becomes when it is divided, by alerts."""
        parts = []
        for share in shares:
            some = [alert for alert in message.alerts if alert.id in share]
            if not some:
                continue
            part = part_of(message, some, name, channel, settings)
            parts.append(await self._part(name, channel, part))
        return parts

    async def _part(self, name: str, channel: Channel, message: Outgoing) -> Part:
        if isinstance(channel, PagerDutyChannel):
            message = await with_resolves(self._lasting, name, message)
        ids = [alert.id for alert in message.alerts]
        return Part(message.model_dump(mode="json"), message.topic, ids)

    async def _remind(
        self, name: str, channel: Channel, settings: NotifierSettings, state: ChannelState
    ) -> None:
        """Tell a channel once more what is still so, if it forgets what it is not told again."""
        if not isinstance(channel, AlertmanagerChannel) or state.reminded_ms < REMIND_MS:
            return
        still = await self._lasting.still(name)
        began = time.monotonic()
        try:
            for begin in range(0, len(still), GROUP_MAX):
                if begin and not await self._channels.claim(
                    name, self._name, fingerprint(channel), _claim_s(channel)
                ):
                    return
                some = [single(one, channel, settings) for one in still[begin : begin + GROUP_MAX]]
                await senders.remind(self._poster, name, channel, some)
        except DeliveryError as error:
            # Nothing is lost by it: what fires there lasts for a day, and this is tried again.
            _log.warning("%s; what is still so is told again in a while", error)
            told = await self._lasting.not_reminded(
                name,
                self._failure(error, _ms_since(began), state.failures),
                self._teller(name, settings, at_once=error.is_final),
            )
        else:
            told = await self._lasting.reminded(
                name, _ms_since(began) if still else None, self._teller(name, settings)
            )
        self._told(told)

    def _failure(self, error: DeliveryError, took_ms: int, tries: int) -> Failure:
        return Failure(
            took_ms=took_ms,
            outcome=error.outcome,
            status=error.status,
            error=str(error),
            again_s=self._again_s(error, tries),
            of_message=error.of_message,
            disable=error.is_gone,
        )

    def _again_s(self, error: DeliveryError, tries: int) -> float:
        if error.retry_after_s is not None:
            return max(1.0, error.retry_after_s)
        again_s = self._retry_s[min(tries, len(self._retry_s) - 1)]
        if error.outcome == "misconfigured":
            again_s = min(again_s, _MISCONFIGURED_S)
        # Not all channels of a fleet at the same moment.
        return again_s * random.uniform(0.9, 1.1)  # noqa: S311 - nobody guards anything with it

    def _teller(self, name: str, settings: NotifierSettings, at_once: bool = False) -> Tell:
        """Return what says, of how a channel stands, what others are to be told."""
        shared = [other for other, one in settings.channels.items() if one.tenant is None]

        def ways(alert: Alert) -> list[str]:
            routed = [other for other in settings.channels_for(alert) if other != name]
            return routed or [other for other in shared if other != name]

        def tell(standing: Standing) -> list[tuple[Alert, list[str]]]:
            after_ms = settings.failing_after_ms
            found = failing.news(
                name,
                standing,
                _now_ms(),
                after_ms=after_ms,
                at_once=at_once,
                repeat_ms=self._repeat_ms,
            )
            return [(alert, ways(alert)) for alert in found]

        return tell

    def _told(self, count: int) -> None:
        """Have other channels told of what was written down for them."""
        self._steps += count
        if count:
            self._wake.set()

    async def _current(self) -> NotifierSettings:
        if time.monotonic() >= self._settings_until:
            applied = await self._configuration.load()
            self._settings, self._repeat_ms = applied.notifier, applied.alerts.repeat_ms
            # Where repeats are on, what was not repeated for long is of a workflow that is no more.
            self._keeps_open = not all(rules.repeat_ms for rules in applied.all_rules())
            self._settings_until = time.monotonic() + _SETTINGS_AGE_S
        return self._settings


def _claim_s(channel: Channel) -> float:
    """Return how long a channel is served without a word: longer than a request may take."""
    return channel.timeout_ms / 1000 + _CLAIM_MARGIN_S


def fingerprint(channel: Channel) -> str:
    """Return what changes when the settings of a channel do, but not with a release that has more.

    Most settings have been left out, so one that a release adds is left out here as well.
    """
    said = f"{channel.kind}:{channel.model_dump_json(exclude_defaults=True)}"
    return hashlib.sha256(said.encode()).hexdigest()


def _forgetful(settings: NotifierSettings) -> list[str]:
    """Return the channels that forget what they are not told again."""
    return sorted(
        name for name, one in settings.channels.items() if isinstance(one, AlertmanagerChannel)
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
