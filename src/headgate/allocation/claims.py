"""What is divided among whom, and the result: plain immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from headgate.model.pool import Condition


@dataclass(frozen=True, slots=True)
class Claim:
    """What one tenant wants of a pool, and by what right.

    Attributes:
        tenant: Whose.
        demand: Units it would use now if the pool had no end.
        weight: Its part relative to its siblings'; 0: it gets its guarantee and no more.
        priority: The higher tier is served first, with the strategy ``priority``.
        guaranteed: Units it has whenever it wants them (``reserved``, ``priority``).
        borrow_limit: Units above the guarantee at most; None: no limit.
        lend_limit: Units of an unused guarantee that others may use at most; None: all.
        maximum: Units at most, under every strategy; None: no limit.
        fixed: Its part with the strategy ``fixed``; None: 0.
        group: The group that it is in; None: none.

    Raises:
        ValueError: A number is negative or not finite.
    """

    tenant: str
    demand: int
    weight: float = 1
    priority: int = 0
    guaranteed: int = 0
    borrow_limit: int | None = None
    lend_limit: int | None = None
    maximum: int | None = None
    fixed: int | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        amounts = (
            self.demand,
            self.guaranteed,
            self.borrow_limit or 0,
            self.lend_limit or 0,
            self.maximum or 0,
            self.fixed or 0,
        )
        _check(f"tenant {self.tenant!r}", self.weight, min(amounts))


@dataclass(frozen=True, slots=True)
class Group:
    """Tenants, or groups of them, that share a part of a pool.

    Attributes:
        name: Of the group.
        parent: The group that it is part of; None: none.
        weight: As of a tenant, among its siblings.
        guaranteed: Units that its tenants have together whenever they want them.
        borrow_limit: Units above ``guaranteed`` that they may have together; None: no limit.
        lend_limit: Units of the unused guarantee that others may use at most; None: all.
        maximum: Units at most, under every strategy; None: no limit.
        priority: Among its siblings.

    Raises:
        ValueError: A number is negative or not finite.
    """

    name: str
    parent: str | None = None
    weight: float = 1
    guaranteed: int = 0
    borrow_limit: int | None = None
    lend_limit: int | None = None
    maximum: int | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        amounts = (
            self.guaranteed,
            self.borrow_limit or 0,
            self.lend_limit or 0,
            self.maximum or 0,
        )
        _check(f"group {self.name!r}", self.weight, min(amounts))


@dataclass(frozen=True, slots=True)
class Division:
    """Who gets what of one resource.

    Attributes:
        allocations: Units by tenant, in the order of their names.
        unallocated: Units that nobody gets, those held back among them.
        held_back: Units of unused guarantees that are not lent, by tenant; only where there are
            any.
        groups_hold_back: Likewise, of guarantees of groups beyond those of their members.
        conditions: What people should know.
        scaled: What guarantees of tenants count as, where that is less than they are.
        scaled_groups: Likewise, of groups.
    """

    allocations: dict[str, int]
    unallocated: int
    held_back: dict[str, int] = field(default_factory=dict)
    groups_hold_back: dict[str, int] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    scaled: dict[str, int] = field(default_factory=dict)
    scaled_groups: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DominantClaim:
    """What one tenant wants of a pool with several resources.

    Attributes:
        tenant: Whose.
        demand: Units it would use now, by resource; it can use them in this proportion only.
        weight: Its part relative to the others'; 0: nothing.

    Raises:
        ValueError: A number is negative or not finite.
    """

    tenant: str
    demand: Mapping[str, int]
    weight: float = 1

    def __post_init__(self) -> None:
        lowest = min(self.demand.values(), default=0)
        _check(f"tenant {self.tenant!r}", self.weight, lowest)


@dataclass(frozen=True, slots=True)
class DominantDivision:
    """Who gets what of several resources.

    Attributes:
        allocations: Units by tenant and resource, of the resources that it demands.
        unallocated: Units that nobody gets, by resource.
        conditions: What people should know.
    """

    allocations: dict[str, dict[str, int]]
    unallocated: dict[str, int]
    conditions: list[Condition] = field(default_factory=list)


def _check(whose: str, weight: float, lowest: int) -> None:
    if lowest < 0:
        raise ValueError(f"{whose}: an amount is {lowest}; it must be at least 0")
    if not isfinite(weight) or weight < 0:
        raise ValueError(f"{whose}: the weight is {weight}; it must be a number of at least 0")
