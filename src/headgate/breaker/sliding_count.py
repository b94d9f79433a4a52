"""A sliding window of the last calls: O(1) per outcome, O(size) memory."""

from dataclasses import dataclass, field
from typing import Final, Self

_FAILED: Final = 1
_SLOW: Final = 2


@dataclass(slots=True)
class SlidingCount:
    """Successes, failures and slow calls among the last ``size`` outcomes.

    Attributes:
        size: How many.
        ring: The outcomes, as bits: 1 failed, 2 slow.
        head: The index at which the next outcome goes in.
        calls: Outcomes in the window.
        total_failures: Failures in the window.
        total_slow: Slow calls in the window.
    """

    size: int
    ring: list[int] = field(default_factory=list)
    head: int = 0
    calls: int = 0
    total_failures: int = 0
    total_slow: int = 0

    @classmethod
    def spanning(cls, size: int) -> Self:
        """Return an empty window over the last ``size`` calls."""
        return cls(size=size)

    def advance(self, now_ms: int) -> None:
        """Time does not change this window."""

    def add(self, at_ms: int, successes: int, failures: int, now_ms: int, slow: int = 0) -> None:
        """Count outcomes. A batch does not say in which order they came: they are taken as mixed.

        Of a batch that is larger than the window, a part of the window's size is taken, with the
        same shares.
        """
        calls = successes + failures
        first = max(0, calls - self.size)
        for n in range(first, calls):
            failed = (n + 1) * failures // calls - n * failures // calls
            slowly = (n + 1) * slow // calls - n * slow // calls
            self._push(failed * _FAILED | slowly * _SLOW)

    def clear(self) -> None:
        """Forget every outcome."""
        self.ring = []
        self.head = self.calls = self.total_failures = self.total_slow = 0

    def outcomes(self) -> list[int]:
        """Return the outcomes, oldest first."""
        return self.ring[self.head :] + self.ring[: self.head]

    def _push(self, outcome: int) -> None:
        if self.calls < self.size:
            self.ring.append(outcome)
            self.calls += 1
        else:
            gone, self.ring[self.head] = self.ring[self.head], outcome
            self.total_failures -= gone & _FAILED
            self.total_slow -= gone >> 1
            self.head = (self.head + 1) % self.size
        self.total_failures += outcome & _FAILED
        self.total_slow += outcome >> 1

    def resized(self, size: int) -> "SlidingCount":
        """Return a window over ``size`` calls that keeps the youngest of this one."""
        fresh = SlidingCount(size)
        for outcome in self.outcomes()[-size:]:
            fresh._push(outcome)
        return fresh
