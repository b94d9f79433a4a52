"""The alert rules of a ledger: what its last step means for those who should know."""

from collections.abc import Callable
from typing import Final

from headgate.alerts.desk import Desk
from headgate.alerts.episode import Episode, Lasts
from headgate.alerts.forecast import SPANS_MS, Pace
from headgate.alerts.usage import level_of, still_at
from headgate.model.alert_rules import AlertRules
from headgate.model.ledger import Decision
from headgate.model.quota import QuotaOverride, Throttle
from headgate.model.reason import ReasonCode
from headgate.quota.bound import Bound, bound_of, opens_at
from headgate.quota.lease_record import idle_units
from headgate.quota.limits import WINDOWS, Limits
from headgate.quota.news import (
    WindowUse,
    denied_news,
    expiring_news,
    forecast_news,
    gather_reclaimed,
    reclaimed_news,
    usage_news,
    waiting_news,
    window_news,
)
from headgate.quota.queues import Queues
from headgate.quota.reasons import Inquiry
from headgate.quota.record import LedgerRecord, Meter, Permit, Waiter, Window, WindowKind
from headgate.quota.standing import Standing
from headgate.quota.ways import Ways

_RECLAIMED: Final = "permits.reclaimed"
_EXPIRING: Final = "expiring/"
_AT_ONCE: Final = Lasts()
_NOTHING: Final = Meter()


class Watch:
    """Looks at the resources that a step has touched, and at what is due.

    A ledger at work touches a resource thousands of times and arms next to no timer for it: what
    only happens with a request needs none.

    Args:
        record: Of the ledger.
        standing: What limits each resource.
        queues: Who waits.
        inquiry: Says why somebody waits.
        ways: Of the ledger.
    """

    def __init__(
        self,
        record: LedgerRecord,
        standing: Standing,
        queues: Queues,
        inquiry: Callable[[int], Inquiry],
        ways: Ways,
    ) -> None:
        self._record = record
        self._standing = standing
        self._queues = queues
        self._inquiry = inquiry
        self._ways = ways
        self.desk = Desk(record, f"tenant/{record.tenant}", record.tenant)
        # What the present step has touched.
        self.touched: set[str] = set()
        self.granted: set[str] = set()
        self._denied: dict[str, str] = {}
        self._reclaimed: list[Permit] = []
        self._is_settled = False
        self._idle: dict[str, int] = {}

    # What happens in a step ------------------------------------------------------------------

    def denied(self, resource: str, decision: Decision | None = None) -> None:
        """Note that a request was refused. What people have paused is no news to them."""
        reason = None if decision is None else decision.reason
        if reason is None:
            self._denied.setdefault(resource, "")
        elif reason.code is not ReasonCode.SUSPENDED:
            self._denied[resource] = reason.message

    def reclaimed(self, permit: Permit) -> None:
        """Note that a permit was taken back whose holder has closed."""
        self._reclaimed.append(permit)

    def settled(self) -> None:
        """Note that limits may have changed: everything is looked at."""
        self._is_settled = True

    def look(self, now_ms: int) -> None:
        """Tell what there is to tell after a step."""
        record, rules = self._record, self._record.alert_rules
        before = record.alert_sequence
        if rules is None:
            if self.desk.episodes:
                for key in list(self.desk.episodes):
                    self.desk.end(key)
        else:
            self._look(rules, now_ms)
        if record.alert_sequence != before:
            record.revision += 1
        for touched in (self.touched, self.granted, self._denied, self._reclaimed):
            if touched:
                touched.clear()
        self._is_settled = False

    def next_deadline(self) -> int | None:
        """Return when ``look`` next has something to do, or None."""
        return self.desk.next_deadline()

    # Rules -----------------------------------------------------------------------------------

    def _look(self, rules: AlertRules, now_ms: int) -> None:
        due = self.desk.due(now_ms)
        self._idle = idle_units(self._record.leases.values()) if self._ways.sees_idle else {}
        resources = {*self.touched, *self.granted, *self._denied, *self._queues.resources()}
        resources.update(episode.about for _, episode in due)
        if self._is_settled:
            resources |= self._record.meters.keys()
            resources.update(episode.about for episode in self.desk.episodes.values())
            self._plan_expiries(rules)
        for resource in sorted(resources - {""}):
            self._look_at(resource, rules, now_ms)
        self._gather_reclaimed(rules, now_ms)
        for key, _ in due:
            if key.startswith(_EXPIRING):
                self._tell_expiring(key, now_ms)
        self.desk.leave(due, now_ms)

    def _look_at(self, resource: str, rules: AlertRules, now_ms: int) -> None:
        limits = self._standing.of(resource)
        meter = self._record.meters.get(resource) or _NOTHING
        denied = f"quota.denied/{self._of(resource)}"
        self._look_at_usage(resource, rules, limits, meter, now_ms)
        if (limits is not None and limits.windows) or self._has_windows(resource):
            zone = "UTC" if limits is None else limits.time_zone
            of = {} if limits is None else dict(limits.windows)
            for kind in WINDOWS:
                window = meter.windows.get(kind)
                self._look_at_window(resource, kind, rules, of.get(kind), window, zone, now_ms)
        if meter is not _NOTHING:
            self._look_at_denials(resource, rules, meter, now_ms)
        elif self.desk.is_thorough and denied in self.desk.episodes:
            # Its account was added to that of all others meanwhile; what was told is over as well.
            self._look_at_denials(resource, rules, Meter(), now_ms)
        self._look_at_line(resource, rules, now_ms)
        if self._record.resource_throttles:
            self._look_at_resource_throttles(resource, rules, now_ms)

    def _look_at_usage(
        self,
        resource: str,
        rules: AlertRules,
        limits: Limits | None,
        meter: Meter,
        now_ms: int,
    ) -> None:
        limit, used = None if limits is None else limits.max_active, meter.units
        used = max(0, used - self._idle.get(resource, 0))
        self.desk.follow(
            "quota.threshold",
            level_of(used, limit, rules.usage_levels),
            Lasts(calm_ms=rules.calm_ms, repeat_ms=rules.repeat_ms),
            now_ms,
            lambda turn, episode: usage_news(
                turn,
                episode.level,
                used,
                bound_of(self._record, resource, "max_active", limits, now_ms),
            ),
            subject=self._of(resource),
            about=resource,
            holds=lambda at: (
                at in rules.usage_levels and still_at(at, used, limit, rules.usage_margin)
            ),
        )

    def _look_at_window(
        self,
        resource: str,
        kind: WindowKind,
        rules: AlertRules,
        limit: int | None,
        window: Window | None,
        zone: str,
        now_ms: int,
    ) -> None:
        """Look at what is used of a calendar window, and when it will be used up."""
        subject = f"{self._of(resource)}/{kind}"
        is_open = window is not None and window.ends_at_ms > now_ms
        used = window.used if window is not None and is_open else 0
        ends_ms = window.ends_at_ms if window is not None and is_open else 0
        use = WindowUse(self._record.tenant, resource, kind, used, limit, ends_ms, now_ms, zone)

        def follow(level: int, lasts: Lasts) -> None:
            self.desk.follow(
                "quota.threshold",
                level,
                lasts,
                now_ms,
                lambda turn, episode: window_news(
                    turn,
                    episode.level,
                    use,
                    self._bound_of(use),
                    opens_at(self._record, resource, kind, used, ends_ms, now_ms),
                ),
                subject=subject,
                about=resource,
                holds=lambda at: (
                    lasts is not _AT_ONCE
                    and at in rules.usage_levels
                    and still_at(at, used, limit, rules.usage_margin)
                ),
                again_ms=ends_ms or None,
            )

        key = f"quota.threshold/{subject}"
        if self._is_of_another(key, ends_ms):
            follow(0, _AT_ONCE)  # that window is over, and with it what was told of it
        # What is used does not come back before the end, so nobody has to be woken to repeat it.
        lasts = Lasts(calm_ms=rules.calm_ms, repeat_ms=rules.repeat_ms, wakes=False)
        follow(level_of(used, limit, rules.usage_levels), lasts)
        self._note_end(key, ends_ms)
        if rules.forecast_from is not None and (window is not None or self._has_windows(resource)):
            self._foresee(subject, rules, use, window if is_open else None)

    def _foresee(
        self, subject: str, rules: AlertRules, use: WindowUse, window: Window | None
    ) -> None:
        used, limit, ends_ms, now_ms = use.used, use.limit, use.ends_at_ms, use.now_ms
        at_ms: int | None = None
        span_ms = SPANS_MS[use.kind]
        if window is not None and limit is not None:
            if window.pace is None:
                window.pace = Pace(now_ms, used, now_ms, used)
            window.pace.observe(used, now_ms, span_ms)
            if used < limit:
                at_ms = window.pace.used_up_at(used, limit, now_ms, span_ms)
        comes = at_ms is not None and at_ms < ends_ms
        is_news = comes and limit is not None and used * 100 >= (rules.forecast_from or 0) * limit

        def follow(level: int, lasts: Lasts, again_ms: int | None = None) -> None:
            self.desk.follow(
                "quota.forecast",
                level,
                lasts,
                now_ms,
                lambda turn, _: forecast_news(turn, at_ms, use, self._bound_of(use)),
                subject=subject,
                about=use.resource,
                again_ms=again_ms,
            )

        key = f"quota.forecast/{subject}"
        if self._is_of_another(key, ends_ms) or (limit is not None and used >= limit):
            follow(0, _AT_ONCE)
        if is_news or key in self.desk.episodes:
            # It changes by itself only when nothing more is used: to be seen by that time.
            again_ms = ends_ms if at_ms is None else min(ends_ms, max(at_ms, now_ms + span_ms))
            known = self.desk.episodes.get(key)
            still = is_news or (comes and known is not None and known.is_told)
            lasts = Lasts(calm_ms=rules.calm_ms, repeat_ms=rules.repeat_ms, wakes=False)
            follow(int(still), lasts, again_ms if again_ms > now_ms else None)
        self._note_end(key, ends_ms)

    def _look_at_denials(self, resource: str, rules: AlertRules, meter: Meter, now_ms: int) -> None:
        """Look at refusals without a grant between them, which are looked at when one is made."""
        if rules.denied_ms is None or resource in self.granted:
            meter.denying_since_ms = None
        elif resource in self._denied:
            if meter.denying_since_ms is None:
                meter.denying_since_ms = now_ms
            meter.denied_at_ms = now_ms
        elif meter.denying_since_ms is not None and now_ms - meter.denied_at_ms >= rules.calm_ms:
            meter.denying_since_ms = None  # nobody asks any more
        since_ms, after_ms = meter.denying_since_ms, rules.denied_ms or 0
        is_long = since_ms is not None and now_ms - since_ms >= after_ms
        begun_ms = now_ms if since_ms is None else since_ms
        self.desk.follow(
            "quota.denied",
            int(is_long),
            Lasts(calm_ms=rules.calm_ms + after_ms, repeat_ms=rules.repeat_ms, wakes=False),
            now_ms,
            lambda turn, episode: denied_news(
                turn,
                self._record.tenant,
                resource,
                episode.since_ms,
                now_ms,
                meter.denied,
                self._denied.get(resource, ""),
            ),
            subject=self._of(resource),
            about=resource,
            since_ms=begun_ms,
            again_ms=None if since_ms is None else meter.denied_at_ms + rules.calm_ms,
        )

    def _look_at_line(self, resource: str, rules: AlertRules, now_ms: int) -> None:
        """Look at who has waited for longest."""
        found = self._longest(resource) if rules.waiting_ms is not None else None
        key = f"quota.waiting/{self._of(resource)}"
        known = self.desk.episodes.get(key)
        if found is None and known is None:
            return
        after_ms = rules.waiting_ms or 0
        since_ms = None if found is None else found[1].since_ms
        is_long = since_ms is not None and now_ms - since_ms >= after_ms
        # Who waits may come to wait for long, and only then it is news.
        level = int(is_long if known is not None and known.is_told else found is not None)

        def why() -> str:
            return "" if found is None else self._inquiry(now_ms).why(found[0]).reason.message

        self.desk.follow(
            "quota.waiting",
            level,
            Lasts(after_ms=after_ms, calm_ms=rules.calm_ms, repeat_ms=rules.repeat_ms),
            now_ms,
            lambda turn, _: waiting_news(
                turn,
                self._record.tenant,
                resource,
                None if found is None else found[1],
                self._queues.length(resource),
                now_ms,
                "" if turn == "over" else why(),
            ),
            subject=self._of(resource),
            about=resource,
            since_ms=since_ms,
            again_ms=None if since_ms is None or is_long else since_ms + after_ms,
        )

    def _longest(self, resource: str) -> tuple[str, Waiter] | None:
        """Return who has waited for longest: the first of one of the priorities."""
        waiters = self._record.waiters
        firsts = [(id, waiters[id]) for *_, id in self._queues.tiers(resource)]
        return min(firsts, key=lambda one: (one[1].since_ms, one[1].order), default=None)

    def _gather_reclaimed(self, rules: AlertRules, now_ms: int) -> None:
        """Tell of permits that were reclaimed, together what came together."""
        key = f"{_RECLAIMED}/{self.desk.subject}"
        every_ms = rules.reclaimed_every_ms
        if every_ms is None:
            return
        episode = self.desk.episodes.get(key)
        if self._reclaimed:
            if episode is None:
                episode = Episode(now_ms, due_ms=now_ms + every_ms)
                self.desk.begin(key, episode)
            for permit in self._reclaimed:
                gather_reclaimed(episode, permit)
        if episode is not None and episode.due_ms is not None and episode.due_ms <= now_ms:
            self.desk.end(key)
            news = reclaimed_news(self._record.tenant, episode, now_ms)
            self.desk.tell(news, now_ms, since_ms=episode.since_ms)

    # What people have set --------------------------------------------------------------------

    def _plan_expiries(self, rules: AlertRules) -> None:
        """Have what people have set looked at before it ends, unless it is set for a short time."""
        wanted: dict[str, int] = {}
        if rules.expiring_ms is not None:
            for override in self._record.overrides.values():
                if override.ends_at_ms - override.begins_at_ms > 2 * rules.expiring_ms:
                    wanted[override.id] = override.ends_at_ms - rules.expiring_ms
            for throttle in self._record.throttles.values():
                until_ms = throttle.until_ms
                if until_ms is not None and until_ms - throttle.since_ms > 2 * rules.expiring_ms:
                    wanted[throttle.id] = until_ms - rules.expiring_ms
        known = {key for key in self.desk.episodes if key.startswith(_EXPIRING)}
        keep = {throttle.id for throttle in self._record.resource_throttles}
        for key in sorted(known - {f"{_EXPIRING}{id}" for id in (*wanted, *keep)}):
            self.desk.end(key)
        for id, at_ms in sorted(wanted.items()):
            if f"{_EXPIRING}{id}" not in known:
                self.desk.begin(f"{_EXPIRING}{id}", Episode(at_ms, due_ms=at_ms))

    def _tell_expiring(self, key: str, now_ms: int) -> None:
        id = key.removeprefix(_EXPIRING)
        one: QuotaOverride | Throttle | None = self._record.overrides.get(id)
        one = one or self._record.throttles.get(id)
        if one is None:
            self.desk.end(key)
            return
        self.desk.wake(key, None)  # told of once; forgotten when it has ended
        self._say_expiring(one, now_ms)

    def _look_at_resource_throttles(self, resource: str, rules: AlertRules, now_ms: int) -> None:
        """Tell of a throttle of all tenants that ends soon, if anybody here is held up by it.

        Thousands of ledgers have it, so none is woken for it.
        """
        if rules.expiring_ms is None or not (
            resource in self._denied or self._queues.length(resource)
        ):
            return
        for one in self._record.resource_throttles:
            key = f"{_EXPIRING}{one.id}"
            if one.until_ms is None or one.resource != resource or key in self.desk.episodes:
                continue
            is_soon = now_ms < one.until_ms <= now_ms + rules.expiring_ms
            if is_soon and one.until_ms - one.since_ms > 2 * rules.expiring_ms:
                self.desk.begin(key, Episode(now_ms))
                self._say_expiring(one, now_ms)

    def _say_expiring(self, one: QuotaOverride | Throttle, now_ms: int) -> None:
        ends_ms = one.ends_at_ms if isinstance(one, QuotaOverride) else one.until_ms
        assert ends_ms is not None
        news = expiring_news(self._record.tenant, one, ends_ms, now_ms)
        about = "all" if one.resource == "*" else one.resource
        self.desk.tell(news, now_ms, subject=self._of(about))

    # Inside ----------------------------------------------------------------------------------

    def _bound_of(self, use: WindowUse) -> Bound:
        limits = self._standing.of(use.resource)
        return bound_of(self._record, use.resource, use.kind, limits, use.now_ms)

    def _of(self, resource: str) -> str:
        return f"tenant/{self._record.tenant}/{resource}"

    def _has_windows(self, resource: str) -> bool:
        """Return whether people were told of a calendar window of the resource."""
        episodes, subject = self.desk.episodes, self._of(resource)
        return bool(episodes) and any(
            f"{rule}/{subject}/{kind}" in episodes
            for rule in ("quota.threshold", "quota.forecast")
            for kind in WINDOWS
        )

    def _is_of_another(self, key: str, ends_ms: int) -> bool:
        episode = self.desk.episodes.get(key)
        return episode is not None and episode.tally.get("ends_ms", ends_ms) != ends_ms

    def _note_end(self, key: str, ends_ms: int) -> None:
        """Note which window an episode belongs to."""
        episode = self.desk.episodes.get(key)
        if episode is not None:
            episode.tally["ends_ms"] = ends_ms
