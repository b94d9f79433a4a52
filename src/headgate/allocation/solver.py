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
tolerance. Here nothing depends on rounding: floats only tell where to look, which saves putting
most breakpoints in order; what decides is done in integers.
"""

from collections.abc import Sequence
from itertools import compress
from math import frexp, gcd, inf, isqrt, ldexp
from operator import lt, neg, not_, truediv
from typing import Final

_MANTISSA_BITS: Final = 53

_WIDE_BITS: Final = 900
"""Numbers of more bits may not fit into a float."""

_SAMPLE: Final = 1_000

_MARGIN: Final = 2
"""In square roots of a sample's size: four times as far as chance usually leads astray."""

_FLOAT_ERROR: Final = 2.0**-49
"""More than the relative error of a quotient of two rounded numbers, several times over."""

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
        weights = [weight // part for weight in weights] if part > 1 else weights
    parts, between, rest, weight = _Sweep(amount, weights, floors, ceilings).level()
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
    whole = list(map(int, weights))
    if whole == list(weights):
        return whole
    # Times this power of two, the smallest weight is whole, and so are all larger ones.
    bits = _MANTISSA_BITS - frexp(min(filter(None, weights)))[1]
    if bits <= _WIDE_BITS and max(whole).bit_length() <= _MANTISSA_BITS:
        return list(map(int, map(ldexp(1.0, bits).__mul__, weights)))
    ratios = [weight.as_integer_ratio() for weight in weights]
    common = max(below for _, below in ratios)
    return [above * (common // below) for above, below in ratios]


class _Sweep:
    """All breakpoints, to be passed from the lowest to the level f.

    While f rises from 0, a claimant is at its floor, then rises with f, then is at its ceiling.
    Event n is that claimant n reaches its ceiling, event n + count that it leaves its floor. To
    pass an event changes what is settled, and the speed at which all together rise: at f, they
    have settled + rising * f.
    """

    def __init__(
        self, amount: int, weights: Sequence[int], floors: Sequence[int], ceilings: Sequence[int]
    ) -> None:
        """Lay the breakpoints out.

        Args:
            amount: More than all floors, less than all ceilings.
            weights: Of all; none is 0.
            floors: Of all.
            ceilings: Of all.
        """
        self._amount = amount
        self._floors, self._ceilings = floors, ceilings
        self._bits = max(weights).bit_length()
        self._bounds, self._speeds = list(ceilings), list(weights)
        self._settles, self._rises = self._bounds, list(map(neg, weights))
        self._settled, self._rising = sum(floors), 0
        if self._settled:
            self._settles = [*ceilings, *map(neg, floors)]
            self._bounds = [*ceilings, *floors]
            self._rises += weights
            self._speeds += weights
        else:  # nobody is to leave its floor: all rise from the beginning
            self._rising = sum(weights)
        self._keys = self._quotients(weights)

    def level(self) -> tuple[list[int], list[int], int, int]:
        """Find f.

        Returns:
            What those have who are at a bound; the numbers of the others; and f, as two numbers:
            what is left for these others, by their weight.
        """
        found = self._stop(*self._guess()) or self._stop(-inf, inf)
        assert found is not None, "amount lies between the floors and the ceilings"
        passed, settled, rising = found
        count = len(self._ceilings)
        tops = passed[:count]
        each = zip(self._ceilings, self._floors, tops, strict=True)
        parts = [top if is_at else low for top, low, is_at in each]
        is_between = map(lt, tops, passed[count:]) if len(passed) > count else map(not_, tops)
        return parts, list(compress(range(count), is_between)), self._amount - settled, rising

    def _quotients(self, weights: Sequence[int]) -> list[float]:
        """Return about where each event is; the order may be wrong within ``_FLOAT_ERROR``."""
        if not _MANTISSA_BITS < self._bits <= _WIDE_BITS:
            return list(map(truediv, self._bounds, self._speeds))
        # Floats divide faster than large integers do.
        speeds = list(map(float, weights))
        if len(self._bounds) > len(speeds):
            speeds += speeds
        return list(map(truediv, self._bounds, speeds))

    def _guess(self) -> tuple[float, float]:
        """Return two keys between which f probably is, as a sample of the events tells."""
        step = len(self._keys) // _SAMPLE
        if step < 2:
            return -inf, inf
        sample = sorted(range(0, len(self._keys), step), key=self._keys.__getitem__)
        settled, rising, place = self._settled, self._rising, 0
        for place, event in enumerate(sample):  # noqa: B007 (where it stops is used below)
            if settled + rising * self._keys[event] >= self._amount:
                break
            settled += step * self._settles[event]
            rising += step * self._rises[event]
        margin = _MARGIN * isqrt(len(sample))
        low, high = place - margin, place + margin
        return (
            self._keys[sample[low]] if low >= 0 else -inf,
            self._keys[sample[high]] if high < len(sample) else inf,
        )

    def _stop(self, low: float, high: float) -> tuple[bytearray, int, int] | None:
        """Pass all events whose key is below ``low``, and then one by one.

        Returns:
            Which events were passed, what is settled then, and the speed; None where f is not
            between these two keys.
        """
        amount, bits = self._amount, 2 * self._bits
        bounds, speeds, settles, rises = self._bounds, self._speeds, self._settles, self._rises
        passed = bytearray(map(low.__gt__, self._keys))
        settled = self._settled + sum(compress(settles, passed))
        rising = self._rising + sum(compress(rises, passed))
        if any(passed):
            last = max(compress(self._keys, passed))
            if last * (1 + _FLOAT_ERROR) >= low:
                return None  # perhaps not in their order there
            f, by = ((last + low) / 2).as_integer_ratio()
            if settled * by + rising * f >= amount * by:
                return None
        near = [event for event, key in enumerate(self._keys) if low <= key <= high]
        # Two fractions differ by 1 / (speed * speed) or more; made so much larger, so do their
        # whole parts.
        near.sort(key=lambda event: (bounds[event] << bits) // speeds[event])
        for event in near:
            bound, speed = bounds[event], speeds[event]
            if settled * speed + rising * bound >= amount * speed:
                return passed, settled, rising
            settled += settles[event]
            rising += rises[event]
            passed[event] = 1
        return (passed, settled, rising) if high == inf else None
