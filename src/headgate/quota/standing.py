"""What limits each resource now, reckoned once and kept until something changes."""

from collections.abc import Iterable
from typing import Final

from headgate.model.pool import Allocation
from headgate.quota.limits import (
    Limits,
    limits_at,
    next_change,
    next_reservation,
    reallocated,
)
from headgate.quota.record import LedgerRecord
from headgate.quota.ways import Ways

MAX_KEPT: Final = 2_000
"""Resources whose limits are kept; then all are reckoned anew."""


class Standing:
    """The limits of a ledger as of ``record.settled_at_ms``; holds no truth of its own.

    Attributes:
        change_at_ms: When an override or a throttle next begins or ends, if one does.
        reservation_at_ms: When a reservation next begins or ends, if one does.
    """

    def __init__(self, record: LedgerRecord, ways: Ways) -> None:
        self._record = record
        self._ways = ways
        self._limits: dict[str, Limits | None] = {}
        self.change_at_ms: int | None = None
        self.reservation_at_ms: int | None = None
        self.renew()

    def of(self, resource: str) -> Limits | None:
        """Return what limits ``resource``, or None when the tenant has no quota of it."""
        try:
            return self._limits[resource]
        except KeyError:
            found = self.at(resource, self._record.settled_at_ms)
            if len(self._limits) >= MAX_KEPT:
                self._limits.clear()
            self._limits[resource] = found
            return found

    def at(self, resource: str, now_ms: int) -> Limits | None:
        """Return what limits ``resource`` at another time than that which was last settled."""
        return limits_at(self._record, resource, now_ms, as_before=self._ways.as_before)

    def counts_every_window(self, resource: str) -> bool:
        """Return whether grants count in windows without a limit, too.

        Not those of resources that only ``*`` stands for: jobs name of these as many as they like,
        and what was once granted of each would have to be remembered for a month.
        """
        return not self._ways.as_before and resource in (self._record.quotas or {})

    def renew(self) -> None:
        """Forget all, because settings or the time that counts have changed."""
        self._limits.clear()
        now_ms = self._record.settled_at_ms
        self.change_at_ms = next_change(self._record, now_ms)
        self.reservation_at_ms = next_reservation(self._record, now_ms)

    def allocate(self, resources: Iterable[str], allocation: Allocation) -> None:
        """Take in that the pool of some resources has given another allocation."""
        for resource in resources:
            limits = self._limits.pop(resource, None)
            changed = None if limits is None else reallocated(limits, resource, allocation)
            if changed is not None:
                self._limits[resource] = changed

    @property
    def next_ms(self) -> int | None:
        """When limits next change by themselves, if they do."""
        times = [at for at in (self.change_at_ms, self.reservation_at_ms) if at is not None]
        return min(times, default=None)
