"""Durations in words, and states in signs."""

from typing import Final

from headgate.model.breaker import BreakerState

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
