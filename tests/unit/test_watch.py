"""When a gate reports, how careful it is, and when it holds back by itself."""

import pytest

from headgate.gate.watch import Watch
from headgate.model.breaker import BreakerState, CallOutcome, OutcomeBucket, Verdict

NOW_MS = 1_700_000_000_000
SUCCESS, FAILURE, IGNORED = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.IGNORED
CLOSED = Verdict(
    downstream="scanner",
    state=BreakerState.CLOSED,
    epoch=7,
    allow="all",
    consecutive_failures=3,
    report_every_ms=2_000,
)
RAMP = CLOSED.model_copy(update={"state": BreakerState.RAMP, "allow": "ramp"})
THROTTLED = CLOSED.model_copy(update={"allow": "ramp", "most": 0.5})
OPEN = CLOSED.model_copy(update={"state": BreakerState.OPEN, "allow": "none"})


def settled(
    *outcomes: CallOutcome, verdict: Verdict = CLOSED, epoch: int = 7, slow: bool = False
) -> Watch:
    watch = Watch()
    watch.report([], NOW_MS - 200)
    for outcome in outcomes:
        watch.settle(outcome, epoch, verdict, NOW_MS, slow=slow)
    return watch


@pytest.mark.parametrize(
    ("outcome", "slow", "verdict", "after_ms"),
    [
        (SUCCESS, False, CLOSED, 2_000),
        (IGNORED, False, CLOSED, 2_000),
        (SUCCESS, False, THROTTLED, 2_000),
        (SUCCESS, False, RAMP, 500),
        (SUCCESS, True, CLOSED, 300),
        (FAILURE, False, CLOSED, 300),
    ],
)
def test_the_worse_it_is_the_sooner_it_reports(
    outcome: CallOutcome, slow: bool, verdict: Verdict, after_ms: int
) -> None:
    assert settled(outcome, verdict=verdict, slow=slow).due_ms == NOW_MS + after_ms


def test_a_success_after_failures_that_were_told_is_told_soon() -> None:
    watch = Watch()
    bucket = OutcomeBucket(at_ms=NOW_MS, epoch=7, failures=1, trailing_failures=1)
    watch.report([bucket], NOW_MS)
    assert watch.due_ms is None
    watch.settle(SUCCESS, 7, CLOSED, NOW_MS, slow=False)
    assert watch.due_ms == NOW_MS + 1_000


def test_a_report_is_not_put_off() -> None:
    watch = settled(FAILURE, SUCCESS)
    assert watch.due_ms == NOW_MS + 300
    watch.settle_probe(NOW_MS)
    assert watch.due_ms == NOW_MS


def test_it_holds_back_at_the_limit_twice_as_long_each_time_until_a_call_succeeds() -> None:
    watch = settled(FAILURE, FAILURE)
    assert not watch.holds_back(CLOSED, NOW_MS)
    now_ms, pauses = NOW_MS, []
    for _ in range(4):
        watch.settle(FAILURE, 7, CLOSED, now_ms, slow=False)
        assert watch.due_ms is not None and watch.due_ms <= now_ms
        pauses.append(watch.own_trip_until_ms - now_ms)
        assert watch.holds_back(CLOSED, watch.own_trip_until_ms - 1)
        assert not watch.holds_back(OPEN, now_ms)
        now_ms = watch.own_trip_until_ms
        assert not watch.holds_back(CLOSED, now_ms)
    assert pauses == [5_000, 10_000, 20_000, 20_000]
    watch.settle(SUCCESS, 7, CLOSED, now_ms, slow=False)
    for _ in range(3):
        watch.settle(FAILURE, 7, CLOSED, now_ms, slow=False)
    assert watch.own_trip_until_ms == now_ms + 5_000
    watch.begin_anew()
    assert not watch.holds_back(CLOSED, now_ms)


def test_failures_of_an_earlier_verdict_are_not_in_the_row() -> None:
    assert settled(FAILURE, FAILURE, FAILURE, epoch=6).in_a_row == 0
    assert settled(FAILURE, epoch=-1).in_a_row == 1


def test_it_is_careful_before_the_first_outcome_and_after_failures() -> None:
    fresh = [NOW_MS] * 3
    assert Watch().is_cautious(CLOSED, fresh, NOW_MS)
    assert not Watch().is_cautious(CLOSED, fresh[1:], NOW_MS)
    assert not Watch().is_cautious(CLOSED, [NOW_MS - 10_001] * 3, NOW_MS)
    assert not settled(SUCCESS).is_cautious(CLOSED, fresh, NOW_MS)
    failing = settled(FAILURE, FAILURE)
    assert failing.is_cautious(CLOSED, [NOW_MS], NOW_MS)
    assert not failing.is_cautious(CLOSED, [], NOW_MS)
    unlimited = CLOSED.model_copy(update={"consecutive_failures": None})
    assert not failing.is_cautious(unlimited, fresh, NOW_MS)
