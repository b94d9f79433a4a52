"""Capacities that people have set, one over the other: the longer one is back when the other ends.

Whoever looks at one asks for ``set_by_people``: that which lies over the others comes last.
"""

from collections.abc import Collection, Mapping, Sequence

from headgate.alerts.words import clock
from headgate.model.pool import CapacityOverride

_MILLION = 1_000_000


def capacity_with(
    configured: Mapping[str, int], overrides: Sequence[CapacityOverride]
) -> dict[str, int]:
    """Return the capacity by resource with what people have set.

    What was set later lies over what was set before: a number counts as it is said, and a cut is of
    the number that lies beneath, set or configured. Of several cuts the last counts.
    """
    units = dict(sorted(configured.items()))
    millionths = dict.fromkeys(units, _MILLION)
    for one in overrides:
        if one.share is not None:
            millionths = dict.fromkeys(units, round(one.share * _MILLION))
        for name in one.capacity.keys() & units.keys():
            units[name], millionths[name] = one.capacity[name], _MILLION
    return {name: amount * millionths[name] // _MILLION for name, amount in units.items()}


def ends_with(old: CapacityOverride, new: CapacityOverride, resources: Collection[str]) -> bool:
    """Return whether nothing would be left of ``old`` under ``new``, now and when that ends.

    Args:
        old: Set before.
        new: Lies over it.
        resources: Of the pool.
    """
    if new.until_ms is not None and (old.until_ms is None or old.until_ms > new.until_ms):
        return False
    if new.share is not None:
        return old.share is not None
    of_old = resources if old.share is not None else old.capacity
    return {*of_old} <= {*new.capacity}


def percent(share: float) -> str:
    """Return a share as people write it, such as ``12.5%``."""
    return f"{share * 100:g}%"


def words(one: CapacityOverride, now_ms: int) -> str:
    """Return what somebody has set.

    Such as ``what ada set at 16:40 UTC (p6: 30 until 17:12 UTC): month end``.
    """
    units = ", ".join(f"{name}: {units}" for name, units in sorted(one.capacity.items()))
    what = units if one.share is None else f"cut to {percent(one.share)}"
    until = "until resume" if one.until_ms is None else f"until {clock(one.until_ms, now_ms)}"
    at = clock(one.since_ms, now_ms)
    return f"what {one.actor} set at {at} ({what} {until}): {one.reason}"
