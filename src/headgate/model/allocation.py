"""The file that ``headgate allocate`` solves: a pool and who wants what of it."""

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from headgate.model.contract import Contract, Name
from headgate.model.pool import Strategy, StrategyName, Units, Weight

Priority = Annotated[int, Field(ge=-1_000, le=1_000)]
"""A tier; the highest is served first."""


def _several(value: Any) -> str:
    return "by resource" if isinstance(value, dict) else "units"


UnitsOrMap = Annotated[
    Annotated[Units, Tag("units")]
    | Annotated[dict[Name, Units], Field(min_length=1), Tag("by resource")],
    Discriminator(_several),
]
"""Units of the one resource, or units by resource."""


class TenantClaim(Contract):
    """What one tenant wants, and by what right.

    Attributes:
        tenant: Whose.
        demand: Units it would use now; a map when the pool has several resources.
        weight: Its part relative to the others'; 0: it gets its guarantee and no more.
        priority: The higher tier is served first (``priority``).
        guaranteed: Units it has whenever it wants them (``reserved``, ``priority``).
        borrow_limit: Units above the guarantee at most; null: no limit.
        lend_limit: Units of an unused guarantee that others may use at most; null: all.
        max: Units at most, under every strategy; null: no limit.
        fixed: Its part (``fixed``); null: 0.
        group: The group it is in; null: none.
    """

    tenant: Name
    demand: UnitsOrMap
    weight: Weight = 1.0
    priority: Priority = 0
    guaranteed: Units = 0
    borrow_limit: Units | None = None
    lend_limit: Units | None = None
    max: Units | None = None
    fixed: Units | None = None
    group: Name | None = None


class GroupClaim(Contract):
    """Tenants, or groups of them, that share a part of the pool.

    Attributes:
        group: Its name.
        parent: The group it is part of; null: none.
        weight: Its part relative to its siblings'.
        priority: Among its siblings.
        guaranteed: Units that its tenants have together whenever they want them.
        borrow_limit: Units above the guarantee at most; null: no limit.
        lend_limit: Units of an unused guarantee that others may use at most; null: all.
        max: Units at most, under every strategy; null: no limit.
    """

    group: Name
    parent: Name | None = None
    weight: Weight = 1.0
    priority: Priority = 0
    guaranteed: Units = 0
    borrow_limit: Units | None = None
    lend_limit: Units | None = None
    max: Units | None = None


class PoolProblem(Contract):
    """A pool to divide.

    Attributes:
        capacity: Units; a map when the pool has several resources, which are then divided by
            dominant shares.
        strategy: How.
        tenants: Who wants what.
        groups: That the tenants are in.
    """

    capacity: UnitsOrMap
    strategy: StrategyName = Strategy.PROPORTIONAL
    tenants: list[TenantClaim]
    groups: list[GroupClaim] = []

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _once("tenants", [claim.tenant for claim in self.tenants])
        _once("groups", [group.group for group in self.groups])
        self._check_groups()
        if isinstance(self.capacity, dict):
            self._check_several(self.capacity)
            return self
        for number, claim in enumerate(self.tenants):
            if isinstance(claim.demand, dict):
                raise _at(
                    "is by resource, but the capacity is not: write a whole number, or write the "
                    "capacity by resource",
                    *("tenants", number, "demand"),
                )
        return self

    def _check_groups(self) -> None:
        parents = {group.group: group.parent for group in self.groups}
        known = "write null, or name it under groups"
        if parents:
            known = f"write null or one of {', '.join(sorted(parents))}"
        for number, claim in enumerate(self.tenants):
            if claim.group is not None and claim.group not in parents:
                raise _at(f"there is no group {claim.group}: {known}", "tenants", number, "group")
        for number, group in enumerate(self.groups):
            place = ("groups", number, "parent")
            if group.parent is not None and group.parent not in parents:
                raise _at(f"there is no group {group.parent}: {known}", *place)
            seen, above = {group.group}, group.parent
            while above is not None and above not in seen and above in parents:
                seen.add(above)
                above = parents[above]
            if above == group.group:
                raise _at(f"{group.group} is above itself: break the circle", *place)

    def _check_several(self, capacity: dict[str, int]) -> None:
        if self.strategy not in (Strategy.PROPORTIONAL, Strategy.EQUAL):
            raise _at(
                f"is {self.strategy.value}, which does not divide several resources: write "
                "proportional or equal, or one number as capacity",
                "strategy",
            )
        if self.groups:
            raise _at(
                "cannot be used with several resources: remove them, or write one number as "
                "capacity",
                "groups",
            )
        for number, claim in enumerate(self.tenants):
            if not isinstance(claim.demand, dict):
                raise _at(
                    f"is {claim.demand}, but the capacity is by resource: write "
                    f"{{{min(capacity)}: {claim.demand}}}",
                    *("tenants", number, "demand"),
                )
            for resource in claim.demand:
                if resource not in capacity:
                    raise _at(
                        f"the pool has no {resource}: write one of {', '.join(sorted(capacity))}",
                        *("tenants", number, "demand", resource),
                    )
            if claim.max is not None:
                raise _at(
                    "cannot be used with several resources: lower the demand instead",
                    *("tenants", number, "max"),
                )
            for field in ("guaranteed", "borrow_limit", "lend_limit", "fixed", "priority"):
                if getattr(claim, field):
                    raise _at(
                        "cannot be used with several resources, which are divided by weight alone: "
                        "remove it, or write one number as capacity",
                        *("tenants", number, field),
                    )


def _once(where: str, names: list[str]) -> None:
    seen = set()
    for number, name in enumerate(names):
        if name in seen:
            raise _at(f"{name} is there twice: remove one", where, number, where.removesuffix("s"))
        seen.add(name)


def _at(message: str, *path: str | int) -> PydanticCustomError:
    """Return an error of the whole file that says where in it the mistake is."""
    return PydanticCustomError("misfit", "{message}", {"message": message, "path": path})
