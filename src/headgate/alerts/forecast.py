"""When a calendar window will be used up, at the rate of the last while."""

from dataclasses import dataclass
from typing import Final, Literal

SPANS_MS: Final[dict[Literal["per_hour", "per_day", "per_month"], int]] = {
    "per_hour": 300_000,
    "per_day": 3_600_000,
    "per_month": 86_400_000,
}
"""Over how long a rate is measured, at least; at most twice as long."""


@dataclass(slots=True)
class Pace:
    """How fast something is used, by two marks of what was used when.

    Attributes:
        at_ms: When the newer mark was made.
        used: What was used then.
        before_ms: When the older mark was made, one to two spans ago.
        before: What was used then.
    """

    at_ms: int
    used: int
    before_ms: int
    before: int

    def observe(self, used: int, now_ms: int, span_ms: int) -> None:
        """Move the marks on, once ``span_ms`` has passed since the newer one."""
        if now_ms - self.at_ms >= span_ms:
            self.before_ms, self.before = self.at_ms, self.used
            self.at_ms, self.used = now_ms, used

    def used_up_at(self, used: int, limit: int, now_ms: int, span_ms: int) -> int | None:
        """Return when ``limit`` is reached if it goes on like this.

        Returns:
            A Unix time; None: never, or it is too early to tell.
        """
        elapsed_ms, rise = now_ms - self.before_ms, used - self.before
        if elapsed_ms < span_ms or rise <= 0:
            return None
        return now_ms + max(0, limit - used) * elapsed_ms // rise
