"""Why a request is refused or waits, with numbers, and from when on that may be different."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from headgate.model.ledger import Outlook, Resolution
from headgate.model.pool import Allocation
from headgate.model.reason import Reason, ReasonCode
from headgate.quota import calendar, gcra
from headgate.quota.decide import arrival
from headgate.quota.limits import Limits, quota_changes
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord, Meter, WindowKind

HOLD_GUESS_MS: Final = 1_000
"""How soon to look again at what others hold, as long as none of it has ever come back."""

GOVERNOR_GUESS_MS: Final = 1_000
"""How soon the governor of a pool answers, for estimates."""

PATIENCE_GUESS_MS: Final = 60_000
"""How soon to look again at what has no end of its own, and people may end."""

_NAMED_AHEAD: Final = 3

_A: Final[dict[WindowKind, str]] = {
    "per_hour": "an hour",
    "per_day": "a day",
    "per_month": "a month",
}

_ABOUT_MS: Final[dict[WindowKind, int]] = {
    "per_hour": 3_600_000,
    "per_day": 86_400_000,
    "per_month": 30 * 86_400_000,
}
"""How long a calendar window lasts, for estimates."""


def unknown_tenant(tenant: str) -> Reason:
    """Return why nothing is granted to a tenant that nobody has listed."""
    return Reason(
        code=ReasonCode.UNKNOWN_TENANT,
        message=f"no quota for tenant {tenant}: list it, or '*', under tenants in "
        "headgate.yaml and run headgate apply",
    )


_OVER: Final[dict[Resolution, str]] = {
    "released": "it was released",
    "expired": "its time was over, in line or as a permit",
    "reclaimed": "its holder had closed",
}


def over(how: Resolution) -> Reason:
    """Return why nothing is granted to a request that comes again when it has ended already."""
    return Reason(
        code=ReasonCode.WAITED_TOO_LONG,
        message=f"the request of this id is over ({_OVER[how]}), and whatever it asks for comes "
        "too late: ask under a new id",
    )


@dataclass(slots=True)
class Obstacle:
    """One rule that stands in the way.

    Attributes:
        code: The rule.
        resource: Of which resource.
        message: In a sentence, with numbers.
        at_ms: When it is out of the way, or may be.
        exact: Whether nothing can change before ``at_ms``, unless people or those ahead see to it;
            else it is an estimate.
        limit: See ``Reason``.
        used: See ``Reason``.
        needed: See ``Reason``.
        endless: See ``Reason``: ``at_ms`` is only when to look again.
    """

    code: ReasonCode
    resource: str
    message: str
    at_ms: int
    exact: bool
    limit: int | None = None
    used: int | None = None
    needed: int | None = None
    endless: bool = False

    @property
    def reason(self) -> Reason:
        """It as it is told to jobs."""
        return Reason(
            code=self.code,
            message=self.message,
            resource=self.resource,
            limit=self.limit,
            used=self.used,
            needed=self.needed,
            endless=self.endless,
        )


@dataclass(slots=True)
class Finding:
    """Why a request waits.

    Attributes:
        reason: The first rule in rank, in words.
        retry_at_ms: When all rules that stand in the way may be out of it; after now.
        full: Resources of which too much is held.
        pool_lacks: Pooled resources of which the allocation is too small.
    """

    reason: Reason
    retry_at_ms: int
    full: list[str] = field(default_factory=list)
    pool_lacks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A look at a ledger at one time; changes nothing.

    Attributes:
        record: The ledger's.
        queues: Its lines.
        limits_of: What limits a resource at ``now_ms``.
        held_for_ms: For how long the permits of a resource have been held at a time, on average.
        changes_at_ms: When limits next change by themselves, if they do.
        now_ms: Unix time.
        quotes_governors: Say also what governors last said of their whole pools.
    """

    record: LedgerRecord
    queues: Queues
    limits_of: Callable[[str], Limits | None]
    held_for_ms: Callable[[str, int], int]
    changes_at_ms: int | None
    now_ms: int
    quotes_governors: bool = True

    def never(self, needs: list[tuple[str, int]], *, in_line: bool = False) -> Reason | None:
        """Return why a request can never be granted, or None when it can.

        Args:
            needs: Units by resource.
            in_line: It waits already: then a pool that has become too small for it may grow
                again before it loses its place.
        """
        tenant = self.record.tenant
        if self.record.quotas is None:
            return unknown_tenant(tenant)
        found: Reason | None = None
        for resource, units in needs:
            limits = self.limits_of(resource)
            if limits is None:
                return Reason(
                    code=ReasonCode.UNKNOWN_RESOURCE,
                    message=f"tenant {tenant} has no quota for resource {resource}: list it, or "
                    "'*', under its quotas in headgate.yaml and run headgate apply",
                    resource=resource,
                )
            for name, limit in limits.ceilings:
                if units > limit and found is None:
                    found = Reason(
                        code=ReasonCode.CAN_NEVER_FIT,
                        message=f"{units} of {resource} asked for, but the {name} of tenant "
                        f"{tenant} is {limit}",
                        resource=resource,
                        limit=limit,
                        needed=units,
                    )
            capacity = limits.capacity
            if capacity is not None and units > capacity and found is None and not in_line:
                found = Reason(
                    code=ReasonCode.CAN_NEVER_FIT,
                    message=f"{units} of {resource} asked for, but the whole pool {limits.pool} "
                    f"has {capacity}",
                    resource=resource,
                    limit=capacity,
                    needed=units,
                )
            at_most = limits.at_most
            if at_most is not None and units > at_most.units and found is None:
                found = Reason(
                    code=ReasonCode.CAN_NEVER_FIT,
                    message=f"{units} of {resource} asked for, but tenant {tenant} can hold at "
                    f"most {at_most.units} of pool {limits.pool}: {at_most.why}",
                    resource=resource,
                    limit=at_most.units,
                    needed=units,
                )
        return None if found is None else self._suspended_before(found, needs)

    def outlook(self, needs: list[tuple[str, int]]) -> Outlook:
        """Return what stands before any breaker in the rank of reasons; see ``Outlook``."""
        if (never := self.never(needs)) is not None:
            return Outlook(reason=never)
        pauses = [one for one in self._obstacles(needs) if one.code is ReasonCode.SUSPENDED]
        if not pauses:
            return Outlook()
        endless = any(one.endless for one in pauses)
        reason = pauses[0].reason.model_copy(update={"endless": endless})
        return Outlook(reason=reason, retry_at_ms=max(one.at_ms for one in pauses))

    def why(self, id: str) -> Finding:
        """Return why a waiter waits, and when it may be its turn: after now."""
        waiter = self.record.waiters[id]
        position = self.queues.position(id, waiter)
        ways = self._obstacles(waiter.needs, id)
        pool_lacks = [one.resource for one in ways if one.code is ReasonCode.POOL_USED_UP]
        if ways:
            reason, message = ways[0].reason, ways[0].message
            if position > 1:
                message += f", number {position} in line {self._behind(id, position)}"
        elif position == 1:
            # Time has passed since the ledger was last looked at.
            resource, message = waiter.resource, f"it is the next to get {waiter.resource}"
            reason = Reason(
                code=ReasonCode.QUEUED, message=message, resource=resource, needed=waiter.units
            )
        else:
            resource, head, ways = self._in_front(id)
            message = f"number {position} in line for {resource} {self._behind(id, position)}"
            reason = Reason(
                code=ReasonCode.QUEUED,
                message=message,
                resource=resource,
                needed=dict(waiter.needs)[resource],
            )
            if ways:
                message += f"; {self.record.waiters[head].workflow_id} waits: {ways[0].message}"
                reason = self._as_its_own(reason, ways[0], dict(waiter.needs))
        retry_at_ms = max((one.at_ms for one in ways), default=0)
        # However many are ahead, nothing goes on before the end of a pause. Whatever else has an
        # end, those ahead may make it later, or give up and make it sooner.
        exact = any(
            one.exact and one.at_ms == retry_at_ms
            for one in ways
            if position == 1 or one.code is ReasonCode.SUSPENDED
        )
        endless = any(one.endless for one in ways)
        if endless and ways[0].exact and (position == 1 or ways[0].code is ReasonCode.SUSPENDED):
            # What is told has an end: nothing goes on before it, whatever else there is without.
            retry_at_ms, exact, endless = ways[0].at_ms, True, False
        if reason.code is ReasonCode.QUEUED and position > 1:
            units = self._ahead(resource, id) + dict(waiter.needs)[resource]
            retry_at_ms, exact = max(retry_at_ms, self._back_at(resource, units)), False
            endless = endless or not self._has_come_back(resource)
        retry_at_ms = max(retry_at_ms, self.now_ms + 1)
        if not exact and not endless:
            message += f"; about {_duration(retry_at_ms - self.now_ms)} to go (estimate)"
        reason = reason.model_copy(
            update={"message": message, "position": position, "endless": endless}
        )
        full = [one.resource for one in ways if one.code in _USED_UP]
        return Finding(reason, retry_at_ms, full, pool_lacks)

    def shortage(self, resource: str) -> tuple[Reason, int]:
        """Return why a gate cannot have another unit, and when it may be different."""
        obstacles = self._obstacles([(resource, 1)])
        if not obstacles:
            reason = Reason(
                code=ReasonCode.QUOTA_USED_UP,
                message=f"several gates and jobs share the {resource} of tenant "
                f"{self.record.tenant}, in equal parts",
                resource=resource,
            )
            return reason, self.now_ms + HOLD_GUESS_MS
        return obstacles[0].reason, max(one.at_ms for one in obstacles)

    def _obstacles(self, needs: list[tuple[str, int]], id: str | None = None) -> list[Obstacle]:
        """Return what stands in the way of ``needs``, the most structural first.

        Args:
            needs: Units by resource.
            id: Of who waits for them; None: nobody is ahead.
        """
        found: list[Obstacle] = []
        for resource, units in needs:
            limits = self.limits_of(resource)
            meter = self.record.meters.get(resource) or Meter()
            if limits is not None:
                ahead = 0 if id is None else self._ahead(resource, id)
                found += self._obstacles_of(resource, limits, meter, units, ahead)
        if len(found) > 1:
            found.sort(key=lambda one: _RANK[one.code])  # stable: in the order of the needs
        return found

    def _obstacles_of(
        self, resource: str, limits: Limits, meter: Meter, units: int, ahead: int
    ) -> list[Obstacle]:
        """Return what stands in the way of ``units`` that come after the units ``ahead``."""
        found: list[Obstacle] = []
        tenant, now_ms = self.record.tenant, self.now_ms

        def add(
            code: ReasonCode,
            message: str,
            at_ms: int | None,
            limit: int | None = None,
            used: int | None = None,
            *,
            exact: bool = False,
            endless: bool = False,
        ) -> None:
            again_ms = self._look_again_ms(code) if at_ms is None else at_ms
            endless = endless or at_ms is None
            found.append(
                Obstacle(code, resource, message, again_ms, exact, limit, used, units, endless)
            )

        cut = "" if limits.cut is None else _cut(limits)
        uncut_ms = None if limits.cut is None else limits.cut.until_ms
        if limits.pause is not None:
            until_ms = limits.pause.until_ms
            add(ReasonCode.SUSPENDED, limits.pause.message, until_ms, exact=until_ms is not None)
        if (rate := limits.rate) is not None:
            tat = arrival(meter, limits, now_ms)
            if ahead:
                tat = gcra.spend(tat, rate, ahead, now_ms)
            at_ms = gcra.earliest(tat, rate, limits.burst, units)
            if at_ms is None or at_ms > now_ms:
                by = (
                    "" if not ahead or self._is_used_up(limits, meter, units) else " by those ahead"
                )
                message = f"the rate of {rate} for {resource} is used up{by}{cut}"
                if at_ms is None:
                    message = f"{units} of {resource} asked for, now at most {limits.burst}{cut}"
                exact = at_ms is not None
                add(ReasonCode.RATE, message, at_ms or uncut_ms, rate.limit, exact=exact)
        for kind, limit in limits.windows:
            window = meter.windows.get(kind)
            is_open = window is not None and window.ends_at_ms > now_ms
            used = window.used if window is not None and is_open else 0
            if used + ahead + units <= limit:
                continue
            by = f" and {ahead} asked for by those ahead" if used + units <= limit else ""
            message = f"{used} of {limit} {resource} {_A[kind]} of tenant {tenant} used{by}{cut}"
            at_ms, exact = uncut_ms, False
            if units <= limit:
                ends_ms = (
                    window.ends_at_ms
                    if window is not None and is_open
                    else calendar.window_end(kind, limits.time_zone, now_ms)
                )
                # Those ahead may need more than one window, too.
                windows = -(-(min(used, limit) + ahead + units - limit) // limit)
                at_ms, exact = ends_ms + (windows - 1) * _ABOUT_MS[kind], windows == 1
            add(ReasonCode.WINDOW, message, at_ms, limit, used, exact=exact)
        if limits.max_active is not None and meter.units + units > limits.max_active:
            limit, used = limits.max_active, meter.units
            changes_ms, override = quota_changes(self.record, resource, now_ms)
            set_to = "" if override is None else f" (set by {override.actor}: {override.reason})"
            message = f"{used} of {limit} {resource} of tenant {tenant} in use{set_to}{cut}"
            at_ms, unknown = uncut_ms, False
            if units <= limit:
                at_ms, unknown = (
                    self._back_at(resource, ahead + units),
                    not self._has_come_back(resource),
                )
            # The quota may change before anything comes back.
            if changes_ms is not None and (at_ms is None or unknown or changes_ms < at_ms):
                at_ms, unknown = changes_ms, False
            add(ReasonCode.QUOTA_USED_UP, message, at_ms, limit, used, endless=unknown)
        if limits.allocated is not None and meter.units + units > limits.allocated:
            soon: int | None = now_ms + GOVERNOR_GUESS_MS
            if limits.allocation is not None:
                # What the governor has not given, it may give at once, in hours or never.
                soon = None
                if units <= limits.allocated:
                    soon = self._back_at(resource, ahead + units)
            message = self._pool_message(resource, limits, meter, units)
            unknown = limits.allocation is not None and not self._has_come_back(resource)
            limit, used = limits.allocated, meter.units
            add(ReasonCode.POOL_USED_UP, message, soon, limit, used, endless=unknown)
        return found

    def _pool_message(self, resource: str, limits: Limits, meter: Meter, units: int) -> str:
        allocation = limits.allocation
        if allocation is None:
            return f"{resource} waits for the governor of pool {limits.pool}"
        may_hold = limits.allocated or 0
        part = f"{meter.units} of {may_hold} {resource}"
        if meter.units > may_hold:  # it gives back what it has borrowed
            part = f"{meter.units} {resource}, {meter.units - may_hold} more than its part now,"
        message = f"{part} of tenant {self.record.tenant} in use, its part of pool {limits.pool}"
        message += self._as_told(resource, allocation)
        at_most = limits.at_most
        if at_most is not None and meter.units + units > at_most.units:
            message += f"; it can hold at most {at_most.units} of it, as {at_most.why}"
        return message + ("" if limits.cut is None else _cut(limits))

    def _as_told(self, resource: str, allocation: Allocation) -> str:
        """Return how the whole pool was when its governor last had something to tell this ledger.

        Others may have had more or less since: for that, a ledger is told nothing.
        """
        said: list[str] = []
        given = allocation.allocated.get(resource)
        if given is not None and resource in allocation.capacity:
            said.append(f"{given} of {allocation.capacity[resource]} given out")
        if allocation.why:
            said.append(allocation.why)
        if not said or not self.quotes_governors:
            return ""
        return f" (when its governor last spoke: {', '.join(said)})"

    def _in_front(self, id: str) -> tuple[str, str, list[Obstacle]]:
        """Return a line that ``id`` is not the first of, who is, and what is in that one's way."""
        record = self.record
        lines = [
            (resource, head)
            for resource, _ in record.waiters[id].needs
            if (head := self.queues.head(resource)) is not None and head != id
        ]
        for resource, head in lines:
            obstacles = self._obstacles(record.waiters[head].needs)
            if obstacles:
                return resource, head, obstacles
        if lines:
            return *lines[0], []
        return record.waiters[id].resource, id, []

    @staticmethod
    def _as_its_own(reason: Reason, of: Obstacle, needs: dict[str, int]) -> Reason:
        """Return ``reason`` with the numbers of what another waits for, if it is needed, too."""
        if of.resource not in needs:
            return reason
        return reason.model_copy(
            update={
                "resource": of.resource,
                "limit": of.limit,
                "used": of.used,
                "needed": needs[of.resource],
            }
        )

    def _behind(self, id: str, position: int) -> str:
        waiters = self.record.waiters
        ahead = self.queues.ahead(id, waiters[id], _NAMED_AHEAD)
        names = ", ".join(waiters[one].workflow_id for one in ahead)
        more = position - 1 - len(ahead)
        return f"behind {names}" + (f" and {more} more" if more > 0 else "")

    def _ahead(self, resource: str, id: str) -> int:
        """Return the units of ``resource`` that those ahead of a waiter need."""
        waiters = self.record.waiters

        def units_of(other: str) -> int:
            waiter = waiters[other]
            return waiter.units if waiter.resource == resource else waiter.also[resource]

        return self.queues.units_ahead(resource, id, waiters[id], units_of)

    def _back_at(self, resource: str, units: int) -> int:
        """Return about when so many units can have been granted as others have come back.

        All that may be held comes back once in the time for which permits are held: as long as
        those that have come back were, or as those have been by now that have not.
        """
        limits = self.limits_of(resource)
        if limits is None or limits.room is None:
            return self.now_ms + 1  # as many as like may hold it: nobody has to come back
        meter = self.record.meters.get(resource) or Meter()
        # What is held beyond a limit that has been lowered has to come back as well.
        lacking = max(1, units - (limits.room - meter.units))
        hold_ms = max(meter.hold_ms or HOLD_GUESS_MS, self.held_for_ms(resource, self.now_ms))
        return self.now_ms + max(1, hold_ms * lacking // max(1, limits.room, meter.units))

    def _has_come_back(self, resource: str) -> bool:
        """Return whether anything is known of how long permits of ``resource`` are held."""
        meter = self.record.meters.get(resource)
        return meter is not None and meter.released > 0

    def _is_used_up(self, limits: Limits, meter: Meter, units: int) -> bool:
        """Return whether the rate would not let ``units`` pass now, were nobody ahead."""
        assert limits.rate is not None
        tat = arrival(meter, limits, self.now_ms)
        at_ms = gcra.earliest(tat, limits.rate, limits.burst, units)
        return at_ms is None or at_ms > self.now_ms

    def _look_again_ms(self, code: ReasonCode) -> int:
        """Return when to look again at what has no end that is known."""
        if code is ReasonCode.POOL_USED_UP:
            return self.now_ms + GOVERNOR_GUESS_MS
        guess_ms = self.now_ms + PATIENCE_GUESS_MS
        return guess_ms if self.changes_at_ms is None else min(guess_ms, self.changes_at_ms)

    def _suspended_before(self, never: Reason, needs: list[tuple[str, int]]) -> Reason:
        """Name a suspension first, as it ranks higher, and say that its end will not help."""
        for resource, _ in needs:
            limits = self.limits_of(resource)
            if limits is not None and limits.pause is not None:
                return never.model_copy(
                    update={
                        "code": ReasonCode.SUSPENDED,
                        "message": f"{limits.pause.message}; and {never.message}",
                    }
                )
        return never


_USED_UP: Final = (ReasonCode.QUOTA_USED_UP, ReasonCode.POOL_USED_UP)
_RANK: Final = {code: rank for rank, code in enumerate(ReasonCode)}


def _cut(limits: Limits) -> str:
    cut = limits.cut
    assert cut is not None
    return f" (cut to {cut.share:.0%} by {cut.actor}: {cut.reason})"


def _duration(ms: int) -> str:
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 120_000:
        return f"{ms // 1_000} s"
    if ms < 7_200_000:
        return f"{ms // 60_000} min"
    return f"{ms // 3_600_000} h"
