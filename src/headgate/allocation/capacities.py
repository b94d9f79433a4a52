"""What there is of a pool: configured, set by people, or the limit of what it follows."""

from typing import NamedTuple

from headgate.allocation.governor_record import GovernorRecord
from headgate.allocation.overrides import capacity_with
from headgate.model.pool import CapacityOverride, Followed, PoolSettings


class _Has(NamedTuple):
    """The capacity by resource, and what it was reckoned from."""

    settings: PoolSettings
    override: CapacityOverride | None
    beneath: list[CapacityOverride]
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
            or known.beneath is not record.beneath
            or known.limit is not record.followed
        ):
            whole = has = capacity_with(record.settings.capacity, record.set_by_people)
            if record.followed is not None and record.followed.limit is not None:
                limit = record.followed.limit
                has = {name: min(units, limit) for name, units in whole.items()}
            override, beneath = record.override, record.beneath
            known = _Has(record.settings, override, beneath, record.followed, whole, has)
            self._has = known
        return known
