"""Usage levels of a quota: one alert for each crossing, with hysteresis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEVELS: Final = (80, 90, 100)
"""Percent of the quota at which people are told."""

HYSTERESIS_POINTS: Final = 5
HOLD_MS: Final = 300_000


@dataclass(slots=True)
class UsageLevel:
    """Which level is reached, and since when usage has been clearly below it.

    For ledgers whose configuration was applied before there were ``alerts`` in it; the others have
    episodes.

    Attributes:
        level: The highest level told of that still holds; 0 when none.
        below_since_ms: Since when usage has been ``HYSTERESIS_POINTS`` below ``level``.
        last: The highest level that usage has not been clearly below since then.
    """

    level: int = 0
    below_since_ms: int | None = None
    last: int = 0

    def observe(self, used: int, limit: int, now_ms: int) -> int | None:
        """Take the usage at ``now_ms``.

        A rise is told at once, and only the highest level crossed. A level is left when usage has
        stayed ``HYSTERESIS_POINTS`` percent points below it for ``HOLD_MS``, so that usage which
        hovers about a level tells of it once. Between two calls usage is what it was at the first.

        Args:
            used: Units in use.
            limit: The quota, in units; with 0 there is nothing to use up.
            now_ms: Unix time.

        Returns:
            The level that was newly reached, or None.
        """
        if limit <= 0:
            return None
        if self.below_since_ms is not None and now_ms - self.below_since_ms >= HOLD_MS:
            self.level, self.below_since_ms = self.last, None
        reached = level_of(used, limit, LEVELS)
        if reached > self.level:
            self.level, self.below_since_ms = reached, None
            return reached
        kept = max(
            (level for level in LEVELS if still_at(level, used, limit, HYSTERESIS_POINTS)),
            default=0,
        )
        if self.level == 0 or kept >= self.level:
            self.below_since_ms = None
        elif self.below_since_ms is None:
            self.below_since_ms, self.last = now_ms, kept
        else:
            self.last = max(self.last, kept)
        return None


def level_of(used: int, limit: int | None, levels: Sequence[int]) -> int:
    """Return the highest of ``levels``, in percent of ``limit``, that ``used`` has reached, or 0.

    Of nothing, and where nothing limits, nothing is used up.
    """
    if not limit:
        return 0
    return max((level for level in levels if used * 100 >= level * limit), default=0)


def still_at(level: int, used: int, limit: int | None, margin: int) -> bool:
    """Return whether usage is not yet ``margin`` percent points below ``level``."""
    return bool(limit) and used * 100 > (level - margin) * (limit or 0)
