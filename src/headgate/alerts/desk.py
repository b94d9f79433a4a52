"""The desk of a workflow: where rules hand in what there is to tell, and alerts go out from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headgate.alerts.episode import Episode, Lasts, Turn, follow
from headgate.alerts.outbox import is_kept, put, replace_undeliverable
from headgate.alerts.summary import summarise
from headgate.alerts.words import clock, span
from headgate.model.alert import Alert, Severity, Status
from headgate.model.alert_rules import AlertsView

_MOST_SHOWN = 100
_BLOCKS = 2**32
_PER_BLOCK = 2**20

NOTIFIER_FAILING = "notifier.failing"
SNAPSHOT_LAG = "snapshot.lag"

LASTED = "lasted_ms"
"""In the data of what says that something is over: how long it was so."""


class AlertRecord(Protocol):
    """What a desk needs of the record of its workflow.

    Attributes:
        incarnation: How often the workflow has been restored.
        alerts: The outbox.
        alerts_lost: Alerts that were collapsed into a summary.
        alert_sequence: Number of the last alert.
        episodes: What people have been told of or will be, by the key of its alerts.
    """

    incarnation: int
    alerts: list[Alert]
    alerts_lost: int
    alert_sequence: int
    episodes: dict[str, Episode]


@dataclass(frozen=True, slots=True)
class News:
    """What an alert says; see ``Alert``."""

    kind: str
    severity: Severity
    title: str
    text: str
    advice: str = ""
    data: dict[str, str | int | float | None] = field(default_factory=dict)


class SetForATime(Protocol):
    """What people set, perhaps until a time."""

    @property
    def since_ms(self) -> int:
        """Since when it holds."""

    @property
    def until_ms(self) -> int | None:
        """Until when; None: without an end."""


class Desk:
    """Writes alerts into the outbox of a record, and keeps its episodes.

    Args:
        record: Holds all there is to remember.
        subject: The workflow's, such as ``downstream/scanner``.
        tenant: Whose workflow it is, if it is a single tenant's.
        epoch: Gives the second part of an id; by default the incarnation.

    Attributes:
        is_thorough: What lasts is told again also when it is less bad than it was; a breaker that
            opens again and again over hours flaps. Runs that began before there was this go on
            without: what they told they tell when they are replayed.
    """

    def __init__(
        self,
        record: AlertRecord,
        subject: str,
        tenant: str | None = None,
        epoch: Callable[[], int] | None = None,
    ) -> None:
        self._record = record
        self.subject = subject
        self._tenant = tenant
        self._epoch = epoch
        self._next: int | None = None
        self._is_stale = True
        self.is_thorough = True

    @property
    def episodes(self) -> dict[str, Episode]:
        """What people have been told of or will be."""
        return self._record.episodes

    def follow(
        self,
        kind: str,
        level: int,
        lasts: Lasts,
        now_ms: int,
        news: Callable[[Turn, Episode], News],
        *,
        subject: str | None = None,
        tenant: str | None = None,
        about: str = "",
        since_ms: int | None = None,
        holds: Callable[[int], bool] | None = None,
        again_ms: int | None = None,
    ) -> bool:
        """Take how bad something is, and tell what there is to tell; see ``episode.follow``.

        Args:
            kind: Of the alerts that begin it; with the subject it is the key.
            level: How bad it is; 0: it is not so.
            lasts: For how long it has to be so.
            now_ms: Unix time.
            news: What to tell of a turn. For what repeats and what is over, the desk adds how long
                it has been so.
            subject: Of the alerts; by default the workflow's.
            tenant: Whose they are; by default the workflow's.
            about: See ``Episode``.
            since_ms: See ``episode.follow``.
            holds: Likewise.
            again_ms: Likewise.

        Returns:
            Whether something was told.
        """
        subject = subject or self.subject
        key = f"{kind}/{subject}"
        if level <= 0 and key not in self.episodes:
            return False
        self._is_stale = True
        steps = follow(
            self.episodes,
            key,
            level,
            lasts,
            now_ms,
            about=about,
            since_ms=since_ms,
            holds=holds,
            again_ms=again_ms,
            repeats_after_fall=self.is_thorough,
        )
        for turn, episode in steps:
            self.say(turn, episode, key, news(turn, episode), now_ms, subject, tenant)
        return bool(steps)

    def say(
        self,
        turn: Turn,
        episode: Episode,
        key: str,
        news: News,
        now_ms: int,
        subject: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Tell of a turn of an episode.

        While it lasts, with since when it has been as bad as it is now; when it is over, with since
        when it was so at all.
        """
        status: Status = "resolved" if turn == "over" else "firing"
        title, text = news.title, news.text
        since_ms = episode.since_ms if turn == "over" else episode.level_since_ms
        if turn == "still":
            title = f"Still: {title}"
            lasted = span(now_ms - since_ms)
            text = f"{text} It has been so for {lasted}, since {clock(since_ms, now_ms)}."
        elif turn == "over":
            over_ms = now_ms if episode.over_since_ms is None else episode.over_since_ms
            lasted_ms = over_ms - since_ms
            text = f"{text} It lasted {span(lasted_ms)}."
            data = {**news.data, LASTED: lasted_ms}
            news = News(news.kind, "info", title, text, news.advice, data)
        self.tell(
            News(news.kind, news.severity, title, text, news.advice, news.data),
            now_ms,
            subject=subject,
            tenant=tenant,
            key=key,
            status=status,
            since_ms=since_ms,
        )

    def tell(
        self,
        news: News,
        now_ms: int,
        *,
        subject: str | None = None,
        tenant: str | None = None,
        key: str = "",
        status: Status = "firing",
        since_ms: int | None = None,
    ) -> None:
        """Put an alert into the outbox."""
        record, subject = self._record, subject or self.subject
        alert = Alert(
            id=self._new_id(subject, news.kind),
            kind=news.kind,
            severity=news.severity,
            subject=subject,
            title=news.title,
            text=news.text,
            at_ms=now_ms,
            data=news.data,
            status=status,
            key=key,
            tenant=tenant or self._tenant,
            since_ms=since_ms,
            advice=news.advice,
        )
        record.alerts_lost += put(
            record.alerts, alert, lambda: self._new_id(self.subject, "alerts.collapsed")
        )

    def expiring(
        self,
        kind: str,
        one: SetForATime | None,
        before_ms: int | None,
        now_ms: int,
        news: Callable[[int], News],
    ) -> None:
        """Tell once that what people have set ends soon, unless it was set for a short time.

        Args:
            kind: Of what they have set.
            one: What they have set; None: nothing.
            before_ms: How long before its end people are told; None: they are not.
            now_ms: Unix time.
            news: What to tell, given its end.
        """
        key = f"{kind}/{self.subject}"
        known = self.episodes.get(key)
        until_ms = None if one is None else one.until_ms
        if known is not None and known.tally.get("until_ms") != until_ms:
            self.end(key)
            known = None
        if one is None or until_ms is None or before_ms is None:
            return
        if known is None:
            if until_ms - one.since_ms <= 2 * before_ms:
                return
            at_ms = until_ms - before_ms
            known = Episode(at_ms, due_ms=at_ms, tally={"until_ms": until_ms})
            self.begin(key, known)
        if known.due_ms is not None and known.due_ms <= now_ms:
            self.wake(key, None)
            self.tell(news(until_ms), now_ms)

    def begin(self, key: str, episode: Episode) -> None:
        """Keep an episode that a rule has made itself."""
        self.episodes[key] = episode
        self._is_stale = True

    def wake(self, key: str, at_ms: int | None) -> None:
        """Have an episode looked at again at a time, or at none."""
        self.episodes[key].due_ms = at_ms
        self._is_stale = True

    def end(self, key: str) -> Episode | None:
        """Forget an episode."""
        self._is_stale = True
        return self.episodes.pop(key, None)

    def due(self, now_ms: int) -> list[tuple[str, Episode]]:
        """Return what has to be looked at, by key."""
        at_ms = self.next_deadline()
        if at_ms is None or at_ms > now_ms:
            return []
        return sorted(
            (
                (key, one)
                for key, one in self.episodes.items()
                if one.due_ms is not None and one.due_ms <= now_ms
            ),
            key=lambda found: found[0],
        )

    def leave(self, due: Sequence[tuple[str, Episode]], now_ms: int) -> None:
        """Have nothing of ``due`` looked at again that no rule has taken care of: it is off."""
        for key, episode in due:
            if self.episodes.get(key) is episode and (episode.due_ms or now_ms + 1) <= now_ms:
                self.wake(key, None)

    def next_deadline(self) -> int | None:
        """Return when an episode next has to be looked at, or None."""
        if self._is_stale:
            due = [one.due_ms for one in self.episodes.values() if one.due_ms is not None]
            self._next, self._is_stale = min(due, default=None), False
        return self._next

    def number_anew(self, seed: int) -> None:
        """Go on in another block of numbers: the workflow was set back to an earlier point.

        What it told after that point is known by numbers that it would give again, to alerts that
        say something else.

        Args:
            seed: Another one for each time that a workflow is set back.
        """
        self._record.alert_sequence = seed % _BLOCKS * _PER_BLOCK

    # Deliveries ------------------------------------------------------------------------------

    def undeliverable(
        self, alerts: Sequence[Alert], because: str, now_ms: int, keep_resolved: bool = True
    ) -> None:
        """Put a summary in the place of alerts whose delivery has failed for good.

        Args:
            alerts: What could not be delivered.
            because: Why.
            now_ms: Unix time.
            keep_resolved: What says that something is over stays and is tried again.
        """
        alerts = [one for one in alerts if not (keep_resolved and is_kept(one, now_ms))]
        if not alerts:
            return
        id = self._new_id(self.subject, "alerts.collapsed")
        summary = summarise(alerts, id, because, now_ms)
        self._record.alerts_lost += sum(1 for one in alerts if one.kind != "alerts.collapsed")
        replace_undeliverable(self._record.alerts, alerts, summary)

    def view(self) -> AlertsView:
        """Return what there is to show."""
        unheard = f"{NOTIFIER_FAILING}/{self.subject}"
        failing = self.episodes.get(unheard)
        told = {
            key: one.since_ms
            for key, one in sorted(self.episodes.items())
            if one.is_told and key != unheard
        }
        return AlertsView(
            open=dict(list(told.items())[:_MOST_SHOWN]),
            collapsed=self._record.alerts_lost,
            undelivered_since_ms=failing.since_ms if failing and failing.is_told else None,
        )

    def _new_id(self, subject: str, kind: str) -> str:
        record = self._record
        record.alert_sequence += 1
        epoch = record.incarnation if self._epoch is None else self._epoch()
        return f"{subject}:{epoch}:{record.alert_sequence}:{kind}"
