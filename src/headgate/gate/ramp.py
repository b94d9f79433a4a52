"""Letting a share of the calls pass: in measure with what there was before, and fairly."""

import math
from dataclasses import dataclass, field
from typing import Final

_MEMORY_MS: Final = 10_000
"""Over what time the rate of calls is averaged."""

_RECENT_MS: Final = 2_500
"""A tenant that has not asked for so long does not want a call now; longer than any pause."""

_USUAL_MEMORY_MS: Final = 60_000
"""The same for a throttle, which may last, and cuts what is seldom called as well."""

_FLOOR_PER_S: Final = 1.0
_USUAL_FLOOR_PER_S: Final = 1 / 60
_BURST: Final = 2.0


@dataclass(slots=True)
class Ramp:
    """Admits a share of the calls that there were before: a rising one, or what people have set.

    A share of what *asks* would be no ramp at all: those that are turned away ask again, and a
    crowd that waits asks more often than ever. So the rate from before is what the share is of.
    Between tenants, who has had the fewest calls in this ramp comes first.

    Attributes:
        rate_per_s: Calls a second while all passed, a moving average.
        usual_per_s: The same over a longer time; 0: none has passed yet.
        at_ms: When the averages were last brought up to date.
    """

    rate_per_s: float = 0.0
    usual_per_s: float = 0.0
    at_ms: int = 0
    _tokens: float = 1.0
    _filled_at_ms: int = 0
    _served: dict[str, int] = field(default_factory=dict)
    _asked_at_ms: dict[str, int] = field(default_factory=dict)

    def count(self, now_ms: int) -> None:
        """Note a call that passed while all do."""
        age_ms = max(0, now_ms - self.at_ms)
        self.rate_per_s *= math.exp(-age_ms / _MEMORY_MS)
        self.rate_per_s += 1000 / _MEMORY_MS
        self.usual_per_s *= math.exp(-age_ms / _USUAL_MEMORY_MS)
        self.usual_per_s += 1000 / _USUAL_MEMORY_MS
        self.at_ms = now_ms

    def begin(self, now_ms: int) -> None:
        """Begin a ramp: the first call passes."""
        self._tokens, self._filled_at_ms = 1.0, now_ms
        self._served.clear()
        self._asked_at_ms.clear()

    def passes(self, tenant: str, share: float, now_ms: int, *, rising: bool = True) -> bool:
        """Return whether a call of ``tenant`` passes, at this ``share`` of what there was.

        Args:
            tenant: For whom.
            share: From 0 to 1.
            now_ms: Unix time.
            rising: It is a ramp, not a throttle.
        """
        per_s = self._per_s(rising) * share
        elapsed_s = max(0, now_ms - self._filled_at_ms) / 1000
        burst = max(_BURST, per_s / 2)
        self._tokens = min(burst, self._tokens + per_s * elapsed_s)
        self._filled_at_ms = now_ms
        self._asked_at_ms[tenant] = now_ms
        waiting = {name for name, at in self._asked_at_ms.items() if now_ms - at <= _RECENT_MS}
        # A newcomer begins level with the one that has had the fewest.
        fewest = min(
            (self._served.get(name, 0) for name in waiting if name in self._served), default=0
        )
        mine = self._served.setdefault(tenant, fewest)
        if self._tokens < 1.0:
            return False
        is_next = mine <= min(self._served.get(name, fewest) for name in waiting)
        # When those who come first do not take what there is, nobody should wait for them.
        if not is_next and self._tokens < burst:
            return False
        self._tokens -= 1.0
        self._served[tenant] = mine + 1
        return True

    def pause_ms(self, share: float, *, rising: bool = True) -> int:
        """Return after what time it makes sense to ask again."""
        per_s = self._per_s(rising) * share
        return round(min(2_000.0, max(200.0, 1_000 / per_s)))

    def _per_s(self, rising: bool) -> float:
        """Return the rate that the share is of; a process that has just begun knows none."""
        if rising or not self.usual_per_s:
            return max(_FLOOR_PER_S, self.rate_per_s)
        return max(_USUAL_FLOOR_PER_S, self.usual_per_s)
