"""Which of those who wait are turned away, by what the governor of their pool lets wait."""

from headgate.decay import MICRO
from headgate.model.lease import LineRoom
from headgate.model.pool import Allocation, MayWait
from headgate.model.reason import Reason, ReasonCode
from headgate.quota.lease_record import Lease
from headgate.quota.limits import Limits
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord


def to_turn_away(
    record: LedgerRecord, queues: Queues, resource: str, limits: Limits | None
) -> list[str]:
    """Return who may not wait for ``resource``: lowest priority first, and of one the youngest.

    What is within the tenant's guarantee may wait, whatever else may not.
    """
    may_wait = _may_wait(resource, limits)
    if may_wait is None or limits is None:
        return []
    owed = max(0, limits.share.guaranteed - _held(record, resource))
    rooms = _Rooms(record, queues, resource, may_wait)
    kept: dict[int, int] = {}
    full: set[int] = set()
    found: list[str] = []
    for id in queues.in_line(resource):
        waiter = record.waiters[id]
        priority, units = waiter.priority, dict(waiter.needs)[resource]
        before, room = kept.get(priority, 0), rooms.at(priority)
        fits = room is None or before + units <= room or (before == 0 and room > 0)
        if units <= owed:
            owed -= units
        elif not fits or priority in full:
            # Nobody of the same priority passes it.
            full.add(priority)
            found.append(id)
            continue
        kept[priority] = before + units
    return found[::-1]


def turn_away_at_gate(
    record: LedgerRecord, queues: Queues, lease: Lease, limits: Limits | None
) -> list[LineRoom]:
    """Return of which priorities not all calls may wait at a gate, and how much of them may.

    What is left of the guarantee once those in the ledger's own line have had theirs may wait,
    whatever else may not; the first of the gates to ask has it.
    """
    resource = lease.resource
    may_wait = _may_wait(resource, limits)
    if may_wait is None or limits is None or not lease.line:
        return []
    owed = limits.share.guaranteed - _held(record, resource) - queues.units(resource)
    rooms = _Rooms(record, queues, resource, may_wait)
    found: list[LineRoom] = []
    for priority, _, units, _ in lease.line:
        room = rooms.at(priority, lease)
        promised = min(units, max(0, owed))
        owed -= promised
        if room is None or (room := max(room, promised)) >= units:
            continue
        reason, after_ms = why_turned_away(record, resource, units - room, priority, limits)
        found.append(LineRoom(priority=priority, units=room, reason=reason, retry_in_ms=after_ms))
    return found


class _Rooms:
    """What may wait of each priority, between the ledger's own line and those at gates.

    Each has a part of it in proportion to what waits there.
    """

    def __init__(
        self, record: LedgerRecord, queues: Queues, resource: str, may_wait: MayWait
    ) -> None:
        self._may_wait = may_wait
        self._own = {priority: units for priority, _, units, _ in queues.tiers(resource)}
        self._gates = [
            one for one in record.leases.values() if one.resource == resource and one.line
        ]

    def at(self, priority: int, gate: Lease | None = None) -> int | None:
        """Return how many units may wait at a gate, or in the ledger's own line; None: any."""
        room = self._may_wait.room_at(priority)
        if room is None or not self._gates:
            return room
        before, here, after = 0, self._own.get(priority, 0), 0
        for one in self._gates:
            units = sum(line.units for line in one.line if line.priority == priority)
            if one is gate:
                before, here, after = before + here + after, units, 0
            else:
                after += units
        waiting = before + here + after
        # Parts that are cut out one after the other add up to the whole.
        return room * (before + here) // waiting - room * before // waiting if waiting else room


def why_turned_away(
    record: LedgerRecord, resource: str, units: int, priority: int, limits: Limits
) -> tuple[Reason, int]:
    """Return what to tell one of these, and after what time it may ask again, in ms."""
    allocation, may_wait = limits.allocation, _may_wait(resource, limits)
    assert allocation is not None
    assert may_wait is not None
    level, after_ms = "elevated", 0
    if allocation.pressure is not None:
        level, after_ms = allocation.pressure.level.value, allocation.pressure.retry_after_ms
    return (
        Reason(
            code=ReasonCode.SHED,
            message=(
                f"{may_wait.asked} units of {resource} waited for pool {allocation.pool}, of which "
                f"{may_wait.room} may while its pressure is {level}: refused at priority "
                f"{priority}, tenant {record.tenant} having held {may_wait.used / MICRO:.1f} "
                f"lately and holding {_held(record, resource)} of {limits.share.guaranteed} "
                f"guaranteed; ask again after {after_ms / 1_000:g} s"
            ),
            resource=resource,
            limit=may_wait.room,
            used=may_wait.asked,
            needed=units,
        ),
        after_ms,
    )


def _may_wait(resource: str, limits: Limits | None) -> MayWait | None:
    allocation: Allocation | None = None if limits is None else limits.allocation
    if allocation is None or not allocation.enforced:
        return None
    return allocation.may_wait.get(resource)


def _held(record: LedgerRecord, resource: str) -> int:
    meter = record.meters.get(resource)
    return 0 if meter is None else meter.units
