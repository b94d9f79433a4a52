"""Failures in a row over the whole fleet, from reports that come in any order."""

from headgate.breaker.record import BreakerRecord, Reporter
from headgate.model.breaker import OutcomeBucket


def count_row(record: BreakerRecord, reporter: Reporter, bucket: OutcomeBucket, at_ms: int) -> None:
    """Go on with the row of failures of one gate, and break those of others that it contradicts.

    A gate reports failures at once and successes from time to time, so the order of reports is not
    the order of calls. A success therefore breaks the rows that began before it: a gate that alone
    sees failures, while calls of others succeed, is a bad node and not a bad downstream.

    Args:
        record: Its ``consecutive`` is kept as the sum of all rows.
        reporter: The gate.
        bucket: What it has seen.
        at_ms: When the last of it ended.
    """
    since_ms = min(bucket.failing_since_ms or at_ms, at_ms)
    if bucket.successes or bucket.failures:
        reporter.called_at_ms = max(reporter.called_at_ms, at_ms)
    if bucket.successes:
        succeeded_at_ms = min(bucket.succeeded_at_ms or at_ms, at_ms)
        record.consecutive -= record.row_of_gone
        record.row_of_gone = 0
        for other in record.reporters.values():
            if other.row and other is not reporter and other.row_began_ms <= succeeded_at_ms:
                record.consecutive -= other.row
                other.row = 0
        record.consecutive += bucket.trailing_failures - reporter.row
        reporter.row, reporter.row_began_ms = bucket.trailing_failures, since_ms
    elif bucket.failures:
        if reporter.row == 0:
            reporter.row_began_ms = since_ms
        reporter.row += bucket.failures
        record.consecutive += bucket.failures


def is_unbroken(record: BreakerRecord, now_ms: int, active_ms: int) -> bool:
    """Return whether no gate that makes calls these days knows of a success since.

    Successes are told later than failures. A gate that is active, but is not in a row of failures
    as far as is known, most likely has successes to tell; so the fleet has failed in a row only
    when each active gate has. Until then the gates that fail hold back by themselves.

    Args:
        record: With the rows.
        now_ms: Unix time.
        active_ms: A gate that has made no call for so long is not active.
    """
    return all(
        reporter.row > 0 or now_ms - reporter.called_at_ms > active_ms
        for reporter in record.reporters.values()
        if reporter.called_at_ms
    )
