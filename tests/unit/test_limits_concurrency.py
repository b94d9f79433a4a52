"""Adaptive limits of calls in flight: by one gate and for a fleet."""

import json
from collections.abc import Iterator
from itertools import count, cycle, pairwise, repeat
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headgate.limits import (
    Concurrency,
    FleetConcurrency,
    Tally,
    began,
    begin,
    begin_fleet,
    ended,
    in_flight_limit,
    observe,
    share_of,
    step,
)
from headgate.limits.fleet import SILENT_MS
from headgate.model.limits import CallSummary, ConcurrencyPolicy, LimitPolicy
from headgate.model.reason import ReasonCode

STATE = TypeAdapter(Concurrency)
FLEET = TypeAdapter(FleetConcurrency)
EVERY_MS = 1_000
ALGORITHMS: tuple[Literal["arc", "aimd"], ...] = ("arc", "aimd")


def policy(**changes: object) -> ConcurrencyPolicy:
    return ConcurrencyPolicy.model_validate({"min": 1, "max": 100, "initial": 10} | changes)


def rounds(
    state: Concurrency, by: ConcurrencyPolicy, durations_ms: Iterator[int], number: int
) -> int:
    """Let ``number`` rounds of as many calls as may be begin and end together; return the time."""
    now_ms = state.ends_at_ms
    for _ in range(number):
        calls = [began(state, n + 1) for n in range(state.limit)]
        longest_ms = next(durations_ms)
        now_ms += longest_ms
        for left, epoch in enumerate(reversed(calls)):
            ended(state, by, epoch, longest_ms, now_ms, in_flight=len(calls) - left)
    return now_ms


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("duration_ms", [20, 600_000])
def test_it_rises_as_fast_in_call_lengths_whatever_calls_take(
    algorithm: str, duration_ms: int
) -> None:
    state = begin(by := policy(algorithm=algorithm))
    rounds(state, by, repeat(duration_ms), 20)
    assert 30 <= state.limit <= 100
    assert state.last is not None
    assert state.last.rule == "room"
    assert f"all {state.last.before} were in use" in state.last.message


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_does_not_rise_when_the_limit_was_not_reached(algorithm: str) -> None:
    state = begin(by := policy(algorithm=algorithm))
    for now_ms in range(50, 50_000, 50):
        epoch = began(state, 9)
        ended(state, by, epoch, 50, now_ms, in_flight=9)
    assert (state.limit, state.last) == (10, None)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_overload_lowers_it_once_for_all_calls_that_were_under_way(algorithm: str) -> None:
    state = begin(by := policy(algorithm=algorithm))
    epochs = [began(state, n + 1) for n in range(10)]
    changes = [
        ended(state, by, epoch, 5, 100 + n, in_flight=10 - n, overload=True)
        for n, epoch in enumerate(epochs)
    ]
    assert changes[0] is not None
    assert (changes[0].rule, changes[0].before, changes[0].after) == ("overload", 10, 9)
    assert changes[1:] == [None] * 9
    assert changes[0].message == "10 to 9: 1 of 1 calls failed by overload"
    later = ended(state, by, began(state, 1), 5, 110, in_flight=1, overload=True)
    assert later is not None
    assert later.after == 8


def test_some_overload_is_tolerated() -> None:
    state = begin(by := policy(tolerate=0.2))
    epochs = [began(state, n + 1) for n in range(10)]
    for epoch in epochs[:2]:
        assert ended(state, by, epoch, 5, 100, in_flight=10, overload=True) is None
    assert ended(state, by, epochs[2], 5, 100, in_flight=10, overload=True) is not None


def test_a_call_that_takes_too_long_counts_as_overload() -> None:
    state = begin(by := policy(timeout_ms=1_000))
    assert ended(state, by, began(state, 1), 999, 1_000, in_flight=1) is None
    change = ended(state, by, began(state, 1), 1_000, 2_000, in_flight=1)
    assert change is not None
    assert change.rule == "overload"


def queue_of(slots: int, work_ms: int, state: Concurrency) -> Iterator[int]:
    """Yield how long calls take of which ``slots`` are worked on at a time and the rest wait."""
    for percent in cycle((90, 100, 110)):
        yield max(work_ms, work_ms * state.limit // slots) * percent // 100


def test_a_queue_that_builds_up_slowly_is_found_and_drained() -> None:
    state = begin(by := policy())
    durations_ms = queue_of(20, 100, state)
    rounds(state, by, durations_ms, 300)
    highest, rules = 0, set()
    for _ in range(100):
        rounds(state, by, durations_ms, 1)
        highest = max(highest, state.limit)
        assert state.last is not None
        rules.add(state.last.rule)
    assert highest <= 36
    assert state.limit >= 16
    assert "queueing" in rules


def test_without_that_the_queue_grows() -> None:
    state = begin(by := policy(slowdown=None))
    rounds(state, by, queue_of(20, 100, state), 400)
    assert state.limit > 50


def test_work_that_takes_longer_by_itself_does_not_lower_it_for_long() -> None:
    state = begin(by := policy(initial=50))
    rounds(state, by, repeat(100), 10)
    before = state.limit
    assert before > 50
    rules = []
    for _ in range(40):
        rounds(state, by, repeat(300), 1)
        assert state.last is not None
        rules.append((state.last.rule, state.last.message))
    assert "restored" in [rule for rule, _ in rules]
    assert any("the work itself takes longer now" in message for _, message in rules)
    assert state.limit >= 0.7 * before


def test_a_sudden_slowdown_is_answered() -> None:
    state = begin(by := policy(initial=50, slowdown=None))
    rounds(state, by, (100 + n % 3 for n in count()), 10)
    before = state.limit
    rounds(state, by, repeat(200), 2)
    assert state.last is not None
    assert state.last.rule == "slower"
    assert state.limit < before


def test_a_new_policy_holds_at_once_and_says_so() -> None:
    state = begin(policy())
    change = step(state, policy(max=4, initial=4), 1_000)
    assert change is not None
    assert (change.rule, change.after, state.epoch) == ("policy", 4, 1)
    assert step(state, policy(max=4, initial=4), 1_001) is None


CALL = st.tuples(
    st.integers(0, 100_000),  # how long
    st.booleans(),  # overload
    st.integers(0, 120),  # in flight
    st.integers(0, 5_000),  # since the last
    st.integers(0, 2),  # how many epochs ago it was let pass
)


@given(
    calls=st.lists(CALL, max_size=200),
    algorithm=st.sampled_from(ALGORITHMS),
    least=st.integers(1, 20),
    more=st.integers(0, 80),
    slowdown=st.sampled_from([None, 1.05, 1.5]),
)
def test_it_stays_within_its_bounds_and_its_state_survives_json(
    calls: list[tuple[int, bool, int, int, int]],
    algorithm: str,
    least: int,
    more: int,
    slowdown: float | None,
) -> None:
    by = policy(min=least, max=least + more, initial=least, algorithm=algorithm, slowdown=slowdown)
    state, now_ms = begin(by), 0
    for duration_ms, overload, in_flight, passed_ms, ago in calls:
        now_ms += passed_ms
        before, epoch = state.limit, state.epoch
        change = ended(
            state,
            by,
            state.epoch - ago,
            duration_ms,
            now_ms,
            in_flight=in_flight,
            overload=overload,
        )
        assert by.min <= state.limit <= by.max
        if ago:
            assert change is None
        assert (change is None) == (state.limit == before)
        if change is not None:
            assert (change.before, change.after, change.at_ms) == (before, state.limit, now_ms)
            assert change.message
        assert state.epoch == epoch + (state.limit < before)
        assert (
            state.limit <= before + max(1, before // 4)
            or change is None
            or (change.rule == "restored")
        )
        state = STATE.validate_json(STATE.dump_json(state))


@given(times=st.lists(st.integers(0, 10**9), max_size=20), algorithm=st.sampled_from(ALGORITHMS))
def test_time_alone_changes_nothing(times: list[int], algorithm: str) -> None:
    state = begin(by := policy(algorithm=algorithm))
    rounds(state, by, repeat(50), 5)
    state.tally = Tally(most_in_flight=100)
    before = STATE.dump_json(state)
    for now_ms in times:
        assert step(state, by, now_ms) is None
    assert STATE.dump_json(state) == before


@given(
    durations=st.lists(st.integers(0, 600_000), min_size=2, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_summaries_add_up_to_what_one_gate_would_have_counted(
    durations: list[int], cuts: list[int]
) -> None:
    whole = Tally()
    for each in durations:
        whole.ended(each)
    merged, edges = Tally(), sorted({0, len(durations), *(c % len(durations) for c in cuts)})
    for low, high in pairwise(edges):
        part = Tally()
        for each in durations[low:high]:
            part.ended(each)
        merged.add(part.summary("g", 1, 0))
    assert merged == whole
    mean = sum(durations) / len(durations)
    squared = sum((each - mean) ** 2 for each in durations) / (len(durations) - 1) / len(durations)
    assert whole.mean_us == pytest.approx(mean * 1_000, abs=1)
    assert whole.error_squared_us == pytest.approx(squared * 1e6, rel=1e-9, abs=1)


SUMMARY = st.builds(
    CallSummary,
    gate=st.sampled_from(["a", "b", "c"]),
    seq=st.just(1),
    epoch=st.integers(0, 3),
    calls=st.integers(0, 50),
    duration_ms=st.integers(0, 50_000),
    squares=st.integers(0, 10**9),
    overloads=st.integers(0, 3),
    most_in_flight=st.integers(0, 60),
)


@given(
    summaries=st.lists(
        st.tuples(SUMMARY, st.integers(0, 3_000), st.lists(st.integers(0, 400), max_size=3)),
        max_size=80,
    ),
    algorithm=st.sampled_from(ALGORITHMS),
)
def test_repeated_and_late_summaries_are_harmless(
    summaries: list[tuple[CallSummary, int, list[int]]], algorithm: str
) -> None:
    by = policy(algorithm=algorithm)
    once, again = begin_fleet(by), begin_fleet(by)
    sent: list[CallSummary] = []
    now_ms, numbers = 0, dict.fromkeys("abc", 0)
    for summary, passed_ms, repeated in summaries:
        now_ms += passed_ms
        numbers[summary.gate] += 1
        numbered = summary.model_copy(update={"seq": numbers[summary.gate]})
        observe(once, by, numbered, now_ms, EVERY_MS)
        assert by.min <= once.of.limit <= by.max
        observe(again, by, numbered, now_ms, EVERY_MS)
        sent.append(numbered)
        for which in repeated:
            change = observe(again, by, sent[which % len(sent)], now_ms, EVERY_MS)
            assert change is None
        again = FLEET.validate_json(FLEET.dump_json(again))
        assert again == once


def summary_of(gate: str, seq: int, epoch: int, **fields: int) -> CallSummary:
    return CallSummary(gate=gate, seq=seq, epoch=epoch, **fields)


def test_what_was_let_pass_under_an_older_limit_does_not_lower_it_again() -> None:
    fleet = begin_fleet(by := policy())
    assert observe(fleet, by, summary_of("a", 1, 0, overloads=3), 1_000, EVERY_MS) is not None
    for gate in ("b", "c", "d"):
        late = summary_of(gate, 1, 0, overloads=5, most_in_flight=4)
        assert observe(fleet, by, late, 1_100, EVERY_MS) is None
    assert fleet.of.limit == 9
    assert observe(fleet, by, summary_of("b", 2, 1, overloads=1), 2_000, EVERY_MS) is not None
    assert fleet.of.limit == 8


def test_the_fleet_reaches_its_limit_together() -> None:
    fleet = begin_fleet(by := policy())
    now_ms = 0
    for seq in range(1, 30):
        for gate, most in (("a", 4), ("b", 3), ("c", 2)):  # 9 of 10
            now_ms += 400
            calls = summary_of(
                gate, seq, 0, calls=9, duration_ms=900, squares=90_000, most_in_flight=most
            )
            observe(fleet, by, calls, now_ms, EVERY_MS)
    assert fleet.of.limit == 10
    for seq in range(30, 60):
        for gate, most in (("a", 4), ("b", 3), ("c", 3)):
            now_ms += 400
            calls = summary_of(
                gate, seq, 0, calls=9, duration_ms=900, squares=90_000, most_in_flight=most
            )
            observe(fleet, by, calls, now_ms, EVERY_MS)
    assert fleet.of.limit == 11  # and no further: 11 are not in use
    assert sorted(fleet.gates) == ["a", "b", "c"]
    observe(fleet, by, summary_of("d", 1, 0), now_ms + SILENT_MS + 1, EVERY_MS)
    assert sorted(fleet.gates) == ["d"]


@given(limit=st.integers(0, 500), gates=st.integers(1, 50))
def test_shares_add_up_to_the_limit(limit: int, gates: int) -> None:
    shares = [share_of(limit, gates, number) for number in range(gates)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


def test_the_lower_of_the_fixed_and_the_adaptive_limit_holds() -> None:
    adaptive = begin(policy())
    both = LimitPolicy(max_in_flight=8, concurrency=policy())
    assert in_flight_limit(both, adaptive).calls == 8
    ended(adaptive, policy(), began(adaptive, 1), 5, 100, in_flight=1, overload=True)
    ended(adaptive, policy(), began(adaptive, 1), 5, 200, in_flight=1, overload=True)
    ended(adaptive, policy(), began(adaptive, 1), 5, 300, in_flight=1, overload=True)
    lower = in_flight_limit(both, adaptive)
    assert lower.calls == adaptive.limit == 7
    assert lower.refusal("scanner", 6) is None
    reason = lower.refusal("scanner", 7)
    assert reason is not None
    assert reason.code is ReasonCode.IN_FLIGHT
    assert (reason.limit, reason.used, reason.needed) == (7, 7, 1)
    assert reason.message == (
        "7 calls to scanner are in flight, and 7 may be: last changed from 8 to 7: 1 of 1 calls "
        "failed by overload"
    )
    assert in_flight_limit(LimitPolicy(), None).refusal("scanner", 10**6) is None
    assert in_flight_limit(LimitPolicy(max_in_flight=3), adaptive).calls == 3
    assert json.loads(STATE.dump_json(adaptive))["limit"] == 7
