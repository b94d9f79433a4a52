"""The backtest: small cases computed by hand, properties, and a slow machine that ticks."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker import Breaker
from headgate.breaker.single import Pass, SingleBreaker
from headgate.model.breaker import (
    OUTCOME_SPAN_MS,
    BreakerState,
    CallOutcome,
    OutcomeSpan,
    Transition,
)
from headgate.model.policy import BreakerPolicy, CountWindow, TimeWindow
from headgate.model.settings import BreakerSettings
from headgate.simulate import Backtest, Call, backtest, calls_in_spans, recorded

SUCCESS, FAILURE, IGNORED = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.IGNORED
OUTCOMES = {".": SUCCESS, "x": FAILURE, "i": IGNORED}

NEVER = BreakerPolicy(failure_rate=None, slow_call_ms=None, consecutive_failures=None)
THREE = BreakerPolicy(
    failure_rate=None,
    consecutive_failures=3,
    open_ms=1_000,
    open_jitter=0.0,
    probes=1,
    probe_deadline_ms=400,
    half_open_max_ms=500,
    ramp_ms=0,
)


def row(text: str, every_ms: int = 10, duration_ms: int = 0, at_ms: int = 0) -> list[Call]:
    """A call for each sign of the text: ``.`` success, ``x`` failure, ``i`` ignored, `` `` none."""
    return [
        Call(at_ms + n * every_ms, "d", OUTCOMES[sign], duration_ms)
        for n, sign in enumerate(text)
        if sign != " "
    ]


def steps(result: Backtest, name: str = "d") -> list[tuple[int, str]]:
    return [(step.at_ms, step.target.value) for step in result.downstreams[name].transitions]


# By hand ---------------------------------------------------------------------------------------


def test_a_policy_that_trips_rejects_what_follows() -> None:
    result = backtest(row("xxxx.i"), THREE)
    assert result.as_json() == {
        "downstreams": {
            "d": {
                "calls": 6,
                "admitted": 3,
                "rejected": 3,
                "failures_admitted": 3,
                "failures_avoided": 1,
                "successes_rejected": 1,
                "transitions": [
                    {
                        "at_ms": 20,
                        "from": "CLOSED",
                        "to": "OPEN",
                        "reason": "3 calls in a row failed (limit 3)",
                        "epoch": 1,
                    }
                ],
                "state": "OPEN",
            }
        },
        "totals": {
            "calls": 6,
            "admitted": 3,
            "rejected": 3,
            "failures_admitted": 3,
            "failures_avoided": 1,
            "successes_rejected": 1,
        },
    }


def test_an_outcome_is_known_only_when_the_call_has_ended() -> None:
    # Five begin before the third has ended, at 20 + 25: it is too late for them, not for the sixth.
    result = backtest(row("xxxxxx", duration_ms=25), THREE).downstreams["d"]
    assert (result.admitted, result.rejected) == (5, 1)
    assert result.transitions[0].at_ms == 45


def test_an_outcome_settles_before_a_call_that_begins_in_the_same_millisecond() -> None:
    assert backtest(row("xxxx", duration_ms=10), THREE).downstreams["d"].rejected == 1
    assert backtest(row("xxxx", duration_ms=11), THREE).downstreams["d"].rejected == 0
    at_once = [Call(5, "d", FAILURE, 0) for _ in range(5)]
    assert backtest(at_once, THREE).downstreams["d"].rejected == 2


def test_states_end_in_their_time_and_not_with_the_next_call() -> None:
    calls = [*row("xxx"), *row("..", at_ms=5_000)]
    result = backtest(calls, THREE)
    # open at 20 for 1,000; half-open for 500 without a call: there is no ground to stay away
    assert steps(result) == [(20, "OPEN"), (1_020, "HALF_OPEN"), (1_520, "CLOSED")]
    assert result.downstreams["d"].admitted == 5


def test_a_probe_decides_and_others_wait_for_it() -> None:
    # 1,100 is the probe and ends at 1,300; 1,150 is rejected; 1,300 finds it closed.
    probe = [Call(at_ms, "d", SUCCESS, 200) for at_ms in (1_100, 1_150, 1_300)]
    result = backtest([*row("xxx"), *probe], THREE)
    assert steps(result) == [(20, "OPEN"), (1_020, "HALF_OPEN"), (1_300, "CLOSED")]
    assert result.downstreams["d"].successes_rejected == 1


def test_a_probe_that_is_overdue_has_failed_and_its_outcome_comes_too_late() -> None:
    slow = Call(1_100, "d", SUCCESS, 450)
    result = backtest([*row("xxx"), slow], THREE)
    # The open time has doubled; the last outcome, at 1,550, is the end.
    assert steps(result) == [(20, "OPEN"), (1_020, "HALF_OPEN"), (1_500, "OPEN")]
    assert result.downstreams["d"].state is BreakerState.OPEN
    assert result.downstreams["d"].end_ms == 1_550


def test_time_stops_with_the_last_outcome() -> None:
    assert steps(backtest(row("xxx"), THREE)) == [(20, "OPEN")]
    late = [Call(0, "d", SUCCESS, 1_020), *row("xxx")]
    assert steps(backtest(late, THREE)) == [(20, "OPEN"), (1_020, "HALF_OPEN")]


def test_ignored_outcomes_neither_trip_nor_heal() -> None:
    result = backtest(row("xixixix"), THREE).downstreams["d"]
    assert (result.calls, result.admitted, result.rejected) == (7, 5, 2)
    assert (result.failures_admitted, result.failures_avoided) == (3, 1)
    assert result.successes_rejected == 0


def test_each_downstream_is_judged_by_its_own_calls() -> None:
    other = [Call(at_ms, "other", SUCCESS, 5) for at_ms in range(0, 90_000, 7)]
    mixed = sorted([*row("xxxx"), *other], key=lambda call: call.at_ms)
    alone, both = backtest(row("xxxx"), THREE), backtest(mixed, THREE)
    assert both.downstreams["d"] == alone.downstreams["d"]
    assert list(both.downstreams) == ["d", "other"]
    assert not both.downstreams["other"].transitions


def test_jitter_is_a_stream_for_each_downstream() -> None:
    policy = THREE.model_copy(update={"open_jitter": 0.5})
    calls = sorted(
        [*row("xxx"), *(Call(at, "e", FAILURE, 0) for at in range(3)), *row(".", at_ms=9_000)],
        key=lambda call: call.at_ms,
    )
    result = backtest(calls, policy, lambda name: {"d": lambda: 1.0, "e": lambda: 0.0}[name])
    assert steps(result)[1] == (1_520, "HALF_OPEN")


def test_a_quorum_cannot_be_judged_and_is_taken_as_one() -> None:
    policy = THREE.model_copy(update={"quorum": 3})
    assert backtest(row("xxxx"), policy).as_json() == backtest(row("xxxx"), THREE).as_json()


def test_calls_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="a call at 4 follows one at 5: sort them by at_ms"):
        backtest([Call(5, "d", SUCCESS, 0), Call(4, "d", SUCCESS, 0)], THREE)


def test_no_calls_are_no_downstreams() -> None:
    assert backtest([], THREE).as_json()["downstreams"] == {}
    assert backtest([], THREE).total("calls") == 0


def test_more_transitions_than_a_record_keeps_are_all_told() -> None:
    policy = THREE.model_copy(update={"open_ms": 10, "open_max_ms": 10})
    result = backtest(row("x" * 20_000, every_ms=20), policy).downstreams["d"]
    assert len(result.transitions) > 1_000
    epochs = [step.epoch for step in result.transitions]
    assert epochs == list(range(1, len(epochs) + 1))


# Properties ------------------------------------------------------------------------------------

policies = st.builds(
    BreakerPolicy,
    window=st.sampled_from([TimeWindow(seconds=1), CountWindow(kind="count", size=6)]),
    min_calls=st.integers(1, 8),
    failure_rate=st.sampled_from([None, 0.3, 0.5, 1.0]),
    consecutive_failures=st.sampled_from([None, 1, 2, 4]),
    slow_call_ms=st.sampled_from([None, 60]),
    slow_call_rate=st.sampled_from([0.5, 1.0]),
    open_ms=st.integers(10, 300),
    open_max_ms=st.integers(300, 900),
    open_jitter=st.sampled_from([0.0, 0.3]),
    probes=st.integers(1, 4),
    close_at=st.sampled_from([0.3, 0.5, 1.0]),
    probe_deadline_ms=st.integers(10, 100),
    half_open_max_ms=st.integers(100, 400),
    ramp_ms=st.sampled_from([0, 150]),
    ramp_start=st.sampled_from([0.1, 1.0]),
)
recordings = st.lists(
    st.builds(
        Call,
        at_ms=st.integers(0, 1_500),
        downstream=st.sampled_from(["a", "b"]),
        outcome=st.sampled_from([SUCCESS, FAILURE, FAILURE, IGNORED]),
        duration_ms=st.sampled_from([0, 1, 10, 70, 120]),
    ),
    max_size=80,
).map(lambda calls: sorted(calls, key=lambda call: call.at_ms))


def uneven(name: str) -> Any:
    numbers = iter(range(1_000_000))
    return lambda: (next(numbers) * 37 + len(name)) % 100 / 100


@given(recordings, policies)
def test_the_counts_add_up(calls: list[Call], policy: BreakerPolicy) -> None:
    result = backtest(calls, policy, uneven)
    for name, of in result.downstreams.items():
        own = [call for call in calls if call.downstream == name]
        failures = sum(call.outcome is FAILURE for call in own)
        assert of.calls == len(own) == of.admitted + of.rejected
        assert of.failures == failures == of.failures_admitted + of.failures_avoided
        assert of.successes_rejected <= of.rejected - of.failures_avoided
        assert of.rejected == len(of.rejections)
        times = [step.at_ms for step in of.transitions]
        assert times == sorted(times)
        assert all(of.begin_ms <= at_ms <= of.end_ms for at_ms in times)
        states = [BreakerState.CLOSED, *(step.target for step in of.transitions)]
        assert [step.source for step in of.transitions] == states[:-1]
        assert of.state is states[-1]
    told = result.as_json()
    for count, total in told["totals"].items():
        assert total == sum(of[count] for of in told["downstreams"].values())


@given(recordings, policies)
def test_the_same_calls_give_the_same_result(calls: list[Call], policy: BreakerPolicy) -> None:
    assert backtest(calls, policy, uneven) == backtest(iter(calls), policy, uneven)


@given(recordings)
def test_a_policy_that_never_trips_admits_everything(calls: list[Call]) -> None:
    result = backtest(calls, NEVER)
    assert result.total("admitted") == len(calls)
    assert not any(of.transitions for of in result.downstreams.values())


@settings(max_examples=60)
@given(recordings, policies)
def test_it_is_what_a_breaker_does_that_is_woken_every_millisecond(
    calls: list[Call], policy: BreakerPolicy
) -> None:
    result = backtest(calls, policy, uneven)
    for name, of in result.downstreams.items():
        own = [call for call in calls if call.downstream == name]
        breaker = Breaker.begin(
            name, BreakerSettings(policy=policy), 0, own[0].at_ms, chance=uneven(name)
        )
        single = SingleBreaker(breaker)
        flights: list[tuple[int, int, Pass, Call]] = []
        rejections, n = [], 0

        def settle(until_ms: int, single: SingleBreaker = single, flights: Any = flights) -> None:
            for flight in sorted(flight for flight in flights if flight[0] <= until_ms):
                flights.remove(flight)
                single.settle(flight[2], flight[3].outcome, until_ms, flight[3].duration_ms)

        for now_ms in range(of.begin_ms, of.end_ms + 1):
            breaker.advance(now_ms)
            settle(now_ms)
            while n < len(own) and own[n].at_ms == now_ms:
                given = single.admit(now_ms)
                if given is None:
                    rejections.append(own[n])
                else:
                    flights.append((own[n].end_ms, n, given, own[n]))
                n += 1
                settle(now_ms)
        assert not flights
        assert rejections == of.rejections
        assert breaker.record.unsaved == of.transitions[-500:]


# Spans -----------------------------------------------------------------------------------------


def test_a_span_is_spread_evenly_with_its_failures_among_the_others() -> None:
    span = OutcomeSpan(at_ms=50_000, successes=3, failures=1, ignored=1, duration_ms=800)
    calls = calls_in_spans("d", [span])
    assert sorted(call.end_ms for call in calls) == [50_000, 52_000, 54_000, 56_000, 58_000]
    assert [call.outcome for call in calls].count(FAILURE) == 1
    assert {call.duration_ms for call in calls if call.outcome is not IGNORED} == {200}
    half = calls_in_spans("d", [OutcomeSpan(at_ms=0, successes=3, failures=3, duration_ms=0)])
    assert "".join("x" if call.outcome is FAILURE else "." for call in half) == ".x.x.x"


def _opened(at_ms: int, row: int, rule: str = "consecutive_failures") -> Transition:
    return Transition(
        epoch=1,
        at_ms=at_ms,
        source=BreakerState.CLOSED,
        target=BreakerState.OPEN,
        rule=rule,
        reason="",
        numbers={"value": row},
    )


@pytest.mark.parametrize(
    ("spans", "opened", "expected"),
    [
        # It ends when the breaker opened, and what else failed is spread.
        ([(8, 4)], _opened(5_000, 3), "....xxx....x"),
        ([(8, 4)], _opened(5_000, 3, "failure_rate"), "..x..x..x..x"),
        # A row over two spans, and over one in which nothing succeeded.
        ([(6, 2), (4, 1)], _opened(12_000, 3), "......xx" "x...."),
        ([(6, 3), (0, 1), (4, 1)], _opened(21_000, 4), "......xxx" "x" "x...."),
        # No longer than what has failed, and not beyond a success.
        ([(4, 1), (4, 1)], _opened(12_000, 5), "....x" "x...."),
        ([(3, 2), (1, 1), (4, 1)], _opened(21_000, 5), "..x.x" ".x" "x...."),
        # Of a stretch that is not in the record nothing is known.
        ([(4, 1)], _opened(12_000, 1), "....x"),
    ],
)  # fmt: skip
def test_failures_that_opened_the_breaker_by_their_row_come_in_a_row(
    spans: list[tuple[int, int]], opened: Transition, expected: str
) -> None:
    told = [
        OutcomeSpan(at_ms=n * OUTCOME_SPAN_MS, successes=successes, failures=failures)
        for n, (successes, failures) in enumerate(spans)
    ]
    calls = calls_in_spans("d", told, [opened])
    assert "".join("x" if call.outcome is FAILURE else "." for call in calls) == expected


def test_what_a_breaker_did_by_a_row_of_failures_is_done_again_on_its_record() -> None:
    span = OutcomeSpan(at_ms=0, successes=40, failures=12, rejected=30)
    policy = BreakerPolicy(consecutive_failures=5)
    assert not backtest(calls_in_spans("d", [span]), policy).downstreams["d"].transitions
    again = backtest(calls_in_spans("d", [span], [_opened(7_000, 5)]), policy).downstreams["d"]
    assert [step.rule for step in again.transitions] == ["consecutive_failures"]
    really = recorded([span], [_opened(7_000, 5)])
    assert (really.calls, really.failures, really.rejected, really.opened) == (52, 12, 30, 1)


@given(
    st.lists(
        st.tuples(*[st.integers(0, 9)] * 4, st.integers(0, 100_000)), max_size=6, unique=True
    ).map(
        lambda rows: [
            OutcomeSpan(
                at_ms=n * OUTCOME_SPAN_MS,
                successes=successes,
                failures=failures,
                ignored=ignored,
                rejected=rejected,
                duration_ms=duration_ms,
            )
            for n, (successes, failures, ignored, rejected, duration_ms) in enumerate(rows)
        ]
    ),
    st.lists(st.builds(_opened, st.integers(0, 60_000), st.integers(0, 30)), max_size=4),
)
def test_the_calls_of_spans_are_as_many_as_were_counted(
    spans: list[OutcomeSpan], steps: list[Transition]
) -> None:
    calls = calls_in_spans("d", spans, steps)
    for outcome, count in (
        (SUCCESS, sum(span.successes for span in spans)),
        (FAILURE, sum(span.failures for span in spans)),
        (IGNORED, sum(span.ignored for span in spans)),
    ):
        assert sum(call.outcome is outcome for call in calls) == count
    assert calls == sorted(calls, key=lambda call: call.at_ms)
    assert all(call.at_ms >= 0 and call.duration_ms >= 0 for call in calls)
    backtest(calls, THREE)
