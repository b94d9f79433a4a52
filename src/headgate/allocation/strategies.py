"""How a pool is divided: each strategy is a choice of weights, guarantees and ceilings.

``docs/allocation.md`` says what each one means, and what groups do.
"""

from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final

from headgate.allocation.claims import Claim, Division, Group
from headgate.allocation.rights import (
    OVERCOMMITTED,
    counted_weight,
    gather,
    gather_rights,
    overcommitted,
)
from headgate.allocation.solver import fill, whole_weights
from headgate.allocation.tree import Node, Tree, pour
from headgate.model.pool import GUARANTEEING, Condition, Strategy

CAPACITY_EXCEEDED: Final = "CAPACITY_EXCEEDED"
"""More is given than there is, because the strategy sets no limit."""

HELD_BACK: Final = "HELD_BACK"
"""A group does not lend all of its unused guarantee."""


def divide(
    capacity: int,
    strategy: Strategy,
    claims: Sequence[Claim],
    groups: Sequence[Group] = (),
    *,
    scale: bool = True,
) -> Division:
    """Divide the capacity of a pool between its tenants.

    Args:
        capacity: Units.
        strategy: How.
        claims: One for each tenant, in any order.
        groups: That they are in, in any order.
        scale: Whether guarantees beyond the capacity are scaled down to it. Who divides only a part
            of a pool has scaled them to all of it before.

    Returns:
        Units for every tenant. Nobody gets more than its demand and its maximum, and all together
        get no more than the capacity, unless the strategy is ``unlimited``.

    Raises:
        ValueError: The capacity is negative, a tenant or group is there twice, a group is missing,
            or groups contain each other in a circle.
    """
    if capacity < 0:
        raise ValueError(f"the capacity is {capacity}; it must be at least 0")
    if not groups:
        flat = Flat(strategy, claims)
        return flat.divide(capacity, [claim.demand for claim in flat.claims], scale=scale)
    tree = Tree.of(claims, groups)
    root = tree.root
    conditions = gather_rights(tree, strategy)
    rights = sum(child.guaranteed for child in root.children)
    if scale and rights > capacity:
        conditions.insert(0, overcommitted(strategy, "", rights, f"the capacity is {capacity}"))
    scaled = tree.scale(capacity) if scale and strategy in GUARANTEEING else []
    gather(tree, strategy)
    wanted = sum(child.ceiling for child in root.children)
    if strategy is Strategy.UNLIMITED and wanted > capacity:
        message = f"{wanted} units are given, the capacity is {capacity}"
        conditions.insert(0, Condition(type=CAPACITY_EXCEEDED, message=message))
    keepers = [node for node, _ in (*tree.tenants, *tree.groups) if node.kept]
    kept = _kept(keepers, capacity - sum(child.floor for child in root.children))
    budget = wanted if strategy is Strategy.UNLIMITED else capacity - sum(kept)
    tree.pour(budget, strategy is Strategy.PRIORITY)
    of_tenants = {id(node) for node, _ in tree.tenants} if keepers or scaled else set()
    held_back, groups_hold_back = {}, {}
    for node, units in zip(keepers, kept, strict=True):
        if id(node) in of_tenants and units:
            held_back[node.name] = units
        elif units:
            groups_hold_back[node.name] = units
            message = f"group {node.name} holds {units} units of its unused guarantee back"
            conditions.append(Condition(type=HELD_BACK, message=message))
    if strategy not in (*GUARANTEEING, Strategy.FIXED):
        conditions += _unused_guarantees(capacity, strategy, claims, groups)
    allocations = {node.name: node.part for node, _ in tree.tenants}
    given = sum(allocations.values())
    return Division(
        allocations,
        max(0, capacity - given),
        held_back,
        groups_hold_back,
        conditions,
        {node.name: node.guaranteed for node in scaled if id(node) in of_tenants},
        {node.name: node.guaranteed for node in scaled if id(node) not in of_tenants},
    )


class Flat:
    """A pool without groups, as most are; ``divide`` for it.

    All but demand and capacity is looked at once, because a governor divides many times a second.

    Args:
        strategy: How it is divided.
        claims: One for each tenant, in any order; what they demand does not matter.

    Attributes:
        claims: By name.

    Raises:
        ValueError: See ``divide``.
    """

    def __init__(self, strategy: Strategy, claims: Sequence[Claim]) -> None:
        self.claims = claims = sorted(claims, key=attrgetter("tenant"))
        for one, next_one in pairwise(claims):
            if one.tenant == next_one.tenant:
                raise ValueError(f"tenant {one.tenant!r} is there twice")
        for claim in claims:
            if claim.group is not None:
                raise ValueError(f"tenant {claim.tenant!r}: there is no group {claim.group!r}")
        self._strategy = strategy
        self._guaranteeing, self._fixed = strategy in GUARANTEEING, strategy is Strategy.FIXED
        self._names = [claim.tenant for claim in claims]
        self._guaranteed = sum(claim.guaranteed for claim in claims)
        self._none = [0] * len(claims)
        # What each has a right to, and may have at most; and what it does not lend. None: nobody.
        self._rights = self._none
        self._maxima = _unless_none([claim.maximum for claim in claims])
        self._borrows = self._lends = None
        self._priorities = self._none
        if self._guaranteeing:
            self._rights = [claim.guaranteed for claim in claims]
            self._borrows = _unless_none([claim.borrow_limit for claim in claims])
            self._lends = _unless_none([claim.lend_limit for claim in claims])
            weights: list[float] = [claim.weight for claim in claims]
            if strategy is Strategy.PRIORITY:
                self._priorities = [claim.priority for claim in claims]
        elif self._fixed:
            # A fixed part is a guarantee beyond which nothing is to be had.
            self._rights = [claim.fixed or 0 for claim in claims]
            weights = list(self._rights)
        else:
            weights = [counted_weight(claim.weight, strategy) for claim in claims]
        self._weights = whole_weights(weights)
        self._weightless = not all(self._weights)
        self._total = sum(self._rights)

    def divide(self, capacity: int, demands: Sequence[int], *, scale: bool = True) -> Division:
        """Divide; see there.

        Args:
            capacity: Units.
            demands: Of each, in the order of their names.
            scale: See ``divide``.
        """
        strategy, none, rights = self._strategy, self._none, self._rights
        conditions: list[Condition] = []
        scaled: dict[str, int] = {}
        if scale and self._total > capacity:
            limit = f"the capacity is {capacity}"
            conditions.append(overcommitted(strategy, "", self._total, limit))
            if self._guaranteeing:
                rights = fill(capacity, rights, none, rights)
                named = zip(self._names, rights, self._rights, strict=True)
                scaled = {name: part for name, part, right in named if part < right}
        tops = list(demands)
        if self._maxima is not None:
            tops = [
                units if most is None or units < most else most
                for units, most in zip(tops, self._maxima, strict=True)
            ]
        floors, kept = none, none
        if self._guaranteeing:
            if self._borrows is not None:
                tops = [
                    units if borrow is None else min(units, right + borrow)
                    for units, right, borrow in zip(tops, rights, self._borrows, strict=True)
                ]
            floors = list(map(min, tops, rights))
            if self._lends is not None:
                kept = self._kept(capacity, rights, floors, self._lends)
        elif self._fixed:
            tops = floors = list(map(min, tops, rights))
        if self._weightless:
            tops = [
                units if weight else floor
                for units, floor, weight in zip(tops, floors, self._weights, strict=True)
            ]
        budget = capacity - sum(kept)
        if strategy is Strategy.UNLIMITED:
            budget = sum(tops)
            if budget > capacity:
                message = f"{budget} units are given, the capacity is {capacity}"
                conditions.append(Condition(type=CAPACITY_EXCEEDED, message=message))
        parts = pour(budget, rights, floors, tops, self._weights, self._priorities)
        if not (self._guaranteeing or self._fixed) and self._guaranteed > capacity:
            conditions.append(_unused(capacity, strategy, self._guaranteed))
        return Division(
            dict(zip(self._names, parts, strict=True)),
            max(0, capacity - sum(parts)),
            {name: units for name, units in zip(self._names, kept, strict=True) if units}
            if kept is not none
            else {},
            {},
            conditions,
            scaled,
        )

    def _kept(
        self,
        capacity: int,
        rights: Sequence[int],
        floors: Sequence[int],
        lends: Sequence[int | None],
    ) -> list[int]:
        """Return what of an unused guarantee each does not lend."""
        kept = [
            0 if lend is None else max(0, right - floor - lend)
            for right, floor, lend in zip(rights, floors, lends, strict=True)
        ]
        return fill(max(0, capacity - sum(floors)), kept, self._none, kept)


def _unless_none(limits: list[int | None]) -> list[int | None] | None:
    """Return ``limits``, unless nobody has one."""
    return None if all(limit is None for limit in limits) else limits


def _kept(keepers: Sequence[Node], spare: int) -> list[int]:
    """Return what each really holds back: no more than is left when all guarantees are served."""
    amounts = [node.kept for node in keepers]
    return fill(max(0, spare), amounts, [0] * len(amounts), amounts)


def _unused_guarantees(
    capacity: int, strategy: Strategy, claims: Sequence[Claim], groups: Sequence[Group]
) -> list[Condition]:
    """Return a condition when guarantees could not be kept, whatever they are worth here."""
    if sum(c.guaranteed for c in claims) + sum(g.guaranteed for g in groups) <= capacity:
        return []  # as nearly always, so it is worth knowing at once
    tree = Tree.of(claims, groups)
    gather_rights(tree, Strategy.RESERVED)
    rights = sum(child.guaranteed for child in tree.root.children)
    return [] if rights <= capacity else [_unused(capacity, strategy, rights)]


def _unused(capacity: int, strategy: Strategy, rights: int) -> Condition:
    message = (
        f"the guarantees add up to {rights}, the capacity is {capacity}; the strategy {strategy} "
        "does not use guarantees"
    )
    return Condition(type=OVERCOMMITTED, message=message)
