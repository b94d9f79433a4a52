"""What was, forgotten by half in a given time.

Source: Kueue's admission fair sharing, here reckoned when it is needed instead of sampled. All in
integers: a workflow that is replayed on another machine must come to the same result, and powers in
floats need not.
"""

from functools import lru_cache
from math import isqrt
from typing import Final

MICRO: Final = 1_000_000
"""Micro-units in a unit."""

_BITS: Final = 64
_ONE: Final = 1 << _BITS


def _roots() -> tuple[int, ...]:
    """Return 2^-(1/2), 2^-(1/4), 2^-(1/8), ... as fractions of 2^64."""
    roots = [isqrt(_ONE * _ONE // 2)]
    while len(roots) < 32:
        roots.append(isqrt(roots[-1] << _BITS))
    return tuple(roots)


_ROOTS: Final = _roots()
_DIGITS: Final = tuple((1 << len(_ROOTS) - 1 - n, root) for n, root in enumerate(_ROOTS))


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


# Those of one pool are mostly reckoned up together, over the same time.
@lru_cache(maxsize=4_096)
def _half_to(elapsed_ms: int, half_life_ms: int) -> int:
    """Return 2^(-elapsed/half life), as a fraction of 2^64."""
    halvings, rest_ms = divmod(elapsed_ms, half_life_ms)
    if halvings >= _BITS:
        return 0
    factor = _ONE
    # The binary digits of the rest say which roots to multiply.
    digits = (rest_ms << len(_ROOTS)) // half_life_ms
    for digit, root in _DIGITS:
        if digits & digit:
            factor = factor * root >> _BITS
    return factor >> halvings
