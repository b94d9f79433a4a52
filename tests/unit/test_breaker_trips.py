"""CLOSED to OPEN: by slow calls, in a window of calls, and only with a quorum of gates."""

import pytest

from headgate.breaker.rules import witnesses
from headgate.model.breaker import BreakerState, OutcomeBucket, Report
from headgate.model.policy import BreakerPolicy, CountWindow, TimeWindow
from headgate.model.settings import BreakerSettings
from tests.unit.test_breaker import CLOSED, NOW_MS, OPEN, Gate, make

COUNT_10 = CountWindow(kind="count", size=10)


# Slow calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "state"), [("s" * 4 + "." * 6, CLOSED), ("s" * 5 + "." * 5, OPEN), ("S" * 5, CLOSED)]
)
def test_it_opens_at_exactly_the_slow_call_rate(calls: str, state: BreakerState) -> None:
    breaker = make(failure_rate=None, slow_call_ms=500, slow_call_rate=0.5, min_calls=10)
    Gate(breaker).report(calls)
    assert breaker.record.state is state


def test_an_opening_by_slow_calls_says_so() -> None:
    breaker = make(slow_call_ms=500, min_calls=4)
    Gate(breaker).report("ssss")
    [step] = breaker.record.transitions
    assert step.rule == "slow_call_rate"
    assert step.numbers == {"value": 1.0, "threshold": 1.0, "count": 4, "calls": 4}
    assert "4 of 4 calls were slow within 60 s (100%, limit 100%)" in step.reason


def test_a_slow_failure_counts_for_both_rates() -> None:
    breaker = make(slow_call_ms=500, min_calls=50)
    Gate(breaker).report("SxS.s")
    view = breaker.view(NOW_MS)
    assert (view.calls_in_window, view.failures_in_window, view.slow_in_window) == (5, 3, 3)
    assert (view.slow, view.failures, view.successes) == (3, 3, 2)


# A window of calls -------------------------------------------------------------------------------


def test_the_last_calls_are_judged_however_old() -> None:
    breaker = make(window=COUNT_10, failure_rate=0.5, min_calls=10)
    gate = Gate(breaker)
    gate.report("xxxxx")
    gate.report("....", now_ms=NOW_MS + 100_000_000)
    assert breaker.record.state is CLOSED
    gate.report(".", now_ms=NOW_MS + 200_000_000)
    assert breaker.record.state is OPEN
    assert "within 10 calls" in breaker.record.reason


def test_failures_that_newer_calls_have_pushed_out_do_not_count() -> None:
    breaker = make(window=COUNT_10, failure_rate=0.5, min_calls=10)
    gate = Gate(breaker)
    gate.report("....")
    gate.report("xxxx")
    gate.report("........")
    gate.report("xxx")
    view = breaker.view(NOW_MS)
    assert (view.state, view.calls_in_window, view.failures_in_window) == (CLOSED, 10, 3)


def test_a_window_smaller_than_min_calls_is_judged_when_full() -> None:
    breaker = make(window=COUNT_10, failure_rate=0.5, min_calls=20)
    gate = Gate(breaker)
    gate.report("xxxxxxxxx")
    assert breaker.record.state is CLOSED
    gate.report(".")
    assert breaker.record.state is OPEN


# Quorum ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [TimeWindow(), CountWindow(kind="count", size=100)])
def test_one_bad_node_of_ten_does_not_open_it_for_all(window: TimeWindow | CountWindow) -> None:
    breaker = make(window=window, min_calls=5, failure_rate=0.1, consecutive_failures=3, quorum=2)
    bad = Gate(breaker, "bad")
    for second in range(30):
        now_ms = NOW_MS + second * 1_000
        bad.report("xxxx", now_ms=now_ms)
        for nth in range(9):
            Gate(breaker, f"good-{second}-{nth}").report("....", now_ms=now_ms)
    assert breaker.record.state is CLOSED
    assert breaker.view(NOW_MS + 30_000).witnesses == 1


@pytest.mark.parametrize("window", [TimeWindow(), CountWindow(kind="count", size=100)])
@pytest.mark.parametrize(
    ("policy", "calls"),
    [
        ({"failure_rate": 0.5, "min_calls": 4}, "xx"),
        ({"failure_rate": None, "consecutive_failures": 6}, "xx"),
        ({"failure_rate": None, "slow_call_ms": 1, "min_calls": 4}, "ss"),
    ],
)
def test_it_opens_as_soon_as_the_quorum_is_there(
    window: TimeWindow | CountWindow, policy: dict[str, float], calls: str
) -> None:
    breaker = make(window=window, quorum=3, **policy)
    one, two, three = (Gate(breaker, id) for id in ("one", "two", "three"))
    one.report(calls * 5)
    two.report(calls)
    two.report(calls)
    assert breaker.record.state is CLOSED
    three.report(calls)
    assert breaker.record.state is OPEN


def test_a_witness_whose_failure_has_left_the_window_is_none() -> None:
    breaker = make(quorum=2, min_calls=4)
    Gate(breaker, "one").report("x")
    Gate(breaker, "two").report("xxxx", now_ms=NOW_MS + 60_000)
    assert breaker.record.state is CLOSED
    assert witnesses(breaker.record, NOW_MS + 60_000) == 1


def test_a_witness_whose_failure_newer_calls_have_pushed_out_is_none() -> None:
    breaker = make(quorum=2, window=COUNT_10, failure_rate=0.9)
    Gate(breaker, "one").report("x")
    Gate(breaker, "two").report("x" * 10)
    assert breaker.record.state is CLOSED
    assert witnesses(breaker.record, NOW_MS) == 1


def test_a_silent_gate_remains_a_witness_while_its_calls_are_in_the_window() -> None:
    hour_ms = 3_600_000
    for between, state in (("", OPEN), ("." * 9, CLOSED)):
        breaker = make(quorum=2, window=COUNT_10, failure_rate=0.4, min_calls=4)
        Gate(breaker, "gone").report("xx")
        two = Gate(breaker, "two")
        two.report(between, now_ms=NOW_MS + hour_ms)
        assert "gone" not in breaker.record.reporters
        two.report("xxxx", now_ms=NOW_MS + hour_ms)
        assert breaker.record.state is state


def test_a_late_report_does_not_make_a_witness_older() -> None:
    breaker = make(quorum=2, min_calls=4)
    one = Gate(breaker, "one")
    one.report("x", now_ms=NOW_MS + 50_000)
    one.report("x", at_ms=NOW_MS, now_ms=NOW_MS + 51_000)
    Gate(breaker, "two").report("xxx", now_ms=NOW_MS + 70_000)
    assert breaker.record.state is OPEN


def test_outcomes_that_are_not_judged_do_not_push_a_witness_out() -> None:
    breaker = make(quorum=2, window=COUNT_10, failure_rate=0.5, min_calls=4)
    one = Gate(breaker, "one")
    one.report("xx")
    one.report("." * 1_000, epoch=breaker.record.epoch - 1)
    Gate(breaker, "two").report("xx")
    assert breaker.record.state is OPEN


@pytest.mark.parametrize("quorum", [1, 2])
def test_a_gate_may_always_hold_back_its_own_calls(quorum: int) -> None:
    assert make(consecutive_failures=5, quorum=quorum).verdict().consecutive_failures == 5


# Failures in a row, over several gates -----------------------------------------------------------


def test_a_success_that_ended_before_a_row_began_does_not_break_it() -> None:
    breaker = make(failure_rate=None, consecutive_failures=4)
    one, two = Gate(breaker, "one"), Gate(breaker, "two")
    one.report("xx", now_ms=NOW_MS + 1_000)
    two.report("....", at_ms=NOW_MS, now_ms=NOW_MS + 1_500)
    one.report("xx", now_ms=NOW_MS + 2_000)
    # The other gate makes calls too, and has not been seen to fail: it may have more to tell.
    assert breaker.record.consecutive == 4
    assert breaker.record.state is CLOSED
    two.report("x", now_ms=NOW_MS + 2_500)
    assert breaker.record.state is OPEN


def test_a_gate_that_makes_no_calls_does_not_hold_up_a_row() -> None:
    breaker = make(failure_rate=None, consecutive_failures=4)
    Gate(breaker, "silent").report("....")
    one = Gate(breaker, "one")
    one.report("xxxx", now_ms=NOW_MS + 29_000)
    assert breaker.record.state is CLOSED
    one.report("x", now_ms=NOW_MS + 31_000)
    assert breaker.record.state is OPEN


def test_single_failures_all_over_a_large_fleet_are_no_row() -> None:
    breaker = make(failure_rate=None, consecutive_failures=5)
    gates = [Gate(breaker, f"g{nth}") for nth in range(100)]
    for gate in gates:
        gate.report("....")
    for gate in gates[:20]:
        gate.report("x", now_ms=NOW_MS + 1_000)
    assert breaker.record.consecutive == 20
    assert breaker.record.state is CLOSED


def test_failures_of_gates_that_are_gone_still_count_until_a_call_succeeds() -> None:
    breaker = make(failure_rate=None, consecutive_failures=3)
    for nth in range(2):
        Gate(breaker, f"g{nth}").report("x", now_ms=NOW_MS + nth * 1_000_000)
    assert breaker.record.consecutive == 2
    last = Gate(breaker, "last")
    last.report("x", now_ms=NOW_MS + 3_000_000)
    assert breaker.record.state is OPEN

    breaker = make(failure_rate=None, consecutive_failures=3)
    Gate(breaker, "gone").report("xx")
    last = Gate(breaker, "last")
    last.report(".", now_ms=NOW_MS + 1_000_000)
    assert breaker.record.consecutive == 0
    last.report("xx", now_ms=NOW_MS + 1_000_000)
    assert breaker.record.state is CLOSED


# A new policy ------------------------------------------------------------------------------------


def test_from_time_to_count_and_back_the_window_is_kept() -> None:
    breaker = make(min_calls=50, slow_call_ms=1)
    Gate(breaker).report("xx.sS")
    for window in (COUNT_10, TimeWindow(seconds=600), CountWindow(kind="count"), TimeWindow()):
        policy = BreakerPolicy(window=window, min_calls=50)
        breaker.configure(BreakerSettings(policy=policy), NOW_MS)
        view = breaker.view(NOW_MS)
        assert (view.calls_in_window, view.failures_in_window, view.slow_in_window) == (5, 3, 2)
        assert view.consecutive_failures == 1
        assert view.state is CLOSED


def test_a_smaller_quorum_judges_what_there_is_at_once() -> None:
    breaker = make(quorum=2, min_calls=4)
    Gate(breaker).report("xxxx")
    assert breaker.record.state is CLOSED
    breaker.configure(BreakerSettings(policy=BreakerPolicy(min_calls=4)), NOW_MS)
    assert breaker.record.state is OPEN


# Order of calls, not of reports ------------------------------------------------------------------


def test_a_gate_that_alone_sees_failures_while_others_succeed_is_a_bad_node() -> None:
    breaker = make(failure_rate=None, consecutive_failures=5)
    bad, good = Gate(breaker, "bad"), Gate(breaker, "good")
    for nth in range(10):
        bad.report("xx", now_ms=NOW_MS + nth * 1_000)
        good.report(".", now_ms=NOW_MS + nth * 1_000 + 500)
    assert breaker.record.state is CLOSED


def test_successes_from_before_an_outage_that_are_told_late_do_not_hide_it() -> None:
    breaker = make(failure_rate=None, consecutive_failures=5)
    Gate(breaker, "first").report("xxx", now_ms=NOW_MS + 1_000)
    late = OutcomeBucket(
        at_ms=NOW_MS + 1_500,
        epoch=breaker.record.epoch,
        successes=50,
        failures=2,
        trailing_failures=2,
        succeeded_at_ms=NOW_MS + 900,
        failing_since_ms=NOW_MS + 1_100,
    )
    report = Report(gate="second", seq=1, task_queue="q", buckets=[late])
    breaker.report(report, NOW_MS + 1_600)
    assert breaker.record.state is OPEN
