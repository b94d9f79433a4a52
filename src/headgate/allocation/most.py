"""What a tenant of a pool could hold at most: all that it would get if nobody else wanted any."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from headgate.allocation.claims import Claim, Group
from headgate.allocation.rights import (
    claim_group,
    claim_tenant,
    gather,
    gather_rights,
    limit_of,
)
from headgate.allocation.tree import Node, Tree
from headgate.model.pool import GUARANTEEING, Strategy


class Bound(NamedTuple):
    """What a tenant could hold at most.

    Attributes:
        units: How many.
        why: What keeps it from more, in words; empty: nothing but the capacity.
    """

    units: int
    why: str


class Most:
    """What ``divide`` would give each tenant if it wanted everything and nobody else anything.

    The pool is laid out once, with nobody wanting anything. A tenant that wants everything changes
    only itself and the groups above it, so each answer costs no more than these are many.

    Args:
        capacity: Units.
        strategy: How they are divided; not ``unlimited``, which knows no such bound.
        claims: Of all to whom something is guaranteed; others do not matter to anybody.
        groups: That tenants are in.

    Attributes:
        is_scaled: More is guaranteed than there is, so that guarantees count as less.
    """

    def __init__(
        self, capacity: int, strategy: Strategy, claims: Iterable[Claim], groups: Sequence[Group]
    ) -> None:
        self._capacity = capacity
        self._strategy = strategy
        tree = Tree.of([replace(claim, demand=0) for claim in claims], groups)
        gather_rights(tree, strategy)
        self.is_scaled = strategy in GUARANTEEING and bool(tree.scale(capacity))
        gather(tree, strategy)
        self._tenants = {claim.tenant: node for node, claim in tree.tenants}
        self._groups = {group.name: (node, group) for node, group in tree.groups}
        self._kept = sum(node.kept for node, _ in (*tree.tenants, *tree.groups))

    def of(self, claim: Claim) -> Bound:
        """Return what the tenant could hold.

        Args:
            claim: As it was given before, if anything is guaranteed; the demand does not matter.
        """
        before, kept = self._tenants.get(claim.tenant) or Node(claim.tenant), self._kept
        right = claim.fixed or 0 if self._strategy is Strategy.FIXED else before.guaranteed
        now = Node(claim.tenant, guaranteed=right)
        if claim.demand != self._capacity:
            claim = replace(claim, demand=self._capacity)
        claim_tenant(now, claim, self._strategy)
        why = self._why(claim, now)
        kept += now.kept - before.kept
        name = claim.group
        while name is not None:
            idle, group = self._groups[name]
            above = Node(name, guaranteed=idle.guaranteed)
            kept_below = idle.kept_below + now.kept + now.kept_below
            kept_below -= before.kept + before.kept_below
            claim_group(above, group, self._strategy, now.ceiling, now.floor, kept_below)
            kept += above.kept - idle.kept
            if above.ceiling < now.ceiling:
                why = self._why_group(above, group)
            before, now, name = idle, above, group.parent
        kept = min(kept, max(0, self._capacity - now.floor))
        if self._capacity - kept < now.ceiling:
            why = f"{kept} of what is guaranteed to others is not lent"
        return Bound(min(now.ceiling, self._capacity - kept), why)

    def _why(self, claim: Claim, now: Node) -> str:
        """Return what keeps a tenant from all that there is, others and groups aside."""
        if now.ceiling >= self._capacity:
            return ""
        if self._strategy is Strategy.FIXED:
            return f"its fixed part is {now.guaranteed}"
        if claim.maximum == now.ceiling:
            return f"its maximum is {claim.maximum}"
        right = now.guaranteed
        if not now.weight:
            gets = f"its guarantee of {right} and no more" if right else "nothing"
            return f"its weight is 0, so it gets {gets}"
        beyond = f" beyond its guarantee of {right}" if right else ""
        return f"it may borrow {claim.borrow_limit}{beyond}"

    def _why_group(self, now: Node, group: Group) -> str:
        """Return what keeps a group from what those in it can use."""
        if not now.weight:
            return f"the weight of group {group.name} is 0, so it gets what is guaranteed to it"
        limit = limit_of(group, self._strategy)
        kept = f", of which {now.kept_below} are not lent" if now.kept_below else ""
        return f"group {group.name} may have {limit}{kept}"
