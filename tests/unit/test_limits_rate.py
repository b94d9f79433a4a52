"""The adaptive rate: off until the first throttle, then along CUBIC's curve."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headgate.limits import AdaptiveRate, admit, succeeded, throttled
from headgate.limits.rate import MICRO, cube_root
from headgate.model.limits import RatePolicy

STATE = TypeAdapter(AdaptiveRate)
POLICY = RatePolicy()
AT_MS = 1_000_000


def at_rate(per_s: int, seconds: int = 10) -> tuple[AdaptiveRate, int]:
    """Return the state after calls at an even rate, and the time."""
    state, now_ms = AdaptiveRate(), AT_MS
    for n in range(per_s * seconds):
        now_ms = AT_MS + n * 1_000 // per_s
        assert admit(state, POLICY, now_ms) is None
        succeeded(state, POLICY, now_ms)
    return state, now_ms


def test_nothing_is_limited_before_the_first_throttle() -> None:
    state, _ = at_rate(50)
    assert state.rate is None
    assert 49 * MICRO <= state.measured <= 51 * MICRO


def test_a_throttle_cuts_what_was_measured_and_the_curve_leads_back() -> None:
    state, now_ms = at_rate(50)
    assert throttled(state, POLICY, now_ms, now_ms)
    assert state.rate is not None
    assert 34 * MICRO <= state.rate <= 36 * MICRO
    # k = (50 x 0.3 / 0.4) ** (1/3) = 3.35 s: then it is back at 50, flat around it.
    begun_ms, seen = now_ms, {}
    while now_ms < begun_ms + 8_000:
        now_ms = admit(state, POLICY, now_ms) or now_ms
        succeeded(state, POLICY, now_ms)
        seen[(now_ms - begun_ms) // 100] = state.rate
        now_ms += 1
    at_back = seen[34]
    assert 49 * MICRO <= at_back <= 51 * MICRO
    assert seen[2] < seen[10] < at_back < seen[60]


def test_a_throttle_in_the_first_half_second_is_cut_from_what_was_seen_so_far() -> None:
    state = AdaptiveRate()
    for n in range(20):
        succeeded(state, POLICY, AT_MS + n)
    throttled(state, POLICY, AT_MS, AT_MS + 20)
    assert state.rate == int(42 * MICRO * 0.7)


def test_throttles_of_calls_let_pass_before_the_cut_do_not_cut_again() -> None:
    state, now_ms = at_rate(50)
    assert throttled(state, POLICY, now_ms - 100, now_ms)
    rate = state.rate
    assert not any(throttled(state, POLICY, now_ms - n, now_ms + n) for n in range(20))
    assert state.rate == rate
    assert throttled(state, POLICY, now_ms + 500, now_ms + 600)


def test_retry_after_shuts_it() -> None:
    state, now_ms = at_rate(50)
    throttled(state, POLICY, now_ms, now_ms, retry_after_ms=3_000)
    assert admit(state, POLICY, now_ms + 2_999) == now_ms + 3_000
    assert admit(state, POLICY, now_ms + 3_000) is None


def test_whoever_is_denied_passes_at_the_time_that_was_named() -> None:
    state, now_ms = at_rate(50)
    throttled(state, POLICY, now_ms, now_ms)
    waited = 0
    for _ in range(200):
        retry_at_ms = admit(state, POLICY, now_ms)
        if retry_at_ms is not None:
            waited += 1
            assert admit(state, POLICY, retry_at_ms - 1) is not None
            assert admit(state, POLICY, retry_at_ms) is None
            now_ms = retry_at_ms
    assert waited > 100


@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["ask", "good", "throttle"]),
            st.integers(-100, 100_000),
            st.integers(0, 200),
            st.sampled_from([0, 0, 0, 5_000, 10**12]),
        ),
        max_size=120,
    ),
    low=st.floats(0.001, 10),
    more=st.one_of(st.none(), st.floats(0, 1_000)),
)
def test_the_rate_keeps_its_bounds_and_no_more_pass_than_it_says(
    events: list[tuple[str, int, int, int]], low: float, more: float | None
) -> None:
    policy = RatePolicy(min_per_s=low, max_per_s=None if more is None else low + more)
    state, now_ms, latest_ms = AdaptiveRate(), AT_MS, AT_MS
    lowest = max(1, round(low * MICRO))
    highest = 10**6 * MICRO if more is None else max(1, round((low + more) * MICRO))
    for what, passed_ms, ago_ms, retry_after_ms in events:
        now_ms = max(0, now_ms + passed_ms)
        latest_ms = max(latest_ms, now_ms)  # clocks are set back
        if what == "ask":
            tokens = state.tokens
            retry_at_ms = admit(state, policy, now_ms)
            assert retry_at_ms is None or retry_at_ms > now_ms
            assert state.rate is None or retry_at_ms is not None or state.tokens >= 0
            assert tokens >= 0
        elif what == "good":
            succeeded(state, policy, now_ms)
        else:
            throttled(state, policy, now_ms - ago_ms, now_ms, retry_after_ms)
            assert state.shut_until_ms <= latest_ms + 86_400_000 or retry_after_ms == 0
        assert state.rate is None or lowest <= state.rate <= highest
        assert state.measured >= 0
        capacity = MICRO if state.rate is None else max(MICRO, state.rate)
        assert 0 <= state.tokens <= capacity or what != "throttle"
        state = STATE.validate_json(STATE.dump_json(state))


@given(st.integers(0, 10**40))
def test_cube_roots_are_exact(number: int) -> None:
    root = cube_root(number)
    assert root**3 <= number < (root + 1) ** 3
