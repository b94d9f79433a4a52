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
from operator import lt, truediv
from typing import Final

_MANTISSA_BITS: Final = 52


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
    tops = ceilings
    if not all(weights):
        tops = [u if w else low for w, low, u in zip(weights, floors, ceilings, strict=True)]
    if sum(tops) <= amount:
        return list(tops)
    at_floor = sum(floors)
    if at_floor >= amount:
        if at_floor > amount:
            raise ValueError(f"the floors add up to {at_floor}, which is more than {amount}")
        return list(floors)
    free = list(map(lt, floors, tops))
    part = gcd(*compress(weights, free))
    reduced = [weight // part for weight in weights] if part > 1 else weights
    numbers = list(compress(range(len(reduced)), free))
    rest, weight = _level(amount, reduced, floors, tops, numbers)
    return _whole_units(amount, rest, weight, reduced, floors, tops, numbers)


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
    weights: Sequence[int],
    floors: Sequence[int],
    ceilings: Sequence[int],
    numbers: Sequence[int],
) -> tuple[int, int]:
    """Return the level f as two numbers: what is left for those between their bounds, by weight.

    Args:
        amount: More than all floors, less than all ceilings.
        weights: Of all.
        floors: Of all.
        ceilings: Of all.
        numbers: Of those whose floor is below their ceiling.
    """
    # While f rises from 0, a claimant is at its floor, then rises with f, then is at its ceiling.
    settled = sum(floors)
    rising = 0
    lifted = []
    for number in numbers:
        if floors[number]:
            lifted.append(number)
        else:
            rising += weights[number]
    tops = len(numbers)
    movers = [*numbers, *lifted]
    bounds = [ceilings[number] for number in numbers]
    bounds += [floors[number] for number in lifted]
    speeds = [weights[number] for number in movers]
    keys = _order_keys(bounds, speeds)
    for event in sorted(range(len(movers)), key=keys.__getitem__):
        bound, speed = bounds[event], speeds[event]
        # At f = bound / speed, all together have settled + rising * f.
        if settled * speed + rising * bound >= amount * speed:
            break
        if event < tops:
            settled += bound
            rising -= speed
        else:
            settled -= bound
            rising += speed
    return amount - settled, rising


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


def _whole_units(
    amount: int,
    rest: int,
    weight: int,
    weights: Sequence[int],
    floors: Sequence[int],
    ceilings: Sequence[int],
    numbers: Sequence[int],
) -> list[int]:
    """Return whole units at the level ``rest / weight``, the largest fractions rounded up."""
    parts = list(floors)
    fractions = []
    for number in numbers:
        units, fraction = divmod(rest * weights[number], weight)
        if units >= ceilings[number]:
            parts[number] = ceilings[number]
        elif units >= floors[number]:
            parts[number] = units
            if fraction:
                fractions.append((-fraction, number))
    left = amount - sum(parts)
    if left:
        fractions.sort()
        for _, number in fractions[:left]:
            parts[number] += 1
    return parts
