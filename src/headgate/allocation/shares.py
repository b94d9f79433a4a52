"""What each member of a pool is to have: the division, the turns, and fragments put together."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from headgate.allocation.active import Active
from headgate.allocation.claimed import PoolClaims
from headgate.allocation.claims import Division, DominantClaim, DominantDivision
from headgate.allocation.dominant import divide_dominant
from headgate.allocation.governor_record import GovernorRecord
from headgate.allocation.groups import Groups
from headgate.allocation.history import adjusted_weights
from headgate.allocation.members import wanted_of, weight_of
from headgate.allocation.repeated import RepeatedDivision
from headgate.allocation.rights import counted_weight
from headgate.allocation.turns import Turns
from headgate.allocation.ways import Ways
from headgate.decay import MICRO
from headgate.model.pool import Condition, Strategy


class Shares:
    """Keeps the targets of members up to date, at the cost of a division only when it can matter.

    Args:
        record: Of the governor; its settings stay.
        active: Whom a round looks at.
        groups: Of the pool.
        ways: Of the governor.
    """

    def __init__(
        self,
        record: GovernorRecord,
        active: Active,
        groups: Groups,
        ways: Ways,
    ) -> None:
        self._ways = ways
        self._record = record
        self._active = active
        self._groups = groups
        self._claims = PoolClaims(record, active)
        self._turns = Turns(record.settings, groups, self._claims, knows_most=ways.knows_most)
        # What follows only saves work, and holds no truth of its own.
        self._looks_back = record.settings.history_half_life_ms is not None
        self._divisions: dict[bool, RepeatedDivision] = {}
        self._known: tuple[tuple[int, int], Division, dict[str, int]] | None = None
        self._targeted: tuple[int, int] | None = None
        # What the last division made of each.
        self._parted: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._reserved = 0

    def look_at(self, tenant: str) -> None:
        """Note that a member has or wants something else."""
        self._claims.look_at(tenant)

    def kept_by(self, tenant: str) -> int:
        """Return what a member does not lend of what it does not use: nobody else may have it."""
        return self._kept.get(tenant, 0)

    @property
    def reserved(self) -> int:
        """What else nobody may have: kept by groups, and by members whose ledgers do not run."""
        return self._reserved

    def renew(self, capacity: Mapping[str, int], said: int, now_ms: int) -> Iterable[str]:
        """Note who should have what, and in the record what people should know about it.

        Args:
            capacity: Of the pool, by resource.
            said: Another number when something has been said that matters.
            now_ms: Unix time.

        Returns:
            The tenants for whom something else holds now.
        """
        record = self._record
        if len(capacity) != 1:
            return self._renew_dominant(capacity)
        now = (said, record.sequence)
        if self._targeted == now and not self._looks_back:
            return ()
        self._targeted = now
        ((resource, units),) = capacity.items()
        left_out = self._turns.left_out
        division, turns = self._division_with_turns(resource, units, said, now_ms)
        parts = dict(division.allocations)
        self._turns.use_fragments(resource, units, parts, turns)
        changed: set[str] = set()
        if parts != self._parted:
            for tenant, part in parts.items() - self._parted.items():
                target, member = {resource: part}, record.members[tenant]
                if target != member.target:
                    member.target = target
                    changed.add(tenant)
            self._parted = parts
        if not self._ways.as_before:
            changed |= self._keep(division)
        changed |= left_out | self._turns.left_out  # it matters also to be so no longer
        record.conditions = [Condition(type=c.type, message=c.message) for c in division.conditions]
        return changed

    def _keep(self, division: Division) -> set[str]:
        """Note what is not lent; return the tenants for whom that is new."""
        changed: set[str] = set()
        kept = division.held_back
        if kept or self._kept:
            kept = {t: part for t, part in kept.items() if not self._record.members[t].stopped}
            changed.update(tenant for tenant, _ in kept.items() ^ self._kept.items())
        self._kept = kept
        self._reserved = sum(division.held_back.values()) - sum(kept.values())
        self._reserved += sum(division.groups_hold_back.values())
        return changed

    def _renew_dominant(self, capacity: Mapping[str, int]) -> list[str]:
        members = self._active.members()
        strategy = Strategy.PROPORTIONAL if self._ways.as_before else self._record.settings.strategy
        claims = [
            DominantClaim(
                tenant=tenant,
                demand={name: wanted_of(m, name) for name in capacity},
                weight=counted_weight(weight_of(m), strategy),
            )
            for tenant, m in members
        ]
        division = divide_dominant(capacity, claims) if capacity else DominantDivision({}, {})
        targets = division.allocations
        changed: list[str] = []
        for tenant, member in members:
            target = targets.get(tenant, {})
            if target != member.target or member.left_out_ms:
                member.target = target
                changed.append(tenant)
        self._record.conditions = list(division.conditions)
        return changed

    def _division_with_turns(
        self, resource: str, units: int, said: int, now_ms: int
    ) -> tuple[Division, dict[str, int]]:
        """Return the division with turns, and these; as before if nothing that matters is new."""
        if self._known is not None and self._known[0] == (said, units) and not self._looks_back:
            return self._known[1:]
        division = self._division(resource, units)
        turns = self._turns.taken(resource, units, division, now_ms)
        if turns:
            left = max(0, units - sum(turns.values()))
            others = self._division(resource, left, division, turns)
            division = replace(
                division,
                allocations=others.allocations | turns,
                unallocated=others.unallocated,
                held_back=others.held_back,
                groups_hold_back=others.groups_hold_back,
            )
        self._known = (said, units), division, turns
        return division, turns

    def _division(
        self,
        resource: str,
        units: int,
        whole: Division | None = None,
        without: Mapping[str, int] | None = None,
    ) -> Division:
        """Divide between those looked at, but for those ``without`` whom: these have a part.

        Then ``units`` are a part of the pool: guarantees count as in the division of the ``whole``.
        """
        without = without or {}
        known = self._claims.of(resource)
        claims, rights = list(known.claims.values()), (known.version, *without)
        are_scaled = whole is not None and bool(whole.scaled or whole.scaled_groups)
        if without:
            claims = [claim for claim in claims if claim.tenant not in without]
        groups = self._groups.all
        if whole is not None and are_scaled:
            scaled, of_groups = whole.scaled, whole.scaled_groups
            claims = [
                replace(one, guaranteed=scaled[one.tenant]) if one.tenant in scaled else one
                for one in claims
            ]
            groups = [
                replace(one, guaranteed=min(one.guaranteed, of_groups[one.name]))
                if one.name in of_groups
                else one
                for one in groups
            ]
        if self._looks_back:
            micro_weights = {one.tenant: round(one.weight * MICRO) for one in claims}
            members = self._record.members
            usage = {t: members[t].usage.get(resource, 0) for t in micro_weights}
            adjusted = adjusted_weights(micro_weights, usage, units)
            claims = [replace(one, weight=adjusted[one.tenant] / MICRO) for one in claims]
        if without and groups:
            groups = self._groups.less(groups, without)
        is_plain = not self._looks_back and not are_scaled
        return self._divisions.setdefault(bool(without), RepeatedDivision()).divide(
            units,
            self._record.settings.strategy,
            claims,
            groups,
            scale=whole is None,
            rights=rights if is_plain else None,
        )
