"""What the ledgers of a pool are told, and which of them have yet to be told."""

from headgate.allocation.capacities import Capacities
from headgate.allocation.given import Given
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.model.limits import PressureView
from headgate.model.pool import GUARANTEEING, Allocation, AtMost
from headgate.view.words import divided


class Telling:
    """Makes allocations known: each has a number, and holds when the ledger has confirmed it.

    Args:
        record: Of the governor.
        capacities: Of the pool.
    """

    def __init__(self, record: GovernorRecord, capacities: Capacities) -> None:
        self._record = record
        self._capacities = capacities
        self._given = Given(record)
        self._untold = {tenant for tenant, member in record.members.items() if member.to_tell}

    def look_at(self, tenant: str) -> None:
        """Note that a member has or wants something else."""
        self._given.look_at(tenant)

    def begin_anew(self) -> None:
        """Take in that the members of the pool are others."""
        self._given.begin_anew()
        self._untold &= self._record.members.keys()

    def allocate(self, tenant: str, allocated: dict[str, int], at_most: dict[str, AtMost]) -> None:
        """Give a member what it may hold from now on, by resource, and have its ledger told.

        Args:
            tenant: The member.
            allocated: Units by resource.
            at_most: What it could ever hold, by resource.
        """
        record = self._record
        member = record.members[tenant]
        for resource, units in member.allocated.items():
            # What was told before holds until the ledger confirms that it goes by the new one.
            member.outstanding[resource] = max(member.outstanding.get(resource, 0), units)
        member.allocated = dict(sorted(allocated.items()))
        record.sequence += 1
        member.sequence = record.sequence
        member.acknowledged, member.to_tell = False, True
        member.told_level, member.at_most = record.pressure.level, at_most
        self._untold.add(tenant)
        self._given.look_at(tenant)

    def has_to_tell(self) -> bool:
        """Return whether there is anybody to tell."""
        return bool(self._untold)

    def to_tell(self) -> list[str]:
        """Return the tenants whose ledgers have yet to be told their allocation, cuts first."""
        if not self._untold:
            return []
        members = self._record.members
        waiting = [tenant for tenant in members if tenant in self._untold]
        return sorted(waiting, key=lambda tenant: not _loses(members[tenant]))

    def allocation_of(self, tenant: str, enforced: bool, pressure: PressureView) -> Allocation:
        """Return what to tell the ledger of ``tenant``."""
        record, capacity = self._record, self._capacities.now()
        member = record.members[tenant]
        allocated, others = self._given.sums(capacity)
        return Allocation(
            pool=record.pool,
            sequence=member.sequence,
            incarnation=member.incarnation,
            units={resource: member.allocated.get(resource, 0) for resource in capacity},
            enforced=enforced,
            why=self._why(others),
            capacity=capacity,
            allocated=allocated,
            whole=self._capacities.most(),
            pressure=pressure,
            may_wait=member.may_wait,
            guarantees=record.settings.strategy in GUARANTEEING,
            at_most=member.at_most,
        )

    def told(self, tenant: str, sequence: int) -> bool:
        """Note that an allocation has been sent; return whether it is still the last one."""
        member = self._record.members.get(tenant)
        if member is None or member.sequence != sequence:
            return False
        member.to_tell = False
        self._untold.discard(tenant)
        return True

    def _why(self, others: int) -> str:
        """Return in a sentence what the allocation was made by, when ``others`` want more."""
        record = self._record
        return divided(
            record.settings.strategy,
            len(record.members),
            others,
            len(record.unheard),
            record.conditions,
        )


def _loses(member: Member) -> bool:
    return any(units > member.allocated.get(n, 0) for n, units in member.outstanding.items())
