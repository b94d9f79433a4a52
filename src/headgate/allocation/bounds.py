"""What the members of a pool could ever hold, and which of their ledgers have to hear of it."""

from headgate.allocation.capacities import Capacities
from headgate.allocation.claims import Claim
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.groups import Groups
from headgate.allocation.most import Most
from headgate.model.pool import GUARANTEEING, AtMost, Share, Strategy


class Bounds:
    """Reckoned for the whole capacity, as if nobody else wanted any of it.

    Of others, only what they do not lend counts, and of that only what no reservation or override
    of theirs may change: nobody is turned away for good by what holds for a time. A ledger that has
    not spoken keeps nothing, as far as is known.

    The pool is laid out anew when capacity or guarantees have changed, and at most once in a round.
    Holds no truth of its own.

    Args:
        record: Of the governor; its settings stay.
        capacities: Of the pool.
        groups: Of the pool.
        is_off: Nothing is known, and nobody told.
    """

    def __init__(
        self, record: GovernorRecord, capacities: Capacities, groups: Groups, *, is_off: bool
    ) -> None:
        settings = record.settings
        limits = settings.enforced and settings.strategy is not Strategy.UNLIMITED
        self._is_off = is_off
        self._limits = limits and not is_off
        self._record = record
        self._capacities = capacities
        self._groups = groups
        self._whole: dict[str, int] | None = None
        self._most: dict[str, Most] = {}
        # What is guaranteed to whom, by resource and tenant, as the pool is laid out.
        self._rights: dict[str, dict[str, Claim]] = {name: {} for name in settings.capacity}
        self._stale = set(record.members)

    def look_at(self, tenant: str) -> None:
        """Note that a member has, wants or may claim something else."""
        self._stale.add(tenant)

    def of(self, tenant: str) -> dict[str, AtMost]:
        """Return what a member could ever hold, where that is less than the whole capacity."""
        found: dict[str, AtMost] = {}
        member = self._record.members[tenant]
        for resource, most in self._most.items():
            said = member.claims.get(resource)
            if said is None:
                continue
            claim = self._claim(tenant, member, resource, said.ever)
            if claim.guaranteed and claim != self._rights[resource].get(tenant):
                continue  # the pool has yet to be laid out anew
            units, why = most.of(claim)
            if why:
                found[resource] = AtMost(units=units, why=why, share=said.ever)
        return found

    def renew(self) -> list[str]:
        """Take in what has changed; return the members whose ledgers have to hear of it."""
        if self._is_off:
            return []
        members = self._record.members
        looked_at, whole = self._stale & members.keys(), self._capacities.most()
        if self._limits and (self._lay_down(looked_at) or whole != self._whole):
            self._lay_out(whole)
            looked_at = set(members)
        self._stale.clear()
        return sorted(tenant for tenant in looked_at if self._is_to_hear(members[tenant], tenant))

    def _lay_down(self, tenants: set[str]) -> bool:
        """Note what is guaranteed to these; return whether that is new."""
        if self._record.settings.strategy not in GUARANTEEING:
            return False
        changed = False
        for tenant in tenants:
            member = self._record.members[tenant]
            for resource in self._record.settings.capacity:
                rights, said = self._rights[resource], member.claims.get(resource)
                claim = self._claim(tenant, member, resource, said.ever) if said else None
                if claim is not None and not claim.guaranteed:
                    claim = None
                if claim != rights.get(tenant):
                    changed = True
                    rights.pop(tenant, None)
                    if claim is not None:
                        rights[tenant] = claim
        return changed

    def _lay_out(self, whole: dict[str, int]) -> None:
        strategy, members = self._record.settings.strategy, self._record.members
        self._whole, self._most = whole, {}
        for resource, units in whole.items():
            rights = self._rights[resource]
            most = Most(units, strategy, rights.values(), self._groups.all)
            # What those beyond the capacity count as depends on which of them hold at the time.
            if not most.is_scaled or all(
                members[tenant].claims[resource].at_best is None for tenant in rights
            ):
                self._most[resource] = most

    def _claim(self, tenant: str, member: Member, resource: str, ever: Share) -> Claim:
        """Return what a member may ever claim; its own maximum is for its ledger to see to."""
        settings, weight = self._record.settings, ever.weight
        fixed: int | None = None
        if settings.strategy is Strategy.FIXED and ever.maximum is not None:
            fixed = (self._whole or {}).get(resource)
        if len(settings.capacity) > 1:  # of several resources, one weight counts for all
            weight = max(one.ever.weight for one in member.claims.values())
        return Claim(
            tenant=tenant,
            demand=0,
            weight=weight,
            guaranteed=ever.guaranteed if settings.strategy in GUARANTEEING else 0,
            borrow_limit=ever.borrow_limit,
            lend_limit=ever.lend_limit,
            fixed=fixed,
            group=settings.tenants[tenant],
        )

    def _is_to_hear(self, member: Member, tenant: str) -> bool:
        """Return whether what a ledger was told is wrong, or it has a use for what it was not."""
        now = self.of(tenant)
        for resource in now.keys() | member.at_most.keys():
            told, holds = member.at_most.get(resource), now.get(resource)
            claim = member.claims.get(resource)
            wanted, needed = (0, 0) if claim is None else (claim.wanted, claim.next)
            if told is None:
                is_of_use = wanted > 0
            elif holds is None or holds.share != told.share:
                is_of_use = True
            else:  # that it is less matters once a job is too large
                is_of_use = holds.units > told.units or holds.units < min(told.units, needed)
            if is_of_use:
                return True
        return False
