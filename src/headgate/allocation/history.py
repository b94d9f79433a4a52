"""Usage that is forgotten by half in a given time, and weights that make up for it.

Sources: Kueue's admission fair sharing for the decay, here reckoned when it is needed instead of
sampled; KAI Scheduler's time-based fair share for the weights. All in integers: a workflow that is
replayed on another machine must come to the same result, and powers in floats need not.
"""

from collections.abc import Mapping
from functools import lru_cache
from math import isqrt
from typing import Final

MICRO: Final = 1_000_000
"""Micro-units in a unit, and micro-weights in a weight of 1."""

_BITS: Final = 64
_ONE: Final = 1 << _BITS


def _roots() -> tuple[int, ...]:
    """Return 2^-(1/2), 2^-(1/4), 2^-(1/8), ... as fractions of 2^64."""
    roots = [isqrt(_ONE * _ONE // 2)]
    while len(roots) < 32:
        roots.append(isqrt(roots[-1] << _BITS))
    return tuple(roots)


_ROOTS: Final = _roots()


def decayed(usage: int, used: int, elapsed_ms: int, half_life_ms: int) -> int:
    """Return usage <- usage * 2^(-t/h) + used * (1 - 2^(-t/h)).

    Args:
        usage: Micro-units, as they were.
        used: Units used during the time since.
        elapsed_ms: The time since; a negative one counts as none.
        half_life_ms: After this time, what was counts half; at least 1.

    Returns:
        Micro-units: between ``usage`` and ``used``, never beyond either. However the time is cut
        into pieces, the result is the same but for one micro-unit for each piece.
    """
    target = used * MICRO
    if usage == target:
        return target
    kept = abs(usage - target) * _half_to(max(0, elapsed_ms), half_life_ms) >> _BITS
    return target + kept if usage > target else target - kept


def adjusted_weights(
    weights: Mapping[str, int], usage: Mapping[str, int], capacity: int, strength_percent: int = 100
) -> dict[str, int]:
    """Return weights with which who used little lately comes first.

    P = max(0, W + k (W - U)) with W the part of all weights and U the part of the *capacity* that
    was used: of all usage would punish who used a pool that nobody else wanted. The result is
    P times the sum of the weights, so that with usage as it should be nothing changes.

    Args:
        weights: Micro-weights by tenant.
        usage: Micro-units by tenant, see ``decayed``; who is not there has used nothing.
        capacity: Units of the pool; with 0, the weights stay.
        strength_percent: k, in hundredths; 0: the past does not matter.

    Returns:
        Micro-weights by tenant: at least 1 where there was a weight, 0 where there was none.
    """
    if capacity <= 0:
        return dict(sorted(weights.items()))
    total = sum(weights.values())
    adjusted = {}
    for tenant, weight in sorted(weights.items()):
        fair_use = total * usage.get(tenant, 0) // (capacity * MICRO)
        result = weight + strength_percent * (weight - fair_use) // 100
        adjusted[tenant] = max(1, result) if weight else 0
    return adjusted


# The members of a pool are mostly reckoned up together, over the same time.
@lru_cache(maxsize=256)
def _half_to(elapsed_ms: int, half_life_ms: int) -> int:
    """Return 2^(-elapsed/half life), as a fraction of 2^64."""
    halvings, rest_ms = divmod(elapsed_ms, half_life_ms)
    if halvings >= _BITS:
        return 0
    factor = _ONE
    # The binary digits of the rest say which roots to multiply.
    digits = (rest_ms << len(_ROOTS)) // half_life_ms
    for place, root in enumerate(_ROOTS):
        if digits >> (len(_ROOTS) - 1 - place) & 1:
            factor = factor * root >> _BITS
    return factor >> halvings
