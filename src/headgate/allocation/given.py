"""What all members of a pool have been given together, for people and the ledgers to know."""

from collections.abc import Mapping

from headgate.allocation.governor_record import GovernorRecord


class Given:
    """Sums up as it changes; holds no truth of its own.

    Args:
        record: Of the governor.
    """

    def __init__(self, record: GovernorRecord) -> None:
        self._record = record
        # None: nobody has asked yet.
        self._sum: _Sum | None = None
        self._known: tuple[tuple[int, int, int], dict[str, int], int] | None = None

    def look_at(self, tenant: str) -> None:
        """Note that a member has or wants something else."""
        if self._sum is not None:
            self._sum.stale.add(tenant)

    def begin_anew(self) -> None:
        """Forget the parts of members, of whom some may be no longer there."""
        self._sum = None

    def sums(self, capacity: Mapping[str, int]) -> tuple[dict[str, int], int]:
        """Return what all have been given, by resource, and how many of them want more."""
        # For people: as of the last round is near enough.
        record = self._record
        now = (record.rounds, len(record.members), record.incarnation)
        if self._known is None or self._known[0] != now:
            if self._sum is None:
                self._sum = _Sum()
                self._sum.stale.update(record.members)
            self._sum.renew(record)
            allocated = {resource: self._sum.units.get(resource, 0) for resource in capacity}
            self._known = now, allocated, self._sum.wanting
        return self._known[1:]


class _Sum:
    """The parts of all members, summed up.

    Attributes:
        stale: Whose part in it is to be reckoned again.
        units: By resource.
        wanting: How many of them want more than they have.
    """

    __slots__ = ("_parts", "stale", "units", "wanting")

    def __init__(self) -> None:
        self.stale: set[str] = set()
        self.units: dict[str, int] = {}
        self.wanting = 0
        self._parts: dict[str, tuple[dict[str, int], bool]] = {}

    def renew(self, record: GovernorRecord) -> None:
        """Bring the sums up to date."""
        for tenant in self.stale:
            member = record.members[tenant]
            wants = False
            for resource, units in member.allocated.items():
                self.units[resource] = self.units.get(resource, 0) + units
                claim = member.claims.get(resource)
                wants = wants or (claim is not None and claim.wanted > units)
            before, wanted = self._parts.get(tenant, ({}, False))
            for resource, units in before.items():
                self.units[resource] -= units
            self.wanting += wants - wanted
            self._parts[tenant] = member.allocated, wants
        self.stale.clear()
