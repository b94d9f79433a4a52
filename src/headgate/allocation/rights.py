"""What tenants and groups of a pool have a right to, can use, and keep for themselves."""

from dataclasses import replace
from typing import Final

from headgate.allocation.claims import Claim, Group
from headgate.allocation.tree import Node, Tree
from headgate.model.pool import GUARANTEEING, Condition, Strategy

OVERCOMMITTED: Final = "OVERCOMMITTED"
"""More is guaranteed, or fixed, than there is."""


def gather_rights(tree: Tree, strategy: Strategy) -> list[Condition]:
    """Say what everybody has a right to; return the groups in which that is too much."""
    guaranteeing = strategy in GUARANTEEING
    if not guaranteeing and strategy is not Strategy.FIXED:
        return []
    conditions: list[Condition] = []
    for node, claim in tree.tenants:
        # A fixed part is a guarantee beyond which nothing is to be had.
        node.guaranteed = claim.guaranteed if guaranteeing else claim.fixed or 0
    for node, group in reversed(tree.groups):
        limit = limit_of(group, strategy)
        rights = sum(child.guaranteed for child in node.children)
        # What is guaranteed to its members is part of what is guaranteed to the group: the group's
        # own guarantee only adds what is missing.
        node.guaranteed = max(group.guaranteed if guaranteeing else 0, rights)
        if limit is not None:
            node.guaranteed = min(node.guaranteed, limit)
            if rights > limit:
                what, most = f" in group {node.name}", f"it may have {limit}"
                conditions.append(overcommitted(strategy, what, rights, most))
    conditions.reverse()
    return conditions


def gather(tree: Tree, strategy: Strategy) -> None:
    """Say of everybody what it can use, now that it is known what it has a right to."""
    for node, claim in tree.tenants:
        claim_tenant(node, claim, strategy)
    for node, group in reversed(tree.groups):
        children = node.children
        usable = sum(child.ceiling for child in children)
        floors = sum(child.floor for child in children)
        kept_below = sum(child.kept + child.kept_below for child in children)
        claim_group(node, group, strategy, usable, floors, kept_below)


def claim_tenant(node: Node, claim: Claim, strategy: Strategy) -> None:
    """Say of a tenant what it can use, now that its guarantee is known."""
    usable = claim.demand if claim.maximum is None else min(claim.demand, claim.maximum)
    right = node.guaranteed
    if strategy in GUARANTEEING:
        node.weight, node.priority = claim.weight, claim.priority
        if claim.borrow_limit is not None:
            usable = min(usable, right + claim.borrow_limit)
        node.claim(usable, min(usable, right), claim.lend_limit)
    elif strategy is Strategy.FIXED:
        node.weight = right
        node.claim(min(usable, right), min(usable, right), None)
    else:
        node.weight = counted_weight(claim.weight, strategy)
        node.ceiling = usable if node.weight else 0


def claim_group(
    node: Node, group: Group, strategy: Strategy, usable: int, floors: int, kept_below: int
) -> None:
    """Say of a group what it can use.

    Args:
        node: Of the group; its guarantee is known.
        group: What it may have.
        strategy: Of the pool.
        usable: Units that its children can use.
        floors: Of these, units that are guaranteed to them.
        kept_below: Units that those below it do not lend.
    """
    own, lend_limit = 0, None
    if strategy in GUARANTEEING:
        node.priority = group.priority
        own, lend_limit = min(group.guaranteed, node.guaranteed), group.lend_limit
    node.weight = (
        node.guaranteed if strategy is Strategy.FIXED else counted_weight(group.weight, strategy)
    )
    limit = limit_of(replace(group, guaranteed=own), strategy)
    if limit is not None:
        # What its members hold back is lent to nobody, so it counts towards what the group may
        # have; only what is used goes before that.
        usable = min(usable, max(limit - kept_below, min(floors, limit)))
    node.claim(usable, min(usable, max(own - kept_below, floors)), lend_limit, kept_below)


def limit_of(group: Group, strategy: Strategy) -> int | None:
    """Return what a group may have at most; None: no limit."""
    limits = [] if group.maximum is None else [group.maximum]
    if strategy in GUARANTEEING and group.borrow_limit is not None:
        limits.append(group.guaranteed + group.borrow_limit)
    return min(limits, default=None)


def counted_weight(weight: float, strategy: Strategy) -> float:
    """Return what a weight counts as; none at all is none under ``equal``, too."""
    if strategy is Strategy.UNLIMITED:
        return 1
    if strategy is Strategy.EQUAL:
        return 1 if weight else 0
    return weight


def overcommitted(strategy: Strategy, where: str, rights: int, limit: str) -> Condition:
    """Return what people should know where more is guaranteed, or fixed, than there is."""
    fixed = strategy is Strategy.FIXED
    what, how = "guarantees", "each counts as its proportional share"
    if fixed:
        what, how = "fixed parts", "they count in proportion where all are used"
    message = f"the {what}{where} add up to {rights}, {limit}: {how}"
    return Condition(type=OVERCOMMITTED, message=message)
