"""How a pool is divided: each strategy is a choice of weights, guarantees and ceilings.

``docs/allocation.md`` says what each one means, and what groups do.
"""

from collections.abc import Sequence
from typing import Final

from headgate.allocation.claims import Claim, Division, Group
from headgate.allocation.solver import fill
from headgate.allocation.tree import Node, Tree
from headgate.model.pool import Condition, Strategy

OVERCOMMITTED: Final = "OVERCOMMITTED"
"""More is guaranteed, or fixed, than there is."""

CAPACITY_EXCEEDED: Final = "CAPACITY_EXCEEDED"
"""More is given than there is, because the strategy sets no limit."""

HELD_BACK: Final = "HELD_BACK"
"""A group does not lend all of its unused guarantee."""

_GUARANTEEING: Final = (Strategy.RESERVED, Strategy.PRIORITY)
_WEIGHTLESS: Final = (Strategy.EQUAL, Strategy.UNLIMITED)


def divide(
    capacity: int, strategy: Strategy, claims: Sequence[Claim], groups: Sequence[Group] = ()
) -> Division:
    """Divide the capacity of a pool between its tenants.

    Args:
        capacity: Units.
        strategy: How.
        claims: One for each tenant, in any order.
        groups: That they are in, in any order.

    Returns:
        Units for every tenant. Nobody gets more than its demand and its maximum, and all together
        get no more than the capacity, unless the strategy is ``unlimited``.

    Raises:
        ValueError: The capacity is negative, a tenant or group is there twice, a group is missing,
            or groups contain each other in a circle.
    """
    if capacity < 0:
        raise ValueError(f"the capacity is {capacity}; it must be at least 0")
    tree = Tree.of(claims, groups)
    conditions: list[Condition] = []
    _gather_tenants(tree, strategy)
    for node, group in reversed(tree.groups):
        conditions += _gather_group(node, group, strategy)
    conditions.reverse()
    root = tree.root
    wanted = sum(child.ceiling for child in root.children)
    rights = sum(child.guaranteed for child in root.children)
    if rights > capacity:
        what = "fixed parts" if strategy is Strategy.FIXED else "guarantees"
        conditions.insert(0, _overcommitted(f"the {what}", rights, f"the capacity is {capacity}"))
    if strategy is Strategy.UNLIMITED and wanted > capacity:
        message = f"{wanted} units are given, the capacity is {capacity}"
        conditions.insert(0, Condition(type=CAPACITY_EXCEEDED, message=message))
    keepers = [node for node, _ in (*tree.tenants, *tree.groups) if node.kept]
    kept = _kept(keepers, capacity - sum(child.floor for child in root.children))
    budget = wanted if strategy is Strategy.UNLIMITED else capacity - sum(kept)
    tree.pour(budget, strategy is Strategy.PRIORITY)
    held_back = {}
    of_tenants = {id(node) for node, _ in tree.tenants} if keepers else set()
    for node, units in zip(keepers, kept, strict=True):
        if id(node) in of_tenants and units:
            held_back[node.name] = units
        elif units:
            message = f"group {node.name} holds {units} units of its unused guarantee back"
            conditions.append(Condition(type=HELD_BACK, message=message))
    allocations = {node.name: node.part for node, _ in tree.tenants}
    given = sum(allocations.values())
    return Division(allocations, max(0, capacity - given), held_back, conditions)


def _gather_tenants(tree: Tree, strategy: Strategy) -> None:
    """Say of each tenant what it can use and has a right to."""
    guaranteeing = strategy in _GUARANTEEING
    weightless = strategy in _WEIGHTLESS
    for node, claim in tree.tenants:
        usable = claim.demand if claim.maximum is None else min(claim.demand, claim.maximum)
        if guaranteeing:
            node.weight, node.priority = claim.weight, claim.priority
            right = claim.guaranteed
            if claim.borrow_limit is not None:
                usable = min(usable, right + claim.borrow_limit)
            node.claim(usable, min(usable, right), right, claim.lend_limit)
        elif strategy is Strategy.FIXED:
            # A fixed part is a guarantee beyond which nothing is to be had.
            node.weight = right = claim.fixed or 0
            node.claim(min(usable, right), min(usable, right), right, None)
        else:
            node.weight = 1 if weightless else claim.weight
            node.ceiling = usable if node.weight else 0


def _gather_group(node: Node, group: Group, strategy: Strategy) -> list[Condition]:
    """Say of a group what its children can use and have a right to; these have been gathered."""
    children = node.children
    usable = sum(child.ceiling for child in children)
    rights = sum(child.guaranteed for child in children)
    floors = sum(child.floor for child in children)
    kept_below = sum(child.kept + child.kept_below for child in children)
    own, limits, lend_limit = 0, [], None
    if group.maximum is not None:
        limits.append(group.maximum)
    if strategy in _GUARANTEEING:
        node.priority = group.priority
        own, lend_limit = group.guaranteed, group.lend_limit
        if group.borrow_limit is not None:
            limits.append(own + group.borrow_limit)
    if strategy is Strategy.FIXED:
        node.weight = rights
    elif strategy not in _WEIGHTLESS:
        node.weight = group.weight
    usable = min([usable, *limits])
    # What is guaranteed to its members is part of what is guaranteed to the group, and so is what
    # they hold back: the group's own guarantee only adds what is missing.
    guaranteed = min([max(own, rights), *limits])
    node.claim(
        usable, min(usable, max(own - kept_below, floors)), guaranteed, lend_limit, kept_below
    )
    if limits and rights > min(limits):
        what = f"the guarantees in group {node.name}"
        return [_overcommitted(what, rights, f"it may have {min(limits)}")]
    return []


def _kept(keepers: Sequence[Node], spare: int) -> list[int]:
    """Return what each really holds back: no more than is left when all guarantees are served."""
    amounts = [node.kept for node in keepers]
    return fill(max(0, spare), amounts, [0] * len(amounts), amounts)


def _overcommitted(what: str, rights: int, limit: str) -> Condition:
    message = f"{what} add up to {rights}, {limit}: they count in proportion where all are used"
    return Condition(type=OVERCOMMITTED, message=message)
