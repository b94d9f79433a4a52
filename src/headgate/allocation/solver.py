"""Bounded weighted max-min fairness, exactly: the one solver that every strategy comes from.

Given an amount C and for each claimant a weight w, a floor l and a ceiling u, the answer is the
only a with

    a_i = clamp(f * w_i, l_i, u_i)  for one f >= 0,      sum of a_i = min(C, sum of u_i)

where a weight of 0 makes u_i = l_i: who has no weight stays at its floor. Nobody can get more
without somebody getting less who has, for its weight, no more. Whole units come of it by cutting
off fractions and giving the units left to the largest fractions, the first claimant first when
they are equal; that stays within the bounds, and within one unit of the exact answer.

The level f is found by sweeping the breakpoints l_i/w_i and u_i/w_i in their order, as Kubernetes
API Priority and Fairness does (``conc_alloc.go``): O(n log n). There, it is done in floats with a
tolerance. Here nothing depends on rounding: all is done in integers, and where the breakpoints are
sorted as floats (which is faster), these are precise enough to tell any two of them apart.
"""

from collections.abc import Sequence
from itertools import compress
from math import gcd
from operator import lt, neg, not_, truediv
from typing import Final

_MANTISSA_BITS: Final = 52

_FEW: Final = 128
"""Of so few breakpoints, all are put in order at once."""

_SAMPLE: Final = 15

_LARGE_BITS: Final = 20
"""Weights of more bits are made smaller where they have a common divisor."""


def fill(
    amount: int, weights: Sequence[int], floors: Sequence[int], ceilings: Sequence[int]
) -> list[int]:
    """Divide ``amount``; see above.

    Args:
        amount: Units to divide.
        weights: Whole numbers, none negative; see ``whole_weights``.
        floors: Units that each gets at least.
        ceilings: Units that each gets at most, none below its floor.

    Returns:
        Units for each, in the order of the arguments, which is also the order of precedence.

    Raises:
        ValueError: The floors add up to more than ``amount``.
    """
    at_floor = sum(floors)
    if at_floor > amount:
        raise ValueError(f"the floors add up to {at_floor}, which is more than {amount}")
    if not all(weights):
        return _fill_weighted(amount, weights, floors, ceilings)
    if sum(ceilings) <= amount:
        return list(ceilings)
    if at_floor == amount:
        return list(floors)
    if max(weights) >> _LARGE_BITS:
        part = gcd(*weights)
        weights = [weight // part for weight in weights]
    parts, between, rest, weight = _level(amount, at_floor, weights, floors, ceilings)
    shares = [rest * weights[number] for number in between]
    for number, share in zip(between, shares, strict=True):
        parts[number] = share // weight
    left = amount - sum(parts)
    if left:
        fractions = [share % weight for share in shares]
        # Sorting is stable, so of equal ones the first claimant comes first.
        first = sorted(range(len(between)), key=fractions.__getitem__, reverse=True)
        for place in first[:left]:
            parts[between[place]] += 1
    return parts


def _fill_weighted(
    amount: int, weights: Sequence[int], floors: Sequence[int], ceilings: Sequence[int]
) -> list[int]:
    """Divide among those who have a weight; the others stay at their floor."""
    parts = list(floors)
    numbers = list(compress(range(len(parts)), weights))
    others = sum(parts) - sum(parts[number] for number in numbers)
    filled = fill(
        amount - others,
        [weights[number] for number in numbers],
        [floors[number] for number in numbers],
        [ceilings[number] for number in numbers],
    )
    for number, units in zip(numbers, filled, strict=True):
        parts[number] = units
    return parts


def whole_weights(weights: Sequence[float]) -> list[int]:
    """Return whole numbers in exactly the same proportions.

    Every finite float is a whole number divided by a power of two; the largest of the powers makes
    all of them whole.
    """
    ratios = [weight.as_integer_ratio() for weight in weights]
    common = max((below for _, below in ratios), default=1)
    if common == 1:
        return [above for above, _ in ratios]
    return [above * (common // below) for above, below in ratios]


def _level(
    amount: int,
    at_floor: int,
    weights: Sequence[int],
    floors: Sequence[int],
    ceilings: Sequence[int],
) -> tuple[list[int], list[int], int, int]:
    """Find the level f.

    Args:
        amount: More than all floors, less than all ceilings.
        at_floor: The sum of the floors.
        weights: Of all; none is 0.
        floors: Of all.
        ceilings: Of all.

    Returns:
        What those have who are at a bound; the numbers of the others; and f, as two numbers: what
        is left for these others, by their weight.
    """
    # While f rises from 0, a claimant is at its floor, then rises with f, then is at its ceiling.
    # Event n is that claimant n reaches its ceiling, event n + count that it leaves its floor. To
    # pass an event changes what is settled, and the speed at which all together rise.
    count = len(weights)
    bounds, speeds = list(ceilings), list(weights)
    settles, rises = bounds, list(map(neg, speeds))
    settled, rising = at_floor, 0
    if at_floor:
        settles, rises = [*bounds, *map(neg, floors)], [*rises, *speeds]
        bounds, speeds = [*bounds, *floors], [*speeds, *speeds]
    else:
        rising = sum(speeds)
    keys = _order_keys(bounds, speeds)
    passed = bytearray(len(bounds))
    ahead: Sequence[int] = range(len(bounds))
    while len(ahead) > _FEW:
        # Only the event at which to stop is wanted, so most need not be put in order: of those
        # before and those after one in the middle, one part is done with.
        middle = sorted(ahead[:: len(ahead) // _SAMPLE], key=keys.__getitem__)[_SAMPLE // 2]
        key, bound, speed = keys[middle], bounds[middle], speeds[middle]
        before = [event for event in ahead if keys[event] < key]
        now_settled = settled + sum(map(settles.__getitem__, before))
        now_rising = rising + sum(map(rises.__getitem__, before))
        if now_settled * speed + now_rising * bound >= amount * speed:
            ahead = before
        elif before:
            ahead = [event for event in ahead if keys[event] >= key]
            settled, rising = now_settled, now_rising
            for event in before:
                passed[event] = 1
        else:
            break  # many are equal
    for event in sorted(ahead, key=keys.__getitem__):
        bound, speed = bounds[event], speeds[event]
        # At f = bound / speed, all together have settled + rising * f.
        if settled * speed + rising * bound >= amount * speed:
            break
        settled += settles[event]
        rising += rises[event]
        passed[event] = 1
    tops = passed[:count]
    parts = [top if is_at else low for top, low, is_at in zip(ceilings, floors, tops, strict=True)]
    is_between = map(lt, tops, passed[count:]) if at_floor else map(not_, tops)
    return parts, list(compress(range(count), is_between)), amount - settled, rising


def _order_keys(bounds: Sequence[int], speeds: Sequence[int]) -> Sequence[float]:
    """Return keys that sort exactly as the fractions ``bounds / speeds`` do.

    Two different fractions a/v and b/w differ by at least 1/(v * w): relative to the larger one, by
    1/(bound * speed) or more. Python rounds a division of integers correctly, so floats keep the
    order and tell such fractions apart while bound * speed fits into the mantissa. Beyond that,
    fractions scaled by the square of the largest speed differ by more than 1, and so do their
    whole parts.
    """
    bits = max(speeds).bit_length()
    if max(bounds).bit_length() + bits <= _MANTISSA_BITS:
        return list(map(truediv, bounds, speeds))
    return [(bound << 2 * bits) // speed for bound, speed in zip(bounds, speeds, strict=True)]
