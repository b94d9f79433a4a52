"""Dominant resource fairness: a pool with several resources, divided by largest shares.

Source: Ghodsi et al., Dominant Resource Fairness, NSDI 2011, with weights and with demands that
end. A tenant uses its resources in the proportion of its demand. Its dominant share is the largest
of the shares that it has of the resources it demands; all dominant shares rise together, in
proportion to the weights. A tenant stops when it has all that it demands, or when one of the
resources that it demands is used up. What it does not demand never stops it.

All arithmetic is in integers, so that a workflow that is replayed elsewhere divides the same way.
How fast a tenant rises is a fraction with a denominator of its own; to keep the sums short it is
cut off after 128 binary digits, and amounts are rounded to 2^-40 of a unit before they are made
whole. What differs by more than that is never confused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from headgate.allocation.claims import DominantClaim, DominantDivision
from headgate.allocation.solver import whole_weights
from headgate.model.pool import Condition

NO_CAPACITY: Final = "NO_CAPACITY"
"""Somebody demands a resource of which there is none."""

_MOST_NAMED: Final = 5
_SPEED_BITS: Final = 128
_AMOUNT_BITS: Final = 40


def divide_dominant(
    capacities: Mapping[str, int], claims: Sequence[DominantClaim]
) -> DominantDivision:
    """Divide several resources at once.

    Args:
        capacities: Units by resource.
        claims: One for each tenant, in any order.

    Returns:
        Units for every tenant, by resource: within one of the exact amounts, never above the
        demand, together never above a capacity. Of a resource that stops a tenant, nothing is left.

    Raises:
        ValueError: A capacity is negative, a tenant is there twice, or it demands a resource that
            the pool does not have.
    """
    for resource in sorted(capacities):
        if capacities[resource] < 0:
            raise ValueError(f"{resource}: the capacity is {capacities[resource]}; it must be >= 0")
    ordered = sorted(claims, key=lambda claim: claim.tenant)
    if len({claim.tenant for claim in ordered}) < len(ordered):
        raise ValueError("a tenant is there twice")
    for claim in ordered:
        if strange := sorted(set(claim.demand) - set(capacities)):
            raise ValueError(f"tenant {claim.tenant!r}: the pool has no resource {strange[0]!r}")
    parts = _rise(capacities, ordered)
    allocations: dict[str, dict[str, int]] = {claim.tenant: {} for claim in ordered}
    unallocated = {}
    for resource in sorted(capacities):
        users = [
            (claim.tenant, claim.demand[resource], part)
            for claim, part in zip(ordered, parts, strict=True)
            if resource in claim.demand
        ]
        units = _whole_units([(demand, part) for _, demand, part in users])
        for (tenant, _, _), given in zip(users, units, strict=True):
            allocations[tenant][resource] = given
        unallocated[resource] = capacities[resource] - sum(units)
    return DominantDivision(allocations, unallocated, _without(capacities, ordered))


def _without(capacities: Mapping[str, int], claims: Sequence[DominantClaim]) -> list[Condition]:
    """Name those that demand something of which there is none: they get nothing of anything."""
    found: list[Condition] = []
    for resource in sorted(name for name, units in capacities.items() if not units):
        lacking = [claim.tenant for claim in claims if claim.demand.get(resource)]
        if lacking:
            more = len(lacking) - _MOST_NAMED
            who = ", ".join(lacking[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
            message = f"there is no {resource}, so who demands any gets nothing of the rest: {who}"
            found.append(Condition(type=NO_CAPACITY, message=message))
    return found


@dataclass(slots=True)
class _Riser:
    """A tenant that still rises.

    Attributes:
        number: Of its claim.
        speed: The part of its demand that it gains while the level rises by one step of 2^-128.
        demand: Units by resource, without those it does not demand.
    """

    number: int
    speed: int
    demand: dict[str, int]


def _rise(capacities: Mapping[str, int], claims: Sequence[DominantClaim]) -> list[Fraction]:
    """Return the part of its demand that each tenant gets, from 0 to 1."""
    parts = [Fraction(0 if any(claim.demand.values()) else 1) for claim in claims]
    risers = _risers(capacities, claims)
    left = {resource: Fraction(units) for resource, units in sorted(capacities.items())}
    rates = dict.fromkeys(left, 0)
    for riser in risers:
        for resource, units in riser.demand.items():
            rates[resource] += units * riser.speed
    position = 0
    while position < len(risers):
        level, scarce = min((left[name] / rates[name], name) for name in left if rates[name])
        # Who needs the lowest level to have all comes first.
        satisfied = risers[position].speed * level >= 1
        if satisfied:
            stopping = [risers[position]]
            position += 1
        else:
            stopping = [riser for riser in risers[position:] if scarce in riser.demand]
            risers = [riser for riser in risers[position:] if scarce not in riser.demand]
            position = 0
        for riser in stopping:
            part = Fraction(1) if satisfied else riser.speed * level
            parts[riser.number] = part
            for resource, units in riser.demand.items():
                left[resource] -= units * part
                rates[resource] -= units * riser.speed
    return parts


def _risers(capacities: Mapping[str, int], claims: Sequence[DominantClaim]) -> list[_Riser]:
    """Return the tenants that can rise at all, in the order in which they would have all."""
    risers = []
    weights = whole_weights([claim.weight for claim in claims])
    for number, (claim, weight) in enumerate(zip(claims, weights, strict=True)):
        demand = {name: claim.demand[name] for name in sorted(claim.demand) if claim.demand[name]}
        if demand and weight and all(capacities[name] for name in demand):
            # Its dominant share rises by its weight; that of its whole demand is the largest of
            # demand / capacity.
            speed = min(
                (weight * capacities[name] << _SPEED_BITS) // units
                for name, units in demand.items()
            )
            risers.append(_Riser(number, max(1, speed), demand))
    risers.sort(key=lambda riser: (-riser.speed, riser.number))
    return risers


def _whole_units(amounts: Sequence[tuple[int, Fraction]]) -> list[int]:
    """Return whole units for demands and the parts of them that are given.

    They add up to the whole units of all together; the largest fractions are rounded up, the first
    when they are equal.
    """
    one = 1 << _AMOUNT_BITS
    fine = [round(demand * part * one) for demand, part in amounts]
    units = [amount >> _AMOUNT_BITS for amount in fine]
    # Each was rounded by half a step at most.
    missing = ((sum(fine) + len(fine)) >> _AMOUNT_BITS) - sum(units)
    by_fraction = sorted(range(len(fine)), key=lambda number: -(fine[number] & (one - 1)))
    for number in by_fraction[:missing]:
        units[number] += 1
    return units
