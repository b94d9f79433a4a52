"""The alert rules of a breaker: opened, re-opened, flapping, half-open for long, recovered."""

from typing import Final

from headgate.alerts.desk import Desk, News
from headgate.alerts.episode import Episode, Lasts, Turn
from headgate.alerts.words import clock, many, span
from headgate.breaker.record import BreakerRecord
from headgate.model.alert_rules import AlertRules, Flapping
from headgate.model.breaker import BreakerState, Override, Throttle

_OPENED: Final = "breaker.opened"
_RECOVERED: Final = "breaker.recovered"
_HALF_OPEN: Final = "breaker.half_open_long"
_OVERRIDE: Final = "override.expiring"
_THROTTLE: Final = "throttle.expiring"
_OPENINGS: Final = "openings"
_COMMANDS: Final = {
    BreakerState.FORCED_OPEN: "force-open",
    BreakerState.FORCED_CLOSED: "force-closed",
    BreakerState.SHADOW: "shadow",
}
_REASON: Final = '--reason "..."'

ONLY_CHANGES: Final = AlertRules(repeat_ms=None, half_open_ms=None, flapping=None, expiring_ms=None)
"""The rules of a breaker whose configuration was applied before there were any."""


class Watch:
    """Tells of what a breaker does, as far as callers meet it: under an override, of nothing.

    Opening and recovering are one episode, with one key, whatever is told in between.

    Args:
        record: Of the breaker.
        is_quiet: Of one that flaps nothing more is said, as was announced, also not that it has
            been HALF_OPEN for long. Runs that began before there was this tell of it.
    """

    def __init__(self, record: BreakerRecord, *, is_quiet: bool = True) -> None:
        self._record = record
        self._is_quiet = is_quiet
        self.desk = Desk(record, f"downstream/{record.downstream}", epoch=lambda: record.epoch)
        self._key = f"{_OPENED}/{self.desk.subject}"

    @property
    def _rules(self) -> AlertRules:
        return self._record.settings.alerts or ONLY_CHANGES

    # What happens ----------------------------------------------------------------------------

    def note_opening(self, now_ms: int) -> None:
        """Count an opening or re-opening, whether it is told of or not."""
        flapping = self._rules.flapping
        if self._record.override is not None:
            return  # not what callers meet
        known = self.desk.episodes.get(self._key)
        if known is not None:
            known.tally[_OPENINGS] = known.tally.get(_OPENINGS, 0) + 1
        if flapping is None:
            self._record.openings = []
            return
        recent = [at for at in self._record.openings if at > now_ms - flapping.within_ms]
        self._record.openings = [*recent, now_ms][-flapping.openings :]

    def opened(self, kind: str, reason: str, now_ms: int) -> None:
        """Tell that it opened; of one that flaps, that it does, and then no more."""
        record, flapping = self._record, self._rules.flapping
        if record.override is not None or record.flapping:
            return
        known = self.desk.episodes.get(self._key)
        if known is None:
            since_ms = now_ms if record.opened_at_ms is None else record.opened_at_ms
            known = Episode(since_ms, tally={_OPENINGS: 1})
            self.desk.begin(self._key, known)
        known.told_ms, known.level = now_ms, 1
        news = self._opened_news(kind, reason, now_ms)
        if flapping is not None and self._openings(known, now_ms)[0] >= flapping.openings:
            record.flapping = True
            news = self._flapping_news(flapping, known, reason, now_ms)
        self.desk.say("told", known, self._key, news, now_ms)
        record.alarmed = True

    def recovered(self, reason: str, now_ms: int) -> None:
        """Tell that it closed; one that flaps has to stay closed for a while first."""
        record = self._record
        if not record.alarmed or record.override is not None or record.flapping:
            return
        self._tell_recovered(reason, now_ms)

    def look(self, now_ms: int) -> None:
        """Tell what time alone makes worth telling."""
        record, rules = self._record, self._rules
        due = self.desk.due(now_ms)
        if record.flapping:
            self._look_at_flapping(now_ms)
        self._look_at_repeat(rules, now_ms)
        self._look_at_half_open(rules, now_ms)
        self._look_at_expiry(_OVERRIDE, record.override, rules, now_ms)
        self._look_at_expiry(_THROTTLE, record.throttle, rules, now_ms)
        self.desk.leave(due, now_ms)

    def next_deadline(self) -> int | None:
        """Return when ``look`` next has something to do, or None."""
        return self.desk.next_deadline()

    # Rules -----------------------------------------------------------------------------------

    def _look_at_flapping(self, now_ms: int) -> None:
        """Find out whether it has calmed down."""
        record, flapping = self._record, self._rules.flapping
        is_closed = record.state is BreakerState.CLOSED and record.override is None
        calm_ms = 0 if flapping is None else flapping.calm_ms
        if is_closed and now_ms - record.since_ms >= calm_ms:
            record.flapping, record.openings = False, []
            self._tell_recovered(f"CLOSED for {span(now_ms - record.since_ms)}", now_ms)

    def _look_at_repeat(self, rules: AlertRules, now_ms: int) -> None:
        record, known = self._record, self.desk.episodes.get(self._key)
        if known is None or known.told_ms is None:
            return
        wait = record.override is not None
        if record.state is BreakerState.CLOSED:
            flapping = rules.flapping
            calm_ms = 0 if flapping is None else flapping.calm_ms
            due_ms = record.since_ms + calm_ms if record.flapping and not wait else None
            self.desk.wake(self._key, due_ms)
            return
        if rules.repeat_ms is None or wait:
            self.desk.wake(self._key, None)
            return
        if now_ms - known.told_ms >= rules.repeat_ms:
            known.told_ms = now_ms
            news = self._opened_news(_OPENED, record.reason, now_ms)
            if record.flapping and rules.flapping is not None:
                news = self._flapping_news(rules.flapping, known, record.reason, now_ms)
            self.desk.say("still", known, self._key, news, now_ms)
        self.desk.wake(self._key, known.told_ms + rules.repeat_ms)

    def _look_at_half_open(self, rules: AlertRules, now_ms: int) -> None:
        record = self._record
        is_so = (
            rules.half_open_ms is not None
            and record.state is BreakerState.HALF_OPEN
            and record.override is None
            and not (record.flapping and self._is_quiet)
        )
        self.desk.follow(
            _HALF_OPEN,
            int(is_so),
            Lasts(after_ms=rules.half_open_ms or 0, repeat_ms=rules.repeat_ms),
            now_ms,
            lambda turn, _: self._half_open_news(turn, now_ms),
            since_ms=record.since_ms,
        )

    def _look_at_expiry(
        self, kind: str, one: Override | Throttle | None, rules: AlertRules, now_ms: int
    ) -> None:
        """Tell that what people have set ends soon."""

        def news(until_ms: int) -> News:
            assert one is not None
            return self._expiring_news(kind, one, until_ms, now_ms)

        self.desk.expiring(kind, one, rules.expiring_ms, now_ms, news)

    # What is said ----------------------------------------------------------------------------

    def _tell_recovered(self, reason: str, now_ms: int) -> None:
        record = self._record
        known = self.desk.end(self._key)
        if known is None:
            # Told by a version that kept no episodes.
            known = Episode(now_ms if record.opened_at_ms is None else record.opened_at_ms)
        record.alarmed = False
        news = News(
            _RECOVERED,
            "info",
            f"{record.downstream}: breaker closed",
            f"{reason[:1].upper()}{reason[1:]}. All calls pass again.",
            data=self._data(),
        )
        self.desk.say("over", known, self._key, news, now_ms)

    def _opened_news(self, kind: str, reason: str, now_ms: int) -> News:
        record = self._record
        name = record.downstream
        title = f"{name}: breaker {'re-opened' if record.alarmed else 'opened'}"
        text = f"{reason}. It is {record.state}."
        if record.state is BreakerState.OPEN and record.until_ms is not None:
            text = (
                f"{reason}. No calls for {span(record.until_ms - now_ms)}, then "
                f"{many(record.policy.probes, 'probe call')}."
            )
        return News(kind, "critical", title, text, self._advice(), self._data())

    def _openings(self, known: Episode, now_ms: int) -> tuple[int, int]:
        """Return how often it has opened, and within what time: lately, or since it last worked.

        Who is down for long, with long pauses between the probes, opens seldom enough; each time
        that it does so is told of no more than of one that opens every minute.
        """
        openings, count = self._record.openings, known.tally.get(_OPENINGS, 0)
        if self.desk.is_thorough and count > len(openings):
            return count, now_ms - known.since_ms
        return len(openings), now_ms - openings[0] if openings else 0

    def _flapping_news(self, flapping: Flapping, known: Episode, reason: str, now_ms: int) -> News:
        record = self._record
        count, within_ms = self._openings(known, now_ms)
        within_ms = within_ms or flapping.within_ms
        return News(
            "breaker.flapping",
            "critical",
            f"{record.downstream}: breaker opens again and again",
            f"It has opened {many(count, 'time')} in {span(within_ms)}, the last time because "
            f"{reason}. Nothing more is said of it until it has been CLOSED for "
            f"{span(flapping.calm_ms)}.",
            self._advice(),
            {**self._data(), "openings": count, "within_ms": within_ms},
        )

    def _half_open_news(self, turn: Turn, now_ms: int) -> News:
        record = self._record
        if turn == "over":
            title = f"{record.downstream}: breaker is no longer HALF_OPEN"
            return News(_HALF_OPEN, "info", title, f"It is {record.state}.", data=self._data())
        good, bad, probes = record.probe_successes, record.probe_failures, record.policy.probes
        return News(
            _HALF_OPEN,
            "warning",
            f"{record.downstream}: breaker HALF_OPEN for {span(now_ms - record.since_ms)}",
            f"Of {many(probes, 'probe call')} {good} succeeded and {bad} failed, "
            f"{len(record.probes)} are under way; the others have not been made. Until that is "
            "settled, no other call passes.",
            f"See what is known: headgate breaker show {record.downstream}. If it works: headgate "
            f"breaker reset {record.downstream} {_REASON}.",
            self._data(),
        )

    def _expiring_news(
        self, kind: str, one: Override | Throttle, until_ms: int, now_ms: int
    ) -> News:
        name = self._record.downstream
        if isinstance(one, Override):
            what = f"{one.mode}"
            again = f"headgate breaker {_COMMANDS[one.mode]} {name} --for 1h {_REASON}"
        else:
            share = f"{one.share:.0%}"
            what = f"throttle to {share}"
            again = f"headgate breaker throttle {name} --to {share} --for 1h {_REASON}"
        return News(
            kind,
            "info",
            f"{name}: {what} ends in {span(until_ms - now_ms)}",
            f"What {one.actor} set ({one.reason}) ends at {clock(until_ms, now_ms)}; then the "
            f"breaker is what it would have been: {self._record.state}.",
            f"Set it anew if it is still needed: {again}.",
            {**self._data(), "until_ms": until_ms},
        )

    def _advice(self) -> str:
        name = self._record.downstream
        return (
            f"See the calls that failed: headgate breaker show {name}. If {name} works and the "
            f"breaker is wrong: headgate breaker force-closed {name} --for 30m {_REASON}."
        )

    def _data(self) -> dict[str, str | int | float | None]:
        record = self._record
        return {"downstream": record.downstream, "state": record.state, "epoch": record.epoch}
