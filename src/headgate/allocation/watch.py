"""The alert rules of a governor: guarantees that are not honoured, a set capacity that ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from headgate.alerts.desk import Desk, News
from headgate.alerts.episode import Episode, Lasts, Turn
from headgate.alerts.words import clock, span
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.overrides import words
from headgate.model.alert_rules import AlertRules
from headgate.model.pool import CapacityOverride

_UNMET: Final = "guarantee.unmet"
_EXPIRING: Final = "override.expiring"
_REASON: Final = '--reason "..."'


class Watch:
    """Tells of tenants that have less than they want and are guaranteed.

    Args:
        record: Of the governor.
    """

    def __init__(self, record: GovernorRecord) -> None:
        self._record = record
        self.desk = Desk(record, f"pool/{record.pool}")
        self._looked: tuple[int, int, AlertRules] | None = None

    def look(
        self,
        members: Callable[[], Sequence[tuple[str, Member]]],
        capacity: Mapping[str, int],
        now_ms: int,
    ) -> bool:
        """Tell what there is to tell after a step.

        Args:
            members: Gives those who may want something, if guarantees hold in this pool at all.
            capacity: Of the pool, by resource.
            now_ms: Unix time.

        Returns:
            Whether something was told.
        """
        record, rules = self._record, self._record.settings.alerts
        if rules is None:
            for key in list(self.desk.episodes):
                self.desk.end(key)
            return False
        before = record.alert_sequence
        due = self.desk.due(now_ms)
        # Only a round changes who has what; to look more often is not free in a pool of thousands.
        now = (record.rounds, record.sequence, rules)
        if due or self._looked != now:
            self._looked = now
            self._look_at_guarantees(members(), capacity, rules, now_ms)
        self._look_at_expiry(record.override, rules, now_ms)
        self.desk.leave(due, now_ms)
        return record.alert_sequence != before

    def _look_at_guarantees(
        self,
        members: Sequence[tuple[str, Member]],
        capacity: Mapping[str, int],
        rules: AlertRules,
        now_ms: int,
    ) -> None:
        seen: set[str] = set()
        after_ms = rules.guarantee_ms
        for tenant, member in members:
            for resource in capacity:
                claim = member.claims.get(resource)
                if claim is None or not claim.share.guaranteed:
                    continue
                has, guaranteed = member.allocated.get(resource, 0), claim.share.guaranteed
                is_unmet = after_ms is not None and has < min(claim.wanted, guaranteed)
                if is_unmet:
                    seen.add(self._key(tenant, resource))
                self._follow(tenant, resource, is_unmet, rules, now_ms)
        prefix = f"{_UNMET}/"
        for key, episode in list(self.desk.episodes.items()):
            if key.startswith(prefix) and key not in seen:
                # Nobody asks for it any more, or nothing is guaranteed.
                tenant, _, resource = episode.about.partition("\n")
                self._follow(tenant, resource, False, rules, now_ms)

    def _follow(
        self, tenant: str, resource: str, is_unmet: bool, rules: AlertRules, now_ms: int
    ) -> None:
        self.desk.follow(
            _UNMET,
            int(is_unmet),
            Lasts(
                after_ms=rules.guarantee_ms or 0, calm_ms=rules.calm_ms, repeat_ms=rules.repeat_ms
            ),
            now_ms,
            lambda turn, episode: self._unmet_news(turn, episode, tenant, resource, now_ms),
            subject=f"tenant/{tenant}/{resource}/{self._record.pool}",
            tenant=tenant,
            about=f"{tenant}\n{resource}",
        )

    def _key(self, tenant: str, resource: str) -> str:
        return f"{_UNMET}/tenant/{tenant}/{resource}/{self._record.pool}"

    def _look_at_expiry(
        self, override: CapacityOverride | None, rules: AlertRules, now_ms: int
    ) -> None:
        """Tell that a capacity which people have set ends soon."""

        def news(until_ms: int) -> News:
            assert override is not None
            return self._expiring_news(override, until_ms, now_ms)

        self.desk.expiring(_EXPIRING, override, rules.expiring_ms, now_ms, news)

    def _unmet_news(
        self, turn: Turn, episode: Episode, tenant: str, resource: str, now_ms: int
    ) -> News:
        pool = self._record.pool
        member = self._record.members.get(tenant) or Member()
        claim = member.claims.get(resource)
        has = member.allocated.get(resource, 0)
        wanted, guaranteed = (0, 0) if claim is None else (claim.wanted, claim.share.guaranteed)
        data: dict[str, str | int | float | None] = {
            "tenant": tenant,
            "resource": resource,
            "pool": pool,
            "allocated": has,
            "wanted": wanted,
            "guaranteed": guaranteed,
        }
        numbers = f"It has {has}, wants {wanted}, and {guaranteed} are guaranteed"
        if turn == "over":
            title = f"{tenant}: has what it wants of its guaranteed {resource} again"
            return News(_UNMET, "info", title, f"{numbers}.", data=data)
        why = "; ".join(condition.message for condition in self._record.conditions)
        return News(
            _UNMET,
            "critical",
            f"{tenant}: guarantee of {resource} not honoured for {span(now_ms - episode.since_ms)}",
            f"{numbers} (pool {pool}, since {clock(episode.since_ms, now_ms)})."
            + (f" {why}." if why else " Others still hold what has to come back."),
            f"See who holds it: headgate pool show {pool}. If the pool is too small: headgate pool "
            f"set-capacity {pool} {resource}=... --for 2h {_REASON}.",
            data,
        )

    def _expiring_news(self, one: CapacityOverride, until_ms: int, now_ms: int) -> News:
        pool, beneath = self._record.pool, self._record.beneath
        then = words(beneath[-1], now_ms) if beneath else "the configured capacity"
        set_to = ", ".join(f"{name}={one.capacity[name]}" for name in sorted(one.capacity))
        if one.share is not None:
            set_to = f"{one.share:.0%} of its capacity"
            again = f"headgate throttle pool {pool} --to {one.share:.0%} --for 2h {_REASON}"
        else:
            units = " ".join(f"{name}={one.capacity[name]}" for name in sorted(one.capacity))
            again = f"headgate pool set-capacity {pool} {units} --for 2h {_REASON}"
        return News(
            _EXPIRING,
            "info",
            f"pool {pool}: the capacity that was set ends in {span(until_ms - now_ms)}",
            f"What {one.actor} set ({set_to}: {one.reason}) ends at {clock(until_ms, now_ms)}; "
            f"then {then} holds again.",
            f"Set it anew if it is still needed: {again}.",
            {"pool": pool, "until_ms": until_ms},
        )
