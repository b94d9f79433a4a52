"""Durations and effects in words, and states in signs."""

from collections.abc import Sequence
from typing import Final

from headgate.model.breaker import MOST_AFFECTED, AffectedTenant, BreakerState
from headgate.model.plan import TenantForecast
from headgate.model.pool import Condition

GLYPHS: Final = {
    BreakerState.CLOSED: "●",
    BreakerState.OPEN: "✕",
    BreakerState.HALF_OPEN: "◐",
    BreakerState.RAMP: "◢",
    BreakerState.FORCED_OPEN: "⊘",
    BreakerState.FORCED_CLOSED: "○",
    BreakerState.SHADOW: "○",
}
"""A sign for each state, so that colour is never the only one."""


def whom(affected: Sequence[AffectedTenant], at_most: int = 3, what: str = "") -> str:
    """Return how many tenants a breaker affects, and the first of them by name.

    Args:
        affected: All of them.
        at_most: So many are named.
        what: What they are, after their number; empty where it is said beside it.
    """
    if not affected:
        return "none in the last 10 min"
    count = f"{len(affected)}{' or more' if len(affected) >= MOST_AFFECTED else ''}{what}"
    names = ", ".join(f"{one.tenant} ({one.calls})" for one in affected[:at_most])
    return f"{count}: {names}{', ...' if len(affected) > at_most else ''}"


def requests_wait(count: int) -> str:
    """Return ``1 request waits`` or ``3 requests wait``."""
    return "1 request waits" if count == 1 else f"{count} requests wait"


def lasting(ms: int) -> str:
    """Return about how long a duration is: two digits are enough for people who wait."""
    seconds = max(0, round(ms / 1_000))
    if seconds < 1:
        return "less than 1 s"
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7_200:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3_600} h"
    return f"{seconds // 86_400} d"


def effect(one: TenantForecast) -> str:
    """Return in few words what a tenant would feel of another division of a pool."""
    words = []
    if one.unblocked:
        words.append(f"{one.unblocked} of {one.waiting} waiting jobs could begin")
    if one.blocked:
        words.append(f"{one.blocked} jobs more would wait")
    if one.over:
        words.append(f"{one.over} held too many: nothing new until given back")
    return "; ".join(words) or "-"


def divided(
    strategy: str, tenants: int, wanting: int, unheard: int, conditions: Sequence[Condition]
) -> str:
    """Return what the division of a pool was made by.

    Args:
        strategy: How it is divided.
        tenants: How many share it.
        wanting: How many of them want more than they have.
        unheard: How many of their ledgers have not said what they hold; until then nobody gets
            more.
        conditions: What people should know of the division.
    """
    if unheard:
        if unheard == 1:
            return "waiting for 1 ledger to say what it holds"
        return f"waiting for {unheard} ledgers to say what they hold"
    text = f"{strategy}, {tenants} tenants"
    if wanting:
        more = "wants more than it has" if wanting == 1 else "want more than they have"
        text += f", {wanting} of them {more}"
    if conditions:
        text += f"; {conditions[0].message}"
    return text


def what_gives_more(pool: str, *, guaranteeing: bool) -> str:
    """Return what people raise where a pool gives less than a tenant's own limit.

    Args:
        pool: Which one.
        guaranteeing: Whether it looks at guarantees.
    """
    also = "what is guaranteed, or " if guaranteeing else ""
    return f"the pool limits it: for more, raise {also}the capacity of {pool}"
