"""Why a request is refused or waits, with numbers, and from when on that may be different."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from headgate.model.reason import Reason, ReasonCode
from headgate.quota import gcra
from headgate.quota.decide import arrival
from headgate.quota.limits import Limits
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord, Meter

HOLD_GUESS_MS: Final = 1_000
"""How long a permit is held, for estimates, as long as none has come back."""

GOVERNOR_GUESS_MS: Final = 1_000
"""How soon the governor of a pool answers, for estimates."""

PATIENCE_GUESS_MS: Final = 60_000
"""How soon people may end what has no end of its own, for estimates."""

_NAMED_AHEAD: Final = 3


@dataclass(slots=True)
class Obstacle:
    """One rule that stands in the way.

    Attributes:
        code: The rule.
        resource: Of which resource.
        message: In a sentence, with numbers.
        at_ms: When it is out of the way, or may be.
        exact: Whether ``at_ms`` is certain, other things being equal; else it is an estimate.
        limit: See ``Reason``.
        used: See ``Reason``.
        needed: See ``Reason``.
    """

    code: ReasonCode
    resource: str
    message: str
    at_ms: int
    exact: bool
    limit: int | None = None
    used: int | None = None
    needed: int | None = None

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
        changes_at_ms: When limits next change by themselves, if they do.
        now_ms: Unix time.
    """

    record: LedgerRecord
    queues: Queues
    limits_of: Callable[[str], Limits | None]
    changes_at_ms: int | None
    now_ms: int

    def never(self, needs: list[tuple[str, int]], *, in_line: bool = False) -> Reason | None:
        """Return why a request can never be granted, or None when it can.

        Args:
            needs: Units by resource.
            in_line: It waits already: then a pool that has become too small for it may grow
                again before it loses its place.
        """
        tenant = self.record.tenant
        if self.record.quotas is None:
            return Reason(
                code=ReasonCode.UNKNOWN_TENANT,
                message=f"no quota for tenant {tenant}: list it, or '*', under tenants in "
                "headgate.yaml and run headgate apply",
            )
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
        return None if found is None else self._suspended_before(found, needs)

    def why(self, id: str) -> Finding:
        """Return why a waiter waits, and an estimate of when it may be its turn: after now."""
        waiter = self.record.waiters[id]
        position = self.queues.position(id, waiter)
        own = self._obstacles(waiter.needs, position)
        full: list[str] = []
        pool_lacks: list[str] = []
        retry_at_ms, exact = 0, position == 1
        for one in own:
            retry_at_ms = max(retry_at_ms, one.at_ms)
            exact = exact and one.exact
            if one.code in _USED_UP:
                full.append(one.resource)
                if one.code is ReasonCode.POOL_USED_UP:
                    pool_lacks.append(one.resource)
        reason = Reason(
            code=ReasonCode.QUEUED,
            message=f"it is the next to get {waiter.resource}",
            resource=waiter.resource,
            needed=waiter.units,
        )
        if own:
            reason, message = own[0].reason, own[0].message
            if position > 1:
                message += f", number {position} in line {self._behind(id, position)}"
        elif position == 1:
            message = reason.message  # time has passed since the ledger was last looked at
        else:
            resource, head, in_the_way = self._in_front(id)
            message = f"number {position} in line for {resource} {self._behind(id, position)}"
            needs = dict(waiter.needs)
            numbers: dict[str, object] = {"resource": resource, "needed": needs[resource]}
            if in_the_way:
                first = in_the_way[0]
                message += f"; {self.record.waiters[head].workflow_id} waits: {first.message}"
                if first.resource in needs:
                    numbers = {
                        "resource": first.resource,
                        "limit": first.limit,
                        "used": first.used,
                        "needed": needs[first.resource],
                    }
                full = [one.resource for one in in_the_way if one.code in _USED_UP]
                retry_at_ms = max(one.at_ms for one in in_the_way)
            reason = reason.model_copy(update=numbers)
            retry_at_ms = max(retry_at_ms, self._turn_at(resource, position))
            exact = False
        retry_at_ms = max(retry_at_ms, self.now_ms + 1)
        if not exact:
            message += f"; about {_duration(retry_at_ms - self.now_ms)} to go (estimate)"
        reason = reason.model_copy(update={"message": message, "position": position})
        return Finding(reason, retry_at_ms, full, pool_lacks)

    def shortage(self, resource: str) -> tuple[Reason, int]:
        """Return why a gate cannot have another unit, and when it may be different."""
        obstacles = self._obstacles([(resource, 1)], 1)
        if not obstacles:
            reason = Reason(
                code=ReasonCode.QUOTA_USED_UP,
                message=f"several gates and jobs share the {resource} of tenant "
                f"{self.record.tenant}, in equal parts",
                resource=resource,
            )
            return reason, self.now_ms + HOLD_GUESS_MS
        return obstacles[0].reason, max(one.at_ms for one in obstacles)

    def _obstacles(self, needs: list[tuple[str, int]], position: int) -> list[Obstacle]:
        found: list[Obstacle] = []
        for resource, units in needs:
            limits = self.limits_of(resource)
            meter = self.record.meters.get(resource) or Meter()
            if limits is not None:
                found += self._obstacles_of(resource, limits, meter, units, position)
        if len(found) > 1:
            found.sort(key=lambda one: _RANK[one.code])  # stable: in the order of the needs
        return found

    def _obstacles_of(
        self, resource: str, limits: Limits, meter: Meter, units: int, position: int
    ) -> list[Obstacle]:
        """Return what stands in the way of ``units``, those ahead counted as one unit each."""
        found: list[Obstacle] = []
        tenant, now_ms, ahead = self.record.tenant, self.now_ms, position - 1

        def add(
            code: ReasonCode,
            message: str,
            at_ms: int | None,
            limit: int | None = None,
            used: int | None = None,
            estimate: int | None = None,
        ) -> None:
            exact = at_ms is not None
            if at_ms is None:
                at_ms = self._once_limits_change() if estimate is None else estimate
            found.append(Obstacle(code, resource, message, at_ms, exact, limit, used, units))

        cut = "" if limits.cut is None else _cut(limits)
        if limits.pause is not None:
            add(ReasonCode.SUSPENDED, limits.pause.message, limits.pause.until_ms)
        if (rate := limits.rate) is not None:
            tat = arrival(meter, limits, now_ms)
            if ahead:
                tat = gcra.spend(tat, rate, ahead, now_ms)
            at_ms = gcra.earliest(tat, rate, limits.burst, units)
            if at_ms is None or at_ms > now_ms:
                message = f"the rate of {rate} for {resource} is used up{cut}"
                if at_ms is None:
                    message = f"{units} of {resource} asked for, now at most {limits.burst}{cut}"
                add(ReasonCode.RATE, message, at_ms, rate.limit)
        for kind, limit in limits.windows:
            window = meter.windows.get(kind)
            is_open = window is not None and window.ends_at_ms > now_ms
            used = window.used if window is not None and is_open else 0
            if used + ahead + units <= limit:
                continue
            ends = window.ends_at_ms if window is not None and is_open else None
            name = kind.removeprefix("per_")
            message = f"{used} of {limit} {resource} a {name} of tenant {tenant} used{cut}"
            fits_next = units <= limit
            # Those ahead may use it up though it has not begun yet: then nobody knows its end.
            estimate = self._turn_at(resource, position) if fits_next else None
            add(ReasonCode.WINDOW, message, ends if fits_next else None, limit, used, estimate)
        if limits.max_active is not None and meter.units + units > limits.max_active:
            add(
                ReasonCode.QUOTA_USED_UP,
                f"{meter.units} of {limits.max_active} {resource} of tenant {tenant} in use{cut}",
                None,
                limits.max_active,
                meter.units,
                self._turn_at(resource, position) if units <= limits.max_active else None,
            )
        if limits.allocated is not None and meter.units + units > limits.allocated:
            message, soon = self._pool_message(resource, limits, meter), now_ms + GOVERNOR_GUESS_MS
            if limits.allocation is not None and units <= limits.allocated:
                soon = self._turn_at(resource, position)
            add(ReasonCode.POOL_USED_UP, message, None, limits.allocated, meter.units, soon)
        return found

    def _pool_message(self, resource: str, limits: Limits, meter: Meter) -> str:
        allocation = limits.allocation
        if allocation is None:
            return f"{resource} waits for the governor of pool {limits.pool}"
        message = (
            f"{meter.units} of {limits.allocated} {resource} of tenant {self.record.tenant} in "
            f"use, its part of pool {limits.pool}"
        )
        if resource in allocation.capacity:
            given = allocation.allocated.get(resource)
            has = f"of {allocation.capacity[resource]}"
            message += f" {has}" if given is None else f" ({given} {has} given out)"
        if allocation.why:
            message += f": {allocation.why}"
        return message + ("" if limits.cut is None else _cut(limits))

    def _in_front(self, id: str) -> tuple[str, str, list[Obstacle]]:
        """Return a line that ``id`` is not the first of, who is, and what is in that one's way."""
        record = self.record
        lines = [
            (resource, head)
            for resource, _ in record.waiters[id].needs
            if (head := self.queues.head(resource)) is not None and head != id
        ]
        for resource, head in lines:
            obstacles = self._obstacles(record.waiters[head].needs, 1)
            if obstacles:
                return resource, head, obstacles
        if lines:
            return *lines[0], []
        return record.waiters[id].resource, id, []

    def _behind(self, id: str, position: int) -> str:
        waiters = self.record.waiters
        ahead = self.queues.ahead(id, waiters[id], _NAMED_AHEAD)
        names = ", ".join(waiters[one].workflow_id for one in ahead)
        more = position - 1 - len(ahead)
        return f"behind {names}" + (f" and {more} more" if more > 0 else "")

    def _turn_at(self, resource: str, position: int) -> int:
        """Return about when as many permits will have come back as there are people ahead."""
        limits = self.limits_of(resource)
        if limits is None or limits.room is None:
            return self.now_ms + 1  # as many as like may hold it: nobody has to come back
        meter = self.record.meters.get(resource)
        slots = max(1, limits.room)
        hold_ms = HOLD_GUESS_MS if meter is None or not meter.hold_ms else meter.hold_ms
        return self.now_ms + max(1, hold_ms * position // slots)

    def _once_limits_change(self) -> int:
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
