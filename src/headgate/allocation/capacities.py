"""What there is of a pool: configured, set by people, or the limit of what it follows."""

from typing import NamedTuple

from headgate.allocation.governor_record import GovernorRecord
from headgate.model.pool import CapacityOverride, Followed, PoolSettings


class _Has(NamedTuple):
    """The capacity by resource, and what it was reckoned from."""

    settings: PoolSettings
    override: CapacityOverride | None
    limit: Followed | None
    whole: dict[str, int]
    followed: dict[str, int]


class Capacities:
    """The capacity of a pool by resource, reckoned anew when something else is set or followed.

    Args:
        record: Of the governor.
    """

    def __init__(self, record: GovernorRecord) -> None:
        self._record = record
        self._has: _Has | None = None

    def now(self) -> dict[str, int]:
        """Return what there is, or the limit that the pool follows."""
        return self._known().followed

    def whole(self) -> dict[str, int]:
        """Return what there is with what people have set, followed limits aside."""
        return self._known().whole

    def most(self) -> dict[str, int]:
        """Return what there may be: a cut is for a time, and what fits then may wait for that."""
        whole, configured = self.whole(), self._record.settings.capacity
        return {name: max(units, configured.get(name, 0)) for name, units in whole.items()}

    def _known(self) -> _Has:
        record, known = self._record, self._has
        if (
            known is None
            or known.settings is not record.settings
            or known.override is not record.override
            or known.limit is not record.followed
        ):
            whole = has = self._reckon()
            if record.followed is not None and record.followed.limit is not None:
                limit = record.followed.limit
                has = {name: min(units, limit) for name, units in whole.items()}
            known = _Has(record.settings, record.override, record.followed, whole, has)
            self._has = known
        return known

    def _reckon(self) -> dict[str, int]:
        configured = dict(sorted(self._record.settings.capacity.items()))
        override = self._record.override
        if override is None:
            return configured
        if override.share is not None:
            millionths = round(override.share * 1_000_000)
            return {name: units * millionths // 1_000_000 for name, units in configured.items()}
        return {name: override.capacity.get(name, units) for name, units in configured.items()}
