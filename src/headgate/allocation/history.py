"""Weights that make up for what was used lately.

Source: KAI Scheduler's time-based fair share. In integers, as in ``headgate.decay``.
"""

from collections.abc import Mapping

from headgate.decay import MICRO


def adjusted_weights(
    weights: Mapping[str, int], usage: Mapping[str, int], capacity: int, strength_percent: int = 100
) -> dict[str, int]:
    """Return weights with which who used little lately comes first.

    P = max(0, W + k (W - U)) with W the part of all weights and U the part of the *capacity* that
    was used: of all usage would punish who used a pool that nobody else wanted. The result is
    P times the sum of the weights, so that with usage as it should be nothing changes.

    Args:
        weights: Micro-weights by tenant, of which ``MICRO`` make a weight of 1.
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
