"""Shares made of use: a job needs all of its units at once, and a share may be too small for one.

Tenants whose shares are too small for a single job of theirs take turns; what the parts of others
have beyond what they hold, and their next job does not fit in, is put together for whole jobs.
"""

from collections.abc import Mapping
from typing import Final

from headgate.allocation.claimed import Claimed, PoolClaims
from headgate.allocation.claims import Claim, Division
from headgate.allocation.governor_record import Member
from headgate.allocation.groups import Groups
from headgate.allocation.members import ceiling_of
from headgate.allocation.most import Most
from headgate.allocation.ways import Ways
from headgate.model.pool import GUARANTEEING, PoolSettings, Strategy

_BY_PARTS: Final = (Strategy.FIXED, Strategy.UNLIMITED)
"""Strategies that do not look at weights."""


class Turns:
    """Says whose turn it is, and puts fragments together.

    Args:
        settings: Of the pool.
        groups: Of the pool.
        claims: Of its members.
        ways: Of the governor.

    Attributes:
        left_out: Who was left out by the last division, and may be still.
    """

    def __init__(
        self, settings: PoolSettings, groups: Groups, claims: PoolClaims, ways: Ways
    ) -> None:
        self._knows_most = ways.knows_most
        self._keeps = ways.keeps_turns
        self._known: tuple[tuple[int, int], Most] | None = None
        self._settings = settings
        self._groups = groups
        self._claims = claims
        self.left_out: set[str] = set()

    def taken(self, resource: str, units: int, division: Division, now_ms: int) -> dict[str, int]:
        """Return what goes to tenants whose share is too small for a single job of theirs.

        A job needs all of its units at once, so shares that are too small for it would leave the
        pool idle for good. They take turns: who was left out longest has what its next job needs,
        and the others divide the rest.

        Args:
            resource: Of the pool.
            units: All that there are of it.
            division: Of these.
            now_ms: Unix time.
        """
        there_is = units
        if self._knows_most:  # what is not lent is nobody's turn
            there_is -= sum(division.held_back.values()) + sum(division.groups_hold_back.values())
        parts, claimed = division.allocations, self._claims.of(resource)
        above = _Above(self._settings, self._groups, claimed, parts)
        waiting: list[tuple[Member, str, int]] = []
        is_any_short = False
        for tenant, (member, held, needed) in claimed.waiting.items():
            claim = claimed.claims[tenant]
            short = parts[tenant] < needed
            has_it = not short and (not self._keeps or ceiling_of(member, resource) >= needed)
            if (
                not needed
                or has_it
                or held + needed > self._most(claimed, claim, units)
                or held + needed > there_is - above.of(claim)
            ):
                if member.left_out_ms:
                    member.left_out_ms.pop(resource, None)
                continue
            is_any_short = is_any_short or short
            waiting.append((member, tenant, held + needed))
        # Whose part is enough, and who has yet to be given it, keeps its place before those whose
        # is not: else it would lose it to whoever has just been served.
        left_out = (
            [
                (member.left_out_ms.setdefault(resource, now_ms), tenant, needed)
                for member, tenant, needed in waiting
            ]
            if is_any_short
            else []
        )
        self.left_out = {tenant for _, tenant, _ in left_out}
        turns: dict[str, int] = {}
        groups: dict[str, int] = {}
        if not left_out:
            return turns
        # Guarantees come first: no turn takes what is owed to another.
        owed = self._owed(claimed, division)
        left = max(0, there_is - sum(owed.values()))
        for _, tenant, needed in sorted(left_out):
            its_own = owed.get(tenant, 0)
            there = min(left + its_own, there_is - sum(turns.values()))
            if needed > there:
                break  # nobody passes it, or it would never have its turn
            inside = self._groups.of(tenant)
            for name, limit in inside:
                if limit is not None:
                    there = min(there, limit - groups.get(name, 0))
            if needed > there:
                continue  # others of its group are before it
            # Whose part is larger than that has all of it.
            needed = min(max(needed, parts[tenant]), there)
            for name, _ in inside:
                groups[name] = groups.get(name, 0) + needed
            left -= max(0, needed - its_own)
            turns[tenant] = needed
        return turns

    def use_fragments(
        self, resource: str, units: int, parts: dict[str, int], turns: Mapping[str, int]
    ) -> None:
        """Change ``parts`` so that they are of use: a job needs all of its units at once.

        What a tenant's part has beyond what it holds is of no use to it while its next job does not
        fit in there. Put together, such fragments let some of these jobs begin: who was given
        nothing for longest comes first.

        Args:
            resource: Of the pool.
            units: All that there are of it.
            parts: What each is to have, by tenant; of all whose claims there are.
            turns: What those have whose turn it is; they keep it.
        """
        by_tier = self._settings.strategy is Strategy.PRIORITY
        claimed = self._claims.of(resource)
        left = 0
        stuck: list[tuple[bool, int, int, str, int]] = []
        for tenant, (member, held, more) in claimed.waiting.items():
            part, needed = parts[tenant], held + more
            if needed <= part or not more or tenant in turns:
                continue
            if held < part:
                left += part - held
                parts[tenant] = held
            tier = -claimed.claims[tenant].priority if by_tier else 0
            stuck.append((held > part, tier, member.raised_at_ms, tenant, needed))
        if not left:
            return
        limited = self._groups.limited()
        for _, _, _, tenant, needed in sorted(stuck):
            if not left:
                break
            more = needed - parts[tenant]
            if more > left or needed > self._most(claimed, claimed.claims[tenant], units):
                continue
            if any(
                tenant in inside and sum(parts.get(one, 0) for one in inside) + more > limit
                for limit, inside in limited
            ):
                continue
            left -= more
            parts[tenant] = needed

    def _owed(self, claimed: Claimed, division: Division) -> dict[str, int]:
        """Return what of its guarantee each wants, where the strategy looks at guarantees."""
        if self._settings.strategy not in GUARANTEEING:
            return {}
        scaled = division.scaled
        return {
            tenant: min(claim.demand, scaled.get(tenant, claim.guaranteed))
            for tenant, claim in claimed.claims.items()
            if claim.guaranteed
        }

    def _most(self, claimed: Claimed, claim: Claim, units: int) -> int:
        """Return what the tenant may have at most, if nobody else wants any of the ``units``."""
        strategy = self._settings.strategy
        if self._knows_most:
            now = claimed.version, units
            if self._known is None or self._known[0] != now:
                guaranteed = [one for one in claimed.claims.values() if one.guaranteed]
                self._known = now, Most(units, strategy, guaranteed, self._groups.all)
            return self._known[1].of(claim).units
        limits = [limit for _, limit in self._groups.of(claim.tenant) if limit is not None]
        if claim.maximum is not None:
            limits.append(claim.maximum)
        if strategy in GUARANTEEING and claim.borrow_limit is not None:
            limits.append(claim.guaranteed + claim.borrow_limit)
        if strategy is Strategy.FIXED:
            limits.append(claim.maximum or 0)
        if claim.weight == 0 and strategy not in _BY_PARTS:
            limits.append(claim.guaranteed if strategy in GUARANTEEING else 0)
        return min(limits, default=units)


class _Above:
    """What goes to higher tiers: by tiers, what they leave is all there is.

    It is the same for all of one group and priority, and asked for many of them.
    """

    def __init__(
        self, settings: PoolSettings, groups: Groups, claimed: Claimed, parts: Mapping[str, int]
    ) -> None:
        self._settings = settings
        self._groups = groups
        self._claims = claimed.claims
        self._parts = parts
        self._known: dict[tuple[str | None, int], int] = {}
        self._paths: list[tuple[int, list[tuple[str, int]]]] | None = None

    def of(self, claim: Claim) -> int:
        """Return what goes to those who come before this one."""
        if self._settings.strategy is not Strategy.PRIORITY:
            return 0
        place = claim.group, claim.priority
        found = self._known.get(place)
        if found is not None:
            return found
        claims, groups = self._claims, self._groups
        if not self._settings.groups:
            found = sum(p for name, p in self._parts.items() if claims[name].priority > place[1])
        else:
            if self._paths is None:
                self._paths = [
                    (part, groups.priorities(name, claims[name].priority))
                    for name, part in self._parts.items()
                    if part
                ]
            path = groups.priorities(claim.tenant, claim.priority)
            found = sum(part for part, other in self._paths if _is_lower(path, other))
        self._known[place] = found
        return found


def _is_lower(path: list[tuple[str, int]], other: list[tuple[str, int]]) -> bool:
    """Whether, where two paths from the top down part, the first has the lower priority."""
    for (name, priority), (other_name, other_priority) in zip(path, other, strict=False):
        if name != other_name:
            return priority < other_priority
    return False
