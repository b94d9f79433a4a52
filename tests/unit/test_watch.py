"""When a gate reports, how careful it is, and when it holds back by itself."""

import pytest

from headgate.gate.watch import Watch
from headgate.model.breaker import BreakerState, CallOutcome, OutcomeBucket, Verdict
from headgate.model.policy import CountWindow, Rates, TimeWindow

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
TOLD = OutcomeBucket(at_ms=NOW_MS, epoch=7, successes=1)
HALF_OPEN = CLOSED.model_copy(
    update={"state": BreakerState.HALF_OPEN, "allow": "probes", "epoch": 9}
)
RATES = Rates(window=TimeWindow(seconds=30), min_calls=4, failure_rate=0.5, slow_call_rate=0.75)
BY_RATES = CLOSED.model_copy(update={"consecutive_failures": None, "rates": RATES})
RAMP = CLOSED.model_copy(update={"state": BreakerState.RAMP, "allow": "ramp"})
THROTTLED = CLOSED.model_copy(update={"allow": "ramp", "most": 0.5})
OPEN = CLOSED.model_copy(update={"state": BreakerState.OPEN, "allow": "none"})


def settled(
    *outcomes: CallOutcome, verdict: Verdict = CLOSED, epoch: int = 7, slow: bool = False
) -> Watch:
    watch = Watch()
    watch.report([TOLD], NOW_MS - 200)
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


def test_of_its_first_calls_it_tells_soon_and_again_under_a_new_verdict() -> None:
    watch = Watch()
    watch.settle(SUCCESS, 7, CLOSED, NOW_MS, slow=False)
    assert watch.due_ms == NOW_MS + 1_000
    watch.report([TOLD], NOW_MS)
    watch.settle(SUCCESS, 7, CLOSED, NOW_MS, slow=False)
    assert watch.due_ms == NOW_MS + 2_000
    again = CLOSED.model_copy(update={"epoch": 8})
    watch.hear(again, CLOSED, NOW_MS)
    watch.report([], NOW_MS)
    watch.settle(SUCCESS, 8, again, NOW_MS, slow=False)
    assert watch.due_ms == NOW_MS + 1_000


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
    watch.hear(OPEN.model_copy(update={"epoch": 8}), CLOSED, now_ms)
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


def judging(verdict: Verdict = BY_RATES) -> Watch:
    watch = Watch()
    watch.hear(verdict, Verdict.unknown("scanner"), NOW_MS)
    return watch


@pytest.mark.parametrize(
    "window", [TimeWindow(seconds=30), CountWindow(kind="count", size=10)], ids=["time", "count"]
)
def test_its_own_calls_are_judged_by_the_rates_of_the_policy(
    window: TimeWindow | CountWindow,
) -> None:
    rates = RATES.model_copy(update={"window": window})
    verdict = BY_RATES.model_copy(update={"rates": rates})
    watch = judging(verdict)
    for n, outcome in enumerate([SUCCESS, FAILURE, SUCCESS, SUCCESS, FAILURE]):
        watch.settle(outcome, 7, verdict, NOW_MS + n * 1_000, slow=False)
        assert not watch.holds_back(verdict, NOW_MS + n * 1_000)
    watch.settle(FAILURE, 7, verdict, NOW_MS + 5_000, slow=False)
    assert watch.holds_back(verdict, NOW_MS + 5_000)
    assert watch.cause == "3 of 6 calls failed here"
    assert watch.due_ms is not None and watch.due_ms <= NOW_MS + 5_000
    assert not watch.holds_back(verdict, watch.own_trip_until_ms)
    watch.hear(verdict.model_copy(update={"epoch": 8}), verdict, NOW_MS + 20_000)
    watch.settle(FAILURE, 8, verdict.model_copy(update={"epoch": 8}), NOW_MS + 20_000, slow=False)
    assert not watch.holds_back(verdict, NOW_MS + 20_000)


def test_failures_that_have_left_the_window_do_not_count_against_it() -> None:
    watch = judging()
    for _ in range(3):
        watch.settle(FAILURE, 7, BY_RATES, NOW_MS, slow=False)
    watch.settle(FAILURE, 7, BY_RATES, NOW_MS + 31_000, slow=False)
    assert not watch.holds_back(BY_RATES, NOW_MS + 31_000)


def test_slow_calls_count_against_their_own_rate() -> None:
    watch = judging()
    for slow in (True, False, True, True):
        watch.settle(SUCCESS, 7, BY_RATES, NOW_MS, slow=slow)
    assert watch.holds_back(BY_RATES, NOW_MS)
    assert watch.cause == "3 of 4 calls were slow here"


def test_outcomes_of_an_earlier_verdict_and_what_people_set_are_not_judged() -> None:
    watch = judging()
    for _ in range(6):
        watch.settle(FAILURE, 6, BY_RATES, NOW_MS, slow=False)
    assert not watch.holds_back(BY_RATES, NOW_MS)
    by_people = BY_RATES.model_copy(update={"rates": None, "epoch": 8})
    watch.hear(by_people, BY_RATES, NOW_MS)
    for _ in range(6):
        watch.settle(FAILURE, 8, by_people, NOW_MS, slow=False)
    assert not watch.holds_back(by_people, NOW_MS)


def test_it_is_patient_with_what_may_be_over_in_a_moment() -> None:
    watch = judging()
    soon = OPEN.model_copy(update={"until_ms": NOW_MS + 1_000})
    assert watch.is_patient(soon, NOW_MS)
    assert not watch.is_patient(soon, NOW_MS - 1)
    assert watch.is_patient(soon, NOW_MS + 1_500)  # the news that it is over is under way
    assert not watch.is_patient(soon, NOW_MS + 2_000)
    assert not watch.is_patient(OPEN, NOW_MS)
    forced = soon.model_copy(update={"state": BreakerState.FORCED_OPEN})
    assert not watch.is_patient(forced, NOW_MS)
    watch.hear(HALF_OPEN, soon, NOW_MS)
    assert watch.is_patient(HALF_OPEN, NOW_MS + 999)
    assert not watch.is_patient(HALF_OPEN, NOW_MS + 1_000)


def test_after_probes_the_first_calls_go_ahead_of_the_others() -> None:
    watch = settled(SUCCESS)
    back = CLOSED.model_copy(update={"epoch": 10})
    watch.hear(HALF_OPEN, CLOSED, NOW_MS)
    watch.hear(back, HALF_OPEN, NOW_MS)
    for at_once in range(1, 5):
        assert watch.is_cautious(back, [NOW_MS] * at_once, NOW_MS)
        assert not watch.is_cautious(back, [NOW_MS] * (at_once - 1), NOW_MS)
        watch.settle(SUCCESS, 10, back, NOW_MS, slow=False)
    for _ in range(40):
        watch.settle(SUCCESS, 10, back, NOW_MS, slow=False)
    assert not watch.is_cautious(back, [NOW_MS] * 1_000, NOW_MS)
