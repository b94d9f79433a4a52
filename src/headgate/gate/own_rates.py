"""The rates of a gate's own calls: what it sees by itself, before the breaker has spoken."""

from dataclasses import dataclass, field

from headgate.breaker.sliding_time import SlidingTime
from headgate.breaker.windows import Excess, Sliding, enough_calls, excess, window_for
from headgate.model.policy import Rates


@dataclass(slots=True)
class OwnRates:
    """Judges the calls of one gate by the same rates by which the breaker judges those of all.

    A call that is well costs one addition: it goes into the window with the next that is not, or
    when time has moved on.
    """

    rates: Rates
    _window: Sliding = field(init=False)
    _good: int = 0
    _good_at_ms: int = 0
    _bucket_ms: int = field(init=False)

    def __post_init__(self) -> None:
        window = self._window = window_for(self.rates)
        # By calls alone, a window needs no time; it takes what there is now and then.
        self._bucket_ms = window.bucket_ms if isinstance(window, SlidingTime) else 1_000

    def succeed(self, now_ms: int, calls: int = 1) -> None:
        """Count calls that ended well and in time, the last of them now."""
        if now_ms >= self._good_at_ms + self._bucket_ms:
            self._fold(now_ms)
        self._good += calls

    def fail(self, *, failed: bool, slow: bool, now_ms: int) -> Excess | None:
        """Count a call that failed or was slow; return the rate that is exceeded with it."""
        self._fold(now_ms)
        self._window.add(now_ms, int(not failed), int(failed), now_ms, int(slow))
        return excess(self._window, self.rates, enough_calls(self.rates))

    def clear(self) -> None:
        """Forget every call."""
        self._window.clear()
        self._good = 0

    def _fold(self, now_ms: int) -> None:
        if self._good:
            self._window.add(self._good_at_ms, self._good, 0, now_ms)
            self._good = 0
        self._good_at_ms = now_ms - now_ms % self._bucket_ms
