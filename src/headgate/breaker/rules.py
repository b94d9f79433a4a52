"""The rules by which a breaker opens."""

from dataclasses import dataclass
from typing import Final

from headgate.breaker.record import BreakerRecord
from headgate.breaker.rows import is_unbroken
from headgate.breaker.sliding_count import SlidingCount
from headgate.breaker.sliding_time import BUCKETS
from headgate.breaker.windows import describe, enough_calls, excess, in_a_row
from headgate.model.breaker import BreakerState
from headgate.model.policy import TimeWindow

FLEET_REPORTS_PER_SECOND: Final = 4
"""What all gates together should send to one breaker while all is well."""

_LONGEST_REPORT_MS: Final = 15_000
_LIMIT_REPORT_MS: Final = 2_000

ACTIVE_MS: Final = 10_000
"""A gate that has made no call for so long has nothing to say about a row of failures."""


@dataclass(frozen=True, slots=True)
class Trip:
    """A rule that is met: which, in a sentence, with the numbers."""

    rule: str
    reason: str
    numbers: dict[str, float]


def judge(record: BreakerRecord, now_ms: int, *, wary: bool = False) -> Trip | None:
    """Return the first rule that is met, or None.

    Args:
        record: With the window to judge.
        now_ms: Unix time.
        wary: Judge by as few calls as there are probes: the downstream has only just come back.
    """
    policy, window = record.policy, record.window
    row = policy.consecutive_failures
    enough = enough_calls(policy)
    if wary:
        enough = min(enough, policy.probes)
        row = policy.probes if row is None else min(row, policy.probes)
    why = ""
    if record.wary:
        why = "" if row == 1 else ", as nobody has seen it work since it was open"
        row = 1
    active_ms = max(ACTIVE_MS, 2 * report_every_ms(record))
    if row is not None and record.consecutive >= row and is_unbroken(record, now_ms, active_ms):
        trip = Trip(
            "consecutive_failures",
            f"{in_a_row(record.consecutive)} (limit {row}{why})",
            {"value": record.consecutive, "threshold": row},
        )
        return trip if _has_quorum(record, now_ms) else None
    window.advance(now_ms)
    found = excess(window, policy, enough)
    if found is None:
        return None
    value = found.count / found.calls
    trip = Trip(
        found.rule,
        f"{found.count} of {found.calls} calls {found.what} within {describe(policy)} "
        f"({value:.0%}, limit {found.limit:.0%})",
        {
            "value": value,
            "threshold": found.limit,
            "count": found.count,
            "calls": found.calls,
        },
    )
    return trip if _has_quorum(record, now_ms) else None


def report_every_ms(record: BreakerRecord) -> int:
    """Return how often a gate should report while all is well.

    Seldom, as failures are told at once: a quarter of the window is early enough for the successes
    that they are compared with. Where a limit follows the calls of the fleet, more often.
    """
    window, limit = record.policy.window, record.settings.limit
    every_ms = _LONGEST_REPORT_MS
    if isinstance(window, TimeWindow):
        every_ms = min(every_ms, window.seconds * 250)
    if limit is not None and limit.concurrency is not None:
        every_ms = min(every_ms, _LIMIT_REPORT_MS)
    if record.effective is not BreakerState.CLOSED:
        every_ms = 0  # now people look
    return max(1_000, every_ms, len(record.reporters) * 1_000 // FLEET_REPORTS_PER_SECOND)


def _has_quorum(record: BreakerRecord, now_ms: int) -> bool:
    """Return whether enough gates have seen trouble within the window."""
    quorum = record.policy.quorum
    return quorum == 1 or witnesses(record, now_ms) >= quorum


def witnesses(record: BreakerRecord, now_ms: int) -> int:
    """Return how many gates have seen a failing or slow call within the window."""
    window, reporters = record.window, record.reporters.values()
    if isinstance(window, SlidingCount):
        gone = max(0, record.judged - window.size)
        seen = [*(gate.trouble_at_call for gate in reporters), *record.trouble_of_gone]
        return sum(1 for at_call in seen if at_call > gone)
    # The window lets go of whole buckets, so this does too.
    begin_ms = (now_ms // window.bucket_ms - BUCKETS + 1) * window.bucket_ms
    return sum(1 for gate in reporters if gate.trouble_at_ms >= max(1, begin_ms))
