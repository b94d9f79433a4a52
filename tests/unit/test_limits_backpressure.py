"""The level of pressure: up at once, down after a time of calm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headgate.limits import Load, Pressure, assess, next_fall
from headgate.model.limits import BackpressurePolicy, PressureLevel, Steps

STATE = TypeAdapter(Pressure)
POLICY = BackpressurePolicy(hold_ms=10_000)
NORMAL, ELEVATED, SATURATED, EMERGENCY = PressureLevel


@pytest.mark.parametrize(
    ("load", "level", "cause"),
    [
        (Load(), NORMAL, ""),
        (Load(waiting=199), NORMAL, ""),
        (Load(waiting=200), ELEVATED, "200 jobs wait"),
        (Load(queue_age_ms=600_000), EMERGENCY, "the oldest job has waited 600.0 s"),
        (Load(in_flight=10, limit=10), NORMAL, ""),
        (Load(in_flight=13, limit=10), ELEVATED, "13 units are held, 10 may be"),
        (Load(in_flight=16, limit=10), SATURATED, "16 units are held, 10 may be"),
        (Load(in_flight=1, limit=0), EMERGENCY, "1 unit is held, 0 may be"),
        (Load(in_flight=0, limit=0), NORMAL, ""),
        (Load(slots_used=20, slots=20), SATURATED, "20 of 20 worker slots are in use"),
        (
            Load(waiting=1_000, queue_age_ms=130_000, slots_used=10, slots=20),
            SATURATED,
            "the oldest job has waited 130.0 s; 1000 jobs wait",
        ),
    ],
)
def test_each_measure_raises_the_level_at_once(
    load: Load, level: PressureLevel, cause: str
) -> None:
    state = Pressure()
    assert assess(state, POLICY, load, 5_000) is (level is not NORMAL)
    assert (state.level, state.cause) == (level, cause)
    assert state.retry_after_ms == [0, 5_000, 10_000, 20_000][level.rank]


def test_it_falls_only_after_the_hold_time_below_the_lower_threshold() -> None:
    state = Pressure()
    assess(state, POLICY, Load(waiting=1_000), 0)
    assert next_fall(state, POLICY) is None
    assess(state, POLICY, Load(waiting=801), 20_000)  # below 1000, not below 800
    assess(state, POLICY, Load(waiting=801), 60_000)
    assert state.level is SATURATED
    assert state.cause == "801 jobs wait"
    assess(state, POLICY, Load(waiting=0), 61_000)
    assert next_fall(state, POLICY) == 71_000
    assert not assess(state, POLICY, Load(waiting=0), 70_999)
    assert state.cause == (
        "the oldest job has waited 0.0 s; 0 jobs wait: calmer for 10.0 s, and the level falls "
        "after 10.0 s"
    )
    assert assess(state, POLICY, Load(waiting=0), 71_000)
    assert (state.level, state.since_ms, state.retry_after_ms) == (NORMAL, 71_000, 0)


def test_a_moment_of_pressure_begins_the_hold_time_anew() -> None:
    state = Pressure()
    assess(state, POLICY, Load(waiting=200), 0)
    assess(state, POLICY, Load(waiting=10), 1_000)
    assess(state, POLICY, Load(waiting=170), 10_000)
    assess(state, POLICY, Load(waiting=10), 11_000)
    assert not assess(state, POLICY, Load(waiting=10), 20_999)
    assert assess(state, POLICY, Load(waiting=10), 21_000)


LOADS = st.builds(
    Load,
    queue_age_ms=st.integers(0, 700_000),
    waiting=st.integers(0, 6_000),
    in_flight=st.integers(0, 40),
    limit=st.one_of(st.none(), st.integers(0, 20)),
    slots_used=st.integers(0, 10),
    slots=st.sampled_from([0, 10]),
)


@given(
    steps=st.lists(st.tuples(st.integers(0, 4_000), LOADS), max_size=80),
    hold_ms=st.integers(0, 15_000),
)
def test_it_never_flaps(steps: list[tuple[int, Load]], hold_ms: int) -> None:
    policy = BackpressurePolicy(hold_ms=hold_ms)
    state, now_ms, at_least_ms = Pressure(), 0, dict.fromkeys(PressureLevel, -1)
    for passed_ms, load in steps:
        now_ms += passed_ms
        alone = Pressure()
        assess(alone, policy, load, now_ms)
        before = state.level
        changed = assess(state, policy, load, now_ms)
        assert changed == (state.level is not before)
        assert state.level.rank >= alone.level.rank  # rises at once
        if changed:
            assert state.since_ms == now_ms
        if state.level.rank < before.rank:
            # No level that ended has begun, or stood on a measure, within the hold time.
            for level in PressureLevel:
                if state.level.rank < level.rank <= before.rank and at_least_ms[level] >= 0:
                    assert now_ms - at_least_ms[level] >= hold_ms
        for level in PressureLevel:
            if alone.level.rank >= level.rank:
                at_least_ms[level] = now_ms
        assert (state.level is NORMAL) == (state.retry_after_ms == 0) == (not state.cause)
        state = STATE.validate_json(STATE.dump_json(state))


def test_a_measure_without_thresholds_says_nothing() -> None:
    state = Pressure()
    policy = BackpressurePolicy(waiting=Steps(), in_flight=Steps(emergency=1.0))
    assess(state, policy, Load(waiting=10**6), 0)
    assert state.level is NORMAL
    assess(state, policy, Load(in_flight=2, limit=2), 0)
    assert state.level is EMERGENCY
