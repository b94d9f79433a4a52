"""Where the members of a pool stand, and what a round changes for each of them."""

from dataclasses import dataclass, field
from functools import partial

from headgate.allocation.active import Active
from headgate.allocation.demands import demand_of, smooth
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.group_room import keep_limits
from headgate.allocation.groups import Groups
from headgate.allocation.members import share_of
from headgate.allocation.places import Place, Places
from headgate.allocation.rounds import step
from headgate.allocation.shares import Shares
from headgate.allocation.ways import Ways
from headgate.model.pool import Share, Strategy


@dataclass(slots=True)
class Steps:
    """What changes in one round.

    Attributes:
        allocated: New allocations, by tenant and resource, where they change.
        settled: Nothing is left to do, unless something changes.
        quiet_until_ms: Until when another round would change nothing, unless something has been
            said or given since; None: not known.
    """

    allocated: dict[str, dict[str, int]] = field(default_factory=dict)
    settled: bool = True
    quiet_until_ms: int | None = None


class Standings:
    """Knows where everybody stands, kept as it changes; holds no truth of its own.

    Args:
        record: Of the governor; its settings stay.
        active: Whom a round looks at.
        groups: Of the pool.
        shares: Who should have what.
        ways: Of the governor.
    """

    def __init__(
        self,
        record: GovernorRecord,
        active: Active,
        groups: Groups,
        shares: Shares,
        ways: Ways,
    ) -> None:
        self._shares = shares
        self._passes = ways.passes_full_groups
        self._borrowing = (
            (Strategy.RESERVED,) if ways.as_before else (Strategy.RESERVED, Strategy.PRIORITY)
        )
        self._record = record
        self._active = active
        self._groups = groups
        # Whose place is to be reckoned again.
        self._stale: set[str] = set()
        self._placed: dict[str, tuple[object, Places, set[str]]] = {}

    def look_at(self, tenant: str) -> None:
        """Note that something about a member has changed."""
        self._stale.add(tenant)

    def steps(self, capacity: dict[str, int], now_ms: int) -> Steps:
        """Return the next steps from what all have to their targets."""
        record, taken = self._record, Steps()
        young: set[str] = set()
        groups = self._groups.limited()
        for resource, total in capacity.items():
            units = total - self._shares.reserved
            places, lately = self._places(resource, now_ms)
            young |= lately
            next_step = step(
                units,
                places,
                record.settings.damping,
                partial(self._comforts, resource, units, places, now_ms),
                groups if self._passes else (),
            )
            keep_limits(next_step, places.of, groups)
            for tenant, allocated in next_step.allocated.items():
                # What the unheard hold is not known, so until then only cuts are safe.
                if not record.unheard or allocated < places.of[tenant].allocated:
                    taken.allocated.setdefault(tenant, {})[resource] = allocated
            taken.settled &= next_step.settled
        self._stale.clear()
        if not taken.settled and not taken.allocated and young:
            # Only what was given lately could be taken, and that is left alone for a time.
            hold_ms = record.settings.damping.min_hold_ms
            first_ms = min(record.members[tenant].raised_at_ms for tenant in young)
            taken.quiet_until_ms = first_ms + hold_ms
        return taken

    def _places(self, resource: str, now_ms: int) -> tuple[Places, set[str]]:
        """Return where everybody stands, and who was given something lately."""
        members = self._active.members()
        hold_ms = self._record.settings.damping.min_hold_ms
        known, again = self._placed.get(resource), members
        if known is None or known[0] is not members:
            known = self._placed[resource] = members, Places(), set()
        else:
            again = [(t, self._record.members[t]) for t in self._stale if t in known[1].of]
        _, places, young = known
        for tenant in [t for t in young if now_ms - places.of[t].raised_at_ms >= hold_ms]:
            young.discard(tenant)
            places.of[tenant] = places.of[tenant]._replace(may_cut=True)
        for tenant, member in again:
            # What a member does not lend nobody else may have, so it may as well have it.
            target = member.target.get(resource, 0) + self._shares.kept_by(tenant)
            allocated = member.allocated.get(resource, 0)
            ceiling = max(allocated, member.outstanding.get(resource, 0))
            wanted = owed = first = held = 0
            claim = member.claims.get(resource)
            if claim is not None:
                wanted, held = claim.wanted, claim.held
                ceiling = max(ceiling, held)
                owed = min(wanted, claim.share.guaranteed)
                if claim.next:
                    first = held + claim.next
                    if target < first:
                        wanted = max(held, target)  # more is of no use to it now
                    if member.left_out_ms:
                        owed = max(owed, _turn(member, resource))
            raised_at_ms = member.raised_at_ms
            may_cut = now_ms - raised_at_ms >= hold_ms
            if not may_cut:
                young.add(tenant)
            place = Place(
                wanted, target, allocated, ceiling, owed, may_cut, first, raised_at_ms, held
            )
            places.put(tenant, place)
        return places, young

    def _comforts(self, resource: str, units: int, places: Places, now_ms: int) -> dict[str, int]:
        """Return what each may have beyond its target, when everybody has what it is to have."""
        found: dict[str, int] = {}
        if places.ceilings + sum(places.lacking.values()) >= units:
            return found
        settings = self._record.settings
        for tenant, member in self._active.members():
            place = places.of[tenant]
            if place.first > place.ceiling or self._groups.is_limited(tenant):
                continue  # it waits for what its next job needs; or its group has a say in it
            smooth(member, settings, now_ms)
            demand, share = demand_of(member, resource), share_of(member, resource)
            found[tenant] = self._comfort(share, demand, place.target, units)
        return found

    def _comfort(self, share: Share, demand: int, target: int, units: int) -> int:
        """Return what a tenant may have beyond its target, so that it need not ask first."""
        settings = self._record.settings
        limit = share.maximum if share.maximum is not None else units
        match settings.strategy:
            case Strategy.FIXED:
                return max(0, (share.maximum or 0) - target)
            case Strategy.RESERVED | Strategy.PRIORITY:
                standing = share.guaranteed
                if settings.strategy in self._borrowing and share.borrow_limit is not None:
                    limit = min(limit, share.guaranteed + share.borrow_limit)
            case _:
                standing = 0
        if share.weight == 0:
            limit = min(limit, standing)
        extra = -(-demand * round(settings.damping.headroom * 1_000_000) // 1_000_000)
        return max(0, min(limit, max(standing, demand + extra)) - target)


def _turn(member: Member, resource: str) -> int:
    """Return what a tenant whose turn it is has a right to at once, see ``turns``."""
    if resource not in member.left_out_ms:
        return 0
    claim = member.claims[resource]
    needed = claim.held + claim.next
    return needed if member.target.get(resource, 0) >= needed else 0
