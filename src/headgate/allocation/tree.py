"""Tenants and groups as a tree: what flows up from the tenants, what comes down from the pool."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import add, sub

from headgate.allocation.claims import Claim, Group
from headgate.allocation.solver import fill, whole_weights


@dataclass(slots=True)
class Node:
    """A tenant, a group, or the pool itself.

    The first four are set when it is made, the rest while it is divided.

    Attributes:
        name: Of the tenant or the group.
        weight: Among its siblings, for what it gets on top of its floor; 0: nothing.
        priority: Among its siblings, where that counts.
        children: Of a group.
        guaranteed: Units that it and those below it have a right to.
        floor: Of these, units that its tenants can use now.
        ceiling: Units that its tenants can use now, and may.
        kept: Units of its own unused guarantee that are not lent.
        kept_below: The same, of those below it.
        part: Units that it gets.
    """

    name: str
    weight: float = 1
    priority: int = 0
    children: list["Node"] = field(default_factory=list)
    guaranteed: int = 0
    floor: int = 0
    ceiling: int = 0
    kept: int = 0
    kept_below: int = 0
    part: int = 0

    def claim(self, usable: int, floor: int, lend_limit: int | None, kept_below: int = 0) -> None:
        """Say what it can use of its guarantee and beyond; what is not lent of the rest follows.

        Args:
            usable: Units that its tenants can use, and may.
            floor: Units that they can use of its guarantee.
            lend_limit: Units of the unused guarantee that may be lent; None: all.
            kept_below: Units that those below it do not lend.
        """
        self.floor = floor
        self.ceiling = usable if self.weight else floor
        self.kept_below = kept_below
        if lend_limit is not None:
            self.kept = max(0, self.guaranteed - floor - kept_below - lend_limit)


@dataclass(slots=True)
class Tree:
    """The tree of a pool.

    Attributes:
        root: The pool.
        tenants: With their claims, by name.
        groups: With what they may have, each after its parent.
    """

    root: Node
    tenants: list[tuple[Node, Claim]]
    groups: list[tuple[Node, Group]]

    @classmethod
    def of(cls, claims: Sequence[Claim], groups: Sequence[Group]) -> "Tree":
        """Return the tree; siblings in the order of their names, groups last.

        Raises:
            ValueError: A tenant or group is there twice, a group is missing, or groups contain each
                other in a circle.
        """
        root = Node("")
        named = {group.name: (Node(group.name), group) for group in groups}
        if len(named) < len(groups):
            raise ValueError("a group is there twice")
        tenants = [(Node(c.tenant), c) for c in sorted(claims, key=lambda claim: claim.tenant)]
        for (_, one), (_, next_one) in pairwise(tenants):
            if one.tenant == next_one.tenant:
                raise ValueError(f"tenant {one.tenant!r} is there twice")
        for node, claim in tenants:
            if claim.group is None:
                root.children.append(node)
            elif claim.group in named:
                named[claim.group][0].children.append(node)
            else:
                raise ValueError(f"tenant {claim.tenant!r}: there is no group {claim.group!r}")
        below: dict[str | None, list[str]] = {}
        for name in sorted(named):
            parent = named[name][1].parent
            if parent is not None and parent not in named:
                raise ValueError(f"group {name!r}: there is no group {parent!r}")
            (root if parent is None else named[parent][0]).children.append(named[name][0])
            below.setdefault(parent, []).append(name)
        ordered = list(below.get(None, ()))
        for name in ordered:
            ordered += below.get(name, ())
        if len(ordered) < len(named):
            circle = min(set(named) - set(ordered))
            raise ValueError(f"group {circle!r}: its parents form a circle")
        return cls(root, tenants, [named[name] for name in ordered])

    def scale(self, capacity: int) -> list[Node]:
        """Scale what is guaranteed down to what there is, from the top down; return whose it was.

        A group is to those in it what the pool is to those at the top.
        """
        scaled: list[Node] = []
        self.root.guaranteed = capacity
        for node in (self.root, *(group for group, _ in self.groups)):
            rights = [child.guaranteed for child in node.children]
            if sum(rights) <= node.guaranteed:
                continue
            parts = fill(node.guaranteed, rights, [0] * len(rights), rights)
            for child, part in zip(node.children, parts, strict=True):
                if part < child.guaranteed:
                    child.guaranteed = part
                    scaled.append(child)
        return scaled

    def pour(self, amount: int, by_priority: bool) -> None:
        """Divide ``amount`` among the nodes, from the top down."""
        self.root.part = amount
        for node in (self.root, *(group for group, _ in self.groups)):
            _pour(node, by_priority)


def _pour(node: Node, by_priority: bool) -> None:
    """Divide what a node gets among its children."""
    children = node.children
    parts = pour(
        node.part,
        [child.guaranteed for child in children],
        [child.floor for child in children],
        [child.ceiling for child in children],
        whole_weights([child.weight for child in children]),
        [child.priority if by_priority else 0 for child in children],
    )
    for child, part in zip(children, parts, strict=True):
        child.part = part


def pour(
    amount: int,
    rights: Sequence[int],
    floors: Sequence[int],
    ceilings: Sequence[int],
    weights: Sequence[int],
    priorities: Sequence[int],
) -> list[int]:
    """Divide ``amount`` among siblings: guarantees first, then the rest on top.

    Args:
        amount: Units.
        rights: What is guaranteed to each.
        floors: What each can use of that.
        ceilings: What each can use at all.
        weights: For what comes on top of the floors; see ``whole_weights``.
        priorities: The highest comes first.
    """
    none = [0] * len(floors)
    at_floor = sum(floors)
    if not at_floor and len(set(priorities)) < 2:
        return fill(amount, weights, floors, ceilings)
    spare = amount - at_floor
    if spare < 0:
        # Guarantees, or fixed parts, in proportion, as far as they are used.
        return fill(amount, rights, none, floors)
    parts = list(floors)
    if not spare:
        return parts
    rooms = list(map(sub, ceilings, floors))
    if len(set(priorities)) < 2:
        return list(map(add, parts, fill(spare, weights, none, rooms)))
    tiers: dict[int, list[int]] = {}
    for number, priority in enumerate(priorities):
        tiers.setdefault(priority, []).append(number)
    for priority in sorted(tiers, reverse=True):
        tier = tiers[priority]
        more = fill(
            spare,
            [weights[number] for number in tier],
            none[: len(tier)],
            [rooms[number] for number in tier],
        )
        for number, units in zip(tier, more, strict=True):
            parts[number] += units
        spare -= sum(more)
    return parts
