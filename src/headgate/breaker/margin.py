"""How far a closed breaker is from opening."""

import math

from headgate.model.breaker import BreakerState, BreakerView
from headgate.model.contract import Message

_ROUNDING = 1e-9


class Margin(Message):
    """What is missing for a breaker to open, by its window as it was last looked at.

    Attributes:
        failure_rate: The share of calls in the window that failed; null: there were none.
        failure_rate_opens: From which share on it opens; null: it does not, by failures.
        slow_rate: The share that were slow.
        slow_rate_opens: From which share on it opens; null: it does not, by slow calls.
        calls_to_judge: So many more calls, and rates are judged; 0: they are.
        failures_to_open: So many failing calls, one after the other, and it opens; null: it keeps
            calls away already, or failures do not open it.
    """

    failure_rate: float | None = None
    failure_rate_opens: float | None = None
    slow_rate: float | None = None
    slow_rate_opens: float | None = None
    calls_to_judge: int = 0
    failures_to_open: int | None = None


def margin(view: BreakerView) -> Margin:
    """Return how far a breaker is from opening; a quorum of gates may hold it back longer."""
    policy, calls = view.settings.policy, view.calls_in_window
    enough = policy.min_calls
    if policy.window.kind == "count":
        enough = min(enough, policy.window.size)
    slow_opens = None if policy.slow_call_ms is None else policy.slow_call_rate
    return Margin(
        failure_rate=view.failures_in_window / calls if calls else None,
        failure_rate_opens=policy.failure_rate,
        slow_rate=view.slow_in_window / calls if calls else None,
        slow_rate_opens=slow_opens,
        calls_to_judge=max(0, enough - calls),
        failures_to_open=_failures_to_open(view, enough),
    )


def _failures_to_open(view: BreakerView, enough: int) -> int | None:
    if view.own_state not in (BreakerState.CLOSED, BreakerState.RAMP):
        return None
    policy, calls = view.settings.policy, view.calls_in_window
    ways: list[int] = []
    if policy.consecutive_failures is not None:
        ways.append(policy.consecutive_failures - view.consecutive_failures)
    if policy.failure_rate is not None:
        share, failed = policy.failure_rate, view.failures_in_window
        by_rate: int | None
        if policy.window.kind == "count" and calls >= policy.window.size:
            # A failure pushes the oldest outcome out: at best a success.
            by_rate = math.ceil(share * policy.window.size - failed - _ROUNDING)
        elif share >= 1.0:
            by_rate = 0 if failed == calls else None
        else:
            # The least k with (failed + k) / (calls + k) >= share.
            by_rate = math.ceil((share * calls - failed) / (1 - share) - _ROUNDING)
        if by_rate is not None:
            ways.append(max(by_rate, enough - calls))
    return max(1, min(ways)) if ways else None
