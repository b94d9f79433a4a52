"""What the members of a pool claim, kept from round to round: few have said something new."""

from headgate.allocation.active import Active
from headgate.allocation.claims import Claim
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.members import NO_SHARE
from headgate.model.pool import Share


class Claimed:
    """What members claim of one resource.

    Attributes:
        members: Whose claims these are.
        claims: By tenant, in the order of the members.
        waiting: Those for whom a job waits, or was lately left out: the member, what it holds, and
            what the next job needs.
        version: Rises when anything but a demand has changed.
    """

    __slots__ = ("_by", "_groups", "claims", "members", "version", "waiting")

    def __init__(self, members: object, groups: dict[str, str | None], version: int) -> None:
        self._groups = groups
        self._by: dict[str, tuple[int, Share]] = {}
        self.members = members
        self.version = version
        self.claims: dict[str, Claim] = {}
        self.waiting: dict[str, tuple[Member, int, int]] = {}

    def renew(self, tenant: str, member: Member, resource: str) -> None:
        """Take in what a member has and wants now."""
        said, share = member.claims.get(resource), NO_SHARE
        held = wanted = needed = 0
        if said is not None:
            held, wanted, needed, share = said.held, said.wanted, said.next, said.share
        if needed or member.left_out_ms:
            self.waiting[tenant] = member, held, needed
        else:
            self.waiting.pop(tenant, None)
        known = self._by.get(tenant)
        if known is None or (known[1] is not share and known[1] != share):
            self.version += 1
        elif known[0] == wanted:
            return
        self._by[tenant] = wanted, share
        self.claims[tenant] = Claim(
            tenant=tenant,
            demand=wanted,
            weight=share.weight,
            priority=share.priority,
            guaranteed=share.guaranteed,
            borrow_limit=share.borrow_limit,
            lend_limit=share.lend_limit,
            maximum=share.maximum,
            fixed=share.maximum,
            group=self._groups.get(tenant),
        )


class PoolClaims:
    """The claims of those a round looks at, by resource; holds no truth of its own.

    Args:
        record: Of the governor; its settings stay.
        active: Whom a round looks at.
    """

    def __init__(self, record: GovernorRecord, active: Active) -> None:
        self._record = record
        self._active = active
        self._claimed: dict[str, Claimed] = {}
        self._stale: set[str] = set()

    def look_at(self, tenant: str) -> None:
        """Note that a member has or wants something else."""
        self._stale.add(tenant)

    def of(self, resource: str) -> Claimed:
        """Return what those looked at claim of a resource."""
        members = self._active.members()
        known = self._claimed.get(resource)
        if known is None or known.members is not members:
            version = 0 if known is None else known.version + 1
            groups = self._record.settings.tenants
            known = self._claimed[resource] = Claimed(members, groups, version)
            again = [tenant for tenant, _ in members]
        elif self._stale:
            again = [tenant for tenant in self._stale if tenant in known.claims]
        else:
            return known
        for tenant in again:
            known.renew(tenant, self._record.members[tenant], resource)
        self._stale.clear()
        return known
