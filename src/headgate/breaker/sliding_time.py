"""A sliding time window of outcomes: O(1) per outcome, O(buckets) memory."""

from dataclasses import dataclass, field
from typing import Final, Self

BUCKETS: Final = 60


@dataclass(slots=True)
class SlidingTime:
    """Successes, failures and slow calls of the last ``bucket_ms * BUCKETS`` milliseconds.

    A ring of buckets with running totals: what a bucket held is subtracted when the bucket is
    used again, so a total is never summed anew. Time only moves forward; an outcome that is older
    than the window is left out, one from the future counts as now.

    Attributes:
        bucket_ms: The span of one bucket.
        head: The number of the newest bucket: its time divided by ``bucket_ms``.
        successes: Per bucket, at index ``number % BUCKETS``.
        failures: Likewise.
        slow: Likewise; a slow call is also a success or a failure.
        calls: Successes and failures within the window.
        total_failures: Failures within the window.
        total_slow: Slow calls within the window.
    """

    bucket_ms: int
    head: int = 0
    successes: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    failures: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    slow: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    calls: int = 0
    total_failures: int = 0
    total_slow: int = 0

    @classmethod
    def spanning(cls, seconds: int) -> Self:
        """Return an empty window over the last ``seconds``."""
        return cls(bucket_ms=max(1, seconds * 1_000 // BUCKETS))

    def advance(self, now_ms: int) -> None:
        """Let go of what is older than the window at ``now_ms``."""
        number = now_ms // self.bucket_ms
        if number <= self.head:
            return
        for stale in range(max(self.head + 1, number - BUCKETS + 1), number + 1):
            slot = stale % BUCKETS
            self.calls -= self.successes[slot] + self.failures[slot]
            self.total_failures -= self.failures[slot]
            self.total_slow -= self.slow[slot]
            self.successes[slot] = self.failures[slot] = self.slow[slot] = 0
        self.head = number

    def add(self, at_ms: int, successes: int, failures: int, now_ms: int, slow: int = 0) -> None:
        """Count outcomes that ended at ``at_ms`` and are learned of at ``now_ms``."""
        self.advance(now_ms)
        number = min(at_ms // self.bucket_ms, self.head)
        if number <= self.head - BUCKETS:
            return
        slot = number % BUCKETS
        self.successes[slot] += successes
        self.failures[slot] += failures
        self.slow[slot] += slow
        self.calls += successes + failures
        self.total_failures += failures
        self.total_slow += slow

    def clear(self) -> None:
        """Forget every outcome."""
        self.successes = [0] * BUCKETS
        self.failures = [0] * BUCKETS
        self.slow = [0] * BUCKETS
        self.calls = self.total_failures = self.total_slow = 0

    def resized(self, seconds: int, now_ms: int) -> "SlidingTime":
        """Return a window over ``seconds`` that keeps what is in this one and young enough."""
        self.advance(now_ms)
        fresh = SlidingTime.spanning(seconds)
        for number in range(max(0, self.head - BUCKETS + 1), self.head + 1):
            slot = number % BUCKETS
            if self.successes[slot] or self.failures[slot]:
                at_ms = number * self.bucket_ms
                fresh.add(at_ms, self.successes[slot], self.failures[slot], now_ms, self.slow[slot])
        return fresh
