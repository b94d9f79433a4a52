"""The book of permits: what is granted, what has ended, and that every one is accounted for."""

from dataclasses import dataclass
from typing import Final

from headgate.model.ledger import Resolution
from headgate.quota.deadlines import Deadlines
from headgate.quota.decide import admits, opens_at, take
from headgate.quota.limits import Limits
from headgate.quota.meters import MAX_METERS_KEPT, sweep, watch_usage
from headgate.quota.past import MAX_ENDED_KEPT, fingerprint
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord, Meter, Permit, Waiter
from headgate.quota.standing import Standing
from headgate.quota.watch import Watch

ANSWERED_WITHIN_MS: Final = 120_000
"""So long a permit that has come to its end is kept until it is known whether its holder runs."""

_ASK_AGAIN_MS: Final = 20_000


@dataclass(slots=True)
class _Ages:
    """Units held of a resource, and the times since when: summed up, each times its units."""

    units: int = 0
    since_ms: int = 0


class Book:
    """The permits and meters of a record, with an index over their deadlines.

    Attributes:
        check_every_ms: How soon after a grant, and then how often, a holder is looked after.
        expiries: When permits end that are not given back.
        checks: When holders have to be looked after.
    """

    def __init__(
        self,
        record: LedgerRecord,
        standing: Standing,
        queues: Queues,
        watch: Watch,
        check_every_ms: int,
    ) -> None:
        self._record = record
        self._standing = standing
        self._queues = queues
        self._watch = watch
        self.check_every_ms = check_every_ms
        self.expiries = Deadlines(
            lambda id, at: id in record.permits and record.permits[id].expires_at_ms == at
        )
        self.checks = Deadlines(
            lambda id, at: id in record.permits and record.permits[id].check_at_ms == at
        )
        for id, permit in record.permits.items():
            self.expiries.add(id, permit.expires_at_ms)
            self.checks.add(id, permit.check_at_ms)
        self._ages: dict[str, _Ages] = {}
        for permit in record.permits.values():
            self._count_age(permit, 1)
        self._held_beside = sum(len(permit.also) for permit in record.permits.values())
        self._sweep_at = max(MAX_METERS_KEPT, 2 * len(record.meters))

    def admits(self, needs: list[tuple[str, int]], now_ms: int) -> bool:
        """Return whether all of ``needs``, (resource, units), may be granted together now."""
        for resource, units in needs:
            limits = self._standing.of(resource)
            if limits is None or not admits(limits, self.meter(resource, now_ms), units, now_ms):
                return False
        return True

    def opens_at(self, needs: list[tuple[str, int]]) -> int | None:
        """Return when all of ``needs`` can be granted if only time stands in the way, or None."""
        latest = 0
        for resource, units in needs:
            limits = self._standing.of(resource)
            meter = self._record.meters.get(resource) or Meter()
            at_ms = None if limits is None else opens_at(limits, meter, units)
            if at_ms is None:
                return None
            latest = max(latest, at_ms)
        return latest

    def grant(self, id: str, waiter: Waiter, needs: list[tuple[str, int]], now_ms: int) -> None:
        """Give ``waiter`` all of its ``needs``, which ``admits`` has found to fit."""
        record = self._record
        record.revision += 1
        hold_ms: int | None = None
        for resource, units in needs:
            limits, meter = self._standing.of(resource), self.meter(resource, now_ms)
            assert limits is not None
            every_window = self._standing.counts_every_window(resource)
            take(limits, meter, units, now_ms, every_window=every_window)
            meter.granted += 1
            meter.held += 1
            meter.units += units
            hold_ms = limits.max_hold_ms if hold_ms is None else min(hold_ms, limits.max_hold_ms)
            self.used(resource, limits, meter, now_ms)
            self._watch.granted.add(resource)
        assert hold_ms is not None
        permit = Permit(
            resource=waiter.resource,
            units=waiter.units,
            workflow_id=waiter.workflow_id,
            run_id=waiter.run_id,
            granted_at_ms=now_ms,
            expires_at_ms=now_ms + hold_ms,
            check_at_ms=now_ms + self.check_every_ms,
            also=waiter.also,
            namespace=waiter.namespace,
        )
        record.permits[id] = permit
        self._count_age(permit, 1)
        self._held_beside += len(permit.also)
        self.expiries.add(id, permit.expires_at_ms)
        self.checks.add(id, permit.check_at_ms)

    def end(self, id: str, how: Resolution, now_ms: int) -> list[str]:
        """End a permit, once.

        Returns:
            The resources of which something has come back.
        """
        record = self._record
        permit = record.permits.pop(id)
        self._count_age(permit, -1)
        self._held_beside -= len(permit.also)
        record.wakes.pop(id, None)
        record.revision += 1
        self.remember(id, how, now_ms)
        resources: list[str] = []
        for resource, units in permit.needs:
            meter = record.meters[resource]
            meter.held -= 1
            meter.units -= units
            match how:
                case "released":
                    meter.released += 1
                    held_ms = now_ms - permit.granted_at_ms
                    meter.hold_ms = (
                        held_ms if meter.released == 1 else (meter.hold_ms * 4 + held_ms) // 5
                    )
                case "expired":
                    meter.expired += 1
                case "reclaimed":
                    meter.reclaimed += 1
            self.used(resource, self._standing.of(resource), meter, now_ms)
            resources.append(resource)
        if how == "reclaimed":
            self._watch.reclaimed(permit)
        return resources

    def ask_first(self, id: str, now_ms: int) -> bool:
        """Have the holder of a permit that has come to its end looked after; False: it was."""
        permit = self._record.permits[id]
        if permit.is_asked_for:
            return False
        permit.is_asked_for = True
        self._put_off(id, permit, now_ms + ANSWERED_WITHIN_MS, now_ms)
        return True

    def go_on(self, id: str, now_ms: int) -> None:
        """Let a permit that has come to its end go on, as its holder still runs.

        For as long again as its quotas let it be held, or as it has been held by now if that is
        longer, so that what runs for days costs little.
        """
        permit = self._record.permits[id]
        limits = [self._standing.of(resource) for resource, _ in permit.needs]
        hold_ms = min((one.max_hold_ms for one in limits if one is not None), default=0)
        more_ms = max(hold_ms, self.check_every_ms, now_ms - permit.granted_at_ms)
        permit.is_asked_for = False
        self._put_off(id, permit, now_ms + more_ms, now_ms + self._check_after_ms(permit, now_ms))

    def _put_off(self, id: str, permit: Permit, ends_ms: int, check_at_ms: int) -> None:
        permit.expires_at_ms = ends_ms
        self.expiries.add(id, ends_ms)
        if check_at_ms != permit.check_at_ms:
            permit.check_at_ms = check_at_ms
            self.checks.add(id, check_at_ms)
        self._record.revision += 1

    def used(self, resource: str, limits: Limits | None, meter: Meter, now_ms: int) -> None:
        """Note that another number of units is used."""
        self._watch.touched.add(resource)
        if limits is not None:
            watch_usage(self._record, resource, limits, meter, now_ms)

    def remember(self, id: str, how: Resolution, now_ms: int) -> None:
        """Remember how a request has ended, whether or not it was ever granted."""
        self._record.ended.put(fingerprint(id), how, now_ms, MAX_ENDED_KEPT)

    def has_ended(self, id: str) -> bool:
        """Return whether a request of that id is known to be over."""
        return self._record.ended.get(fingerprint(id)) is not None

    def adopt(self, id: str, permit: Permit) -> None:
        """Take in a permit that was granted out of a block; what it holds counts already."""
        self._record.permits[id] = permit
        self._count_age(permit, 1)
        self.expiries.add(id, permit.expires_at_ms)
        self.checks.add(id, permit.check_at_ms)

    def held_for_ms(self, resource: str, now_ms: int) -> int:
        """Return for how long the permits of ``resource`` have been held, by units on average."""
        ages = self._ages.get(resource)
        return 0 if ages is None else max(0, now_ms - ages.since_ms // ages.units)

    def _count_age(self, permit: Permit, sign: int) -> None:
        for resource, units in permit.needs:
            ages = self._ages.setdefault(resource, _Ages())
            ages.units += sign * units
            ages.since_ms += sign * units * permit.granted_at_ms
            if not ages.units:
                del self._ages[resource]

    def enlarge(self, permit: Permit, units: int) -> None:
        """Have a permit hold more of its resource than it was granted."""
        self._count_age(permit, -1)
        self._record.meters[permit.resource].units += units - permit.units
        permit.units = units
        self._count_age(permit, 1)

    def meter(self, resource: str, now_ms: int) -> Meter:
        """Return the meter of ``resource``, a new one if need be."""
        meters = self._record.meters
        meter = meters.get(resource)
        if meter is None:
            if len(meters) >= self._sweep_at:
                self._sweep_at = sweep(self._record, self._queues, now_ms)
            meter = meters[resource] = Meter()
        return meter

    def holders_to_check(self, now_ms: int, at_most: int) -> list[tuple[str, str, str]]:
        """Return (permit, workflow, run) of holders that are due; each less and less often."""
        found: list[tuple[str, str, str]] = []
        for id in self.checks.due(now_ms, at_most):
            permit = self._record.permits[id]
            permit.check_at_ms = now_ms + self._check_after_ms(permit, now_ms)
            self.checks.add(id, permit.check_at_ms)
            found.append((id, permit.workflow_id, permit.run_id))
        return found

    def _check_after_ms(self, permit: Permit, now_ms: int) -> int:
        if permit.is_asked_for:
            return _ASK_AGAIN_MS  # the answer may be lost, or not be one
        return max(self.check_every_ms, now_ms - permit.granted_at_ms)

    def check_conservation(self) -> None:
        """Assert that every permit is accounted for."""
        held = 0
        for meter in self._record.meters.values():
            assert meter.granted == meter.held + meter.released + meter.expired + meter.reclaimed
            assert meter.held >= 0
            assert meter.units >= 0
            held += meter.held
        # A permit counts once in the meter of each of its resources.
        out_of_blocks = sum(lease.uses for lease in self._record.leases.values())
        assert held == len(self._record.permits) + self._held_beside + out_of_blocks
