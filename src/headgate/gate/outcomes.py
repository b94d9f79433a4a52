"""Outcomes of calls to one downstream, gathered until they are reported."""

from dataclasses import dataclass, field
from typing import Final

from headgate.model.breaker import MOST_AFFECTED, CallOutcome, OutcomeBucket, ProbeOutcome

NOBODY: Final = "-"
"""The tenant of calls that are made for none."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one call ended.

    Attributes:
        outcome: What it says of the downstream.
        duration_ms: How long it took.
        retry_after_ms: For how long the downstream asked not to be called; 0: it did not.
        overload: It failed because the downstream had too much to do.
    """

    outcome: CallOutcome
    duration_ms: int = 0
    retry_after_ms: int = 0
    overload: bool = False


@dataclass(slots=True)
class Bucket:
    """The outcomes under one epoch."""

    successes: int = 0
    failures: int = 0
    ignored: int = 0
    rejected: int = 0
    trailing_failures: int = 0
    succeeded_at_ms: int = 0
    failing_since_ms: int = 0
    slow: int = 0
    duration_ms: int = 0
    retry_at_ms: int = 0
    at_ms: int = 0


@dataclass(slots=True)
class Outcomes:
    """What has happened since the last report."""

    buckets: dict[int, Bucket] = field(default_factory=dict)
    probes: list[ProbeOutcome] = field(default_factory=list)
    affected: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.buckets or self.probes)

    def add(self, ended: Ended, epoch: int, now_ms: int, *, slow: bool) -> None:
        """Count a call that was admitted under ``epoch``."""
        bucket = self.buckets.setdefault(epoch, Bucket())
        bucket.at_ms = now_ms
        if ended.retry_after_ms:
            bucket.retry_at_ms = max(bucket.retry_at_ms, now_ms + ended.retry_after_ms)
        if ended.outcome is not CallOutcome.IGNORED:
            bucket.slow += slow
            bucket.duration_ms += ended.duration_ms
        match ended.outcome:
            case CallOutcome.SUCCESS:
                bucket.successes += 1
                bucket.trailing_failures = 0
                bucket.succeeded_at_ms = now_ms
            case CallOutcome.FAILURE:
                bucket.failures += 1
                if bucket.trailing_failures == 0:
                    bucket.failing_since_ms = now_ms
                bucket.trailing_failures += 1
            case CallOutcome.IGNORED:
                bucket.ignored += 1

    def add_calm(self, calls: int, duration_ms: int, epoch: int, at_ms: int) -> None:
        """Count calls that succeeded one after the other, the last of them at ``at_ms``."""
        bucket = self.buckets.setdefault(epoch, Bucket())
        bucket.at_ms = max(bucket.at_ms, at_ms)
        bucket.successes += calls
        bucket.duration_ms += duration_ms
        bucket.trailing_failures = 0
        bucket.succeeded_at_ms = at_ms

    def affect(self, tenant: str) -> None:
        """Note whose call failed or was not let pass; of many tenants, the first ones."""
        if tenant == NOBODY:
            return
        if tenant in self.affected or len(self.affected) < MOST_AFFECTED:
            self.affected[tenant] = self.affected.get(tenant, 0) + 1

    def reject(self, epoch: int, now_ms: int) -> None:
        """Count a call that was not let pass."""
        bucket = self.buckets.setdefault(epoch, Bucket())
        bucket.at_ms = now_ms
        bucket.rejected += 1

    def take_affected(self) -> dict[str, int]:
        """Return whose calls failed or were not let pass, for a report, and begin anew."""
        affected, self.affected = self.affected, {}
        return affected

    def take(self) -> tuple[list[OutcomeBucket], list[ProbeOutcome]]:
        """Return what is gathered, for a report, and begin anew."""
        buckets = [
            OutcomeBucket(
                at_ms=bucket.at_ms,
                epoch=epoch,
                successes=bucket.successes,
                failures=bucket.failures,
                ignored=bucket.ignored,
                rejected=bucket.rejected,
                trailing_failures=bucket.trailing_failures,
                succeeded_at_ms=bucket.succeeded_at_ms,
                failing_since_ms=bucket.failing_since_ms,
                slow=bucket.slow,
                duration_ms=bucket.duration_ms,
                retry_after_ms=max(0, bucket.retry_at_ms - bucket.at_ms),
            )
            for epoch, bucket in sorted(self.buckets.items())
        ]
        probes = self.probes
        self.buckets, self.probes = {}, []
        return buckets, probes
