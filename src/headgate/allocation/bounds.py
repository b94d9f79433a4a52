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
        self._is_off = is_off
        self._limits = settings.enforced and settings.strategy is not Strategy.UNLIMITED
        self._record = record
        self._capacities = capacities
        self._groups = groups
        self._stale = set(record.members)
        # As the pool is laid out: how much there is, what each may claim, and what comes of it.
        self._whole: dict[str, int] = {}
        self._claimed: dict[str, dict[str, tuple[Share, Claim]]] = {}
        self._most: dict[str, Most] = {}
        self._found: dict[str, dict[str, AtMost]] = {}

    def look_at(self, tenant: str) -> None:
        """Note that a member has, wants or may claim something else."""
        self._stale.add(tenant)

    def of(self, tenant: str) -> dict[str, AtMost]:
        """Return what a member could ever hold, where that is less than the whole capacity.

        What has come in since the last ``renew`` is not looked at yet.
        """
        found = self._found.get(tenant)
        if found is None:
            found = self._found[tenant] = {}
            for resource, (share, claim) in self._claimed.get(tenant, {}).items():
                if resource in self._most:
                    units, why = self._most[resource].of(claim)
                    if why:
                        found[resource] = AtMost(units=units, why=why, share=share)
        return found

    def renew(self) -> list[str]:
        """Take in what has changed; return the members whose ledgers have to hear of it."""
        if self._is_off:
            return []
        members, whole = self._record.members, self._capacities.most()
        looked_at = self._stale & members.keys()
        if self._limits:
            is_new, self._whole = whole != self._whole, whole
            changes = [self._take_in(one) for one in (members if is_new else looked_at)]
            if is_new or any(changes):
                self._lay_out()
                looked_at = set(members)
        self._stale.clear()
        return sorted(tenant for tenant in looked_at if self._is_to_hear(members[tenant], tenant))

    def _take_in(self, tenant: str) -> bool:
        """Take in what a member may ever claim; return whether it is guaranteed something else."""
        before, claims = self._claimed.get(tenant, {}), self._record.members[tenant].claims
        now = {
            resource: (claim.ever, self._claim(tenant, resource, claim.ever))
            for resource, claim in claims.items()
            if resource in self._whole
        }
        if now == before:
            return False
        self._claimed[tenant] = now
        self._found.pop(tenant, None)
        return _guaranteed(now) != _guaranteed(before)

    def _lay_out(self) -> None:
        strategy, members = self._record.settings.strategy, self._record.members
        self._most, self._found = {}, {}
        for resource, units in self._whole.items():
            claims = [
                claimed[resource][1] for claimed in self._claimed.values() if resource in claimed
            ]
            rights = [claim for claim in claims if claim.guaranteed]
            most = Most(units, strategy, rights, self._groups.all)
            # What those beyond the capacity count as depends on which of them hold at the time.
            if not most.is_scaled or all(
                members[claim.tenant].claims[resource].at_best is None for claim in rights
            ):
                self._most[resource] = most

    def _claim(self, tenant: str, resource: str, ever: Share) -> Claim:
        """Return what a member may ever claim; its own maximum is for its ledger to see to."""
        settings, weight, units = self._record.settings, ever.weight, self._whole[resource]
        is_fixed = settings.strategy is Strategy.FIXED and ever.maximum is not None
        if len(settings.capacity) > 1:  # of several resources, one weight counts for all
            claims = self._record.members[tenant].claims.values()
            weight = max(claim.ever.weight for claim in claims)
        return Claim(
            tenant=tenant,
            demand=units,
            weight=weight,
            guaranteed=ever.guaranteed if settings.strategy in GUARANTEEING else 0,
            borrow_limit=ever.borrow_limit,
            lend_limit=ever.lend_limit,
            fixed=units if is_fixed else None,
            group=settings.tenants.get(tenant),
        )

    def _is_to_hear(self, member: Member, tenant: str) -> bool:
        """Return whether what a ledger was told is wrong, or it has a use for what it was not."""
        now = self.of(tenant)
        for resource in now.keys() | member.at_most.keys():
            told, holds = member.at_most.get(resource), now.get(resource)
            claim = member.claims.get(resource)
            wanted = 0 if claim is None else claim.next or claim.wanted
            if holds is None or (told is not None and holds.share != told.share):
                return True
            if told is not None and holds.units > told.units:
                return True
            # That it is less matters once a job may be too large.
            if holds.units < wanted and (told is None or holds.units < told.units):
                return True
        return False


def _guaranteed(claimed: dict[str, tuple[Share, Claim]]) -> list[Claim]:
    return [claim for _, claim in claimed.values() if claim.guaranteed]
