"""How far a breaker is from opening."""

from math import ceil

from headgate.model.breaker import BreakerState, BreakerView
from headgate.model.contract import Message
from headgate.model.policy import BreakerPolicy, CountWindow


class Margin(Message):
    """How far a breaker is from opening, as its window was when it was saved.

    Attributes:
        share: What is left of the way: 1: nothing is wrong, 0: it would open, or is open.
        failures: So many more calls that fail, one after the other, would open it; null: failures
            alone never do, or it is not closed.
        rule: The rule that these would meet first, or that is nearest.
        failure_rate: Of the calls in the window; null: there are none.
        failure_limit: At which rate it opens; null: at none.
        slow_rate: Likewise, of slow calls.
        slow_limit: Likewise; null: no call is slow.
        min_calls: Below so many calls in the window no rate counts.
        gates_missing: So many more gates would have to see trouble first.
    """

    share: float
    failures: int | None
    rule: str | None
    failure_rate: float | None
    failure_limit: float | None
    slow_rate: float | None
    slow_limit: float | None
    min_calls: int
    gates_missing: int


def margin(view: BreakerView) -> Margin:
    """Return how far a breaker is from opening, by itself: what people have set is left aside.

    Nothing is taken to leave the window meanwhile, except what failures push out of a window of
    calls, for which successes are taken. The rules are those of ``breaker.rules.judge``.
    """
    policy, calls = view.settings.policy, view.calls_in_window
    enough, size = policy.min_calls, None
    if isinstance(policy.window, CountWindow):
        size = policy.window.size
        enough = min(enough, size)
    slow_limit = None if policy.slow_call_ms is None else policy.slow_call_rate
    closed = view.own_state is BreakerState.CLOSED
    ways = _ways(view, policy, enough, size)
    failures, rule = min(ways, default=(None, None), key=lambda way: way[0])
    used = [
        (value * min(1.0, calls / max(1, enough)), name)
        for value, name in (
            (_part(_rate(view.failures_in_window, calls), policy.failure_rate), "failure_rate"),
            (_part(_rate(view.slow_in_window, calls), slow_limit), "slow_call_rate"),
        )
    ]
    if policy.consecutive_failures is not None:
        in_a_row = min(1.0, view.consecutive_failures / policy.consecutive_failures)
        used.append((in_a_row, "consecutive_failures"))
    most, nearest = max(used)
    return Margin(
        share=round(1.0 - most, 4) if closed else 0.0,
        failures=failures if closed else None,
        rule=nearest if most > 0 else rule,
        failure_rate=_rate(view.failures_in_window, calls),
        failure_limit=policy.failure_rate,
        slow_rate=_rate(view.slow_in_window, calls),
        slow_limit=slow_limit,
        min_calls=enough,
        gates_missing=max(0, policy.quorum - view.witnesses) if policy.quorum > 1 else 0,
    )


def _ways(
    view: BreakerView, policy: BreakerPolicy, enough: int, size: int | None
) -> list[tuple[int, str]]:
    """Return (how many failures in a row, the rule that they meet)."""
    calls, failures = view.calls_in_window, view.failures_in_window
    found = []
    if view.wary:
        found.append((1, "consecutive_failures"))
    if policy.consecutive_failures is not None:
        missing = policy.consecutive_failures - view.consecutive_failures
        found.append((max(1, missing), "consecutive_failures"))
    if (limit := policy.failure_rate) is not None:
        more = _missing(calls, failures, limit, enough, size)
        if more is not None:
            found.append((more, "failure_rate"))
    return found


def _missing(calls: int, failures: int, limit: float, enough: int, size: int | None) -> int | None:
    """Return how many failures bring the rate to its limit, once enough calls are there."""
    more = 1
    if limit < 1.0:
        # The rate is compared as a quotient of floats: the closed form may be one too high.
        more = ceil((limit * calls - failures) / (1.0 - limit)) - 1
    elif failures < calls:  # the successes have to leave first
        return None if size is None else size - failures
    more = max(more, enough - calls, 1)
    while (failures + more) / (calls + more) < limit:
        more += 1
    if size is not None and calls + more > size:
        more = 1
        while (failures + more) / size < limit:
            more += 1
    return more


def _rate(count: int, calls: int) -> float | None:
    return count / calls if calls else None


def _part(rate: float | None, limit: float | None) -> float:
    """Return how much of the way to its limit a rate has gone."""
    return 0.0 if rate is None or limit is None else min(1.0, rate / limit)
