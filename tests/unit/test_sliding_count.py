from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker import SlidingCount, SlidingTime
from headgate.breaker.windows import carried_over, enough_calls, window_for
from headgate.model.policy import BreakerPolicy, CountWindow, TimeWindow

NOW_MS = 1_700_000_000_000
FAILED, SLOW = 1, 2


def count(window: SlidingCount) -> tuple[int, int, int]:
    return window.calls, window.total_failures, window.total_slow


def of(size: int, outcomes: str) -> SlidingCount:
    """Return a window with outcomes one by one: ``.`` succeeded, ``x`` failed, ``s`` was slow."""
    window = SlidingCount.spanning(size)
    for sign in outcomes:
        window.add(NOW_MS, int(sign != "x"), int(sign == "x"), NOW_MS, int(sign == "s"))
    return window


def test_the_last_calls_are_held_however_old_they_are() -> None:
    window = of(3, "xxs.")
    window.advance(NOW_MS + 365 * 86_400_000)
    assert count(window) == (3, 1, 1)
    assert window.outcomes() == [FAILED, SLOW, 0]


def test_a_cleared_window_is_as_a_new_one() -> None:
    window = of(3, "xsxs")
    window.clear()
    assert window == SlidingCount.spanning(3)
    window.add(NOW_MS, 0, 1, NOW_MS)
    assert count(window) == (1, 1, 0)


def test_a_batch_of_millions_costs_no_more_than_the_size() -> None:
    window = SlidingCount.spanning(100)
    window.add(NOW_MS, 1_500_000_000, 500_000_000, NOW_MS, 1_000_000_000)
    assert count(window) == (100, 25, 50)


@given(
    size=st.integers(1, 30),
    batches=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))),
)
@settings(max_examples=200, deadline=None)
def test_running_totals_are_those_of_the_outcomes_held(
    size: int, batches: list[tuple[int, int, int]]
) -> None:
    window, total = SlidingCount.spanning(size), 0
    for successes, failures, slow in batches:
        window.add(NOW_MS, successes, failures, NOW_MS, min(slow, successes + failures))
        total += successes + failures
        held = window.outcomes()
        assert len(held) == len(window.ring) == window.calls == min(size, total)
        assert window.total_failures == sum(outcome & FAILED for outcome in held)
        assert window.total_slow == sum(outcome >> 1 for outcome in held)


@given(size=st.integers(1, 20), outcomes=st.text(alphabet=".xs", max_size=80))
@settings(max_examples=200, deadline=None)
def test_single_outcomes_leave_in_the_order_in_which_they_came(size: int, outcomes: str) -> None:
    naive = deque(({".": 0, "x": FAILED, "s": SLOW}[sign] for sign in outcomes), maxlen=size)
    assert of(size, outcomes).outcomes() == list(naive)


@given(successes=st.integers(0, 300), failures=st.integers(0, 300), size=st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_a_batch_is_taken_as_mixed(successes: int, failures: int, size: int) -> None:
    window = SlidingCount.spanning(size)
    window.add(NOW_MS, successes, failures, NOW_MS)
    calls = successes + failures
    if calls <= size:
        assert count(window) == (calls, failures, 0)
    else:
        assert abs(window.total_failures - failures * size / calls) <= 1


@given(
    size=st.integers(1, 20), new=st.integers(1, 30), outcomes=st.text(alphabet=".xs", max_size=60)
)
@settings(max_examples=200, deadline=None)
def test_another_size_keeps_the_youngest(size: int, new: int, outcomes: str) -> None:
    window = of(size, outcomes)
    fresh = window.resized(new)
    assert fresh.outcomes() == window.outcomes()[-new:]
    fresh.add(NOW_MS, 0, 1, NOW_MS)
    assert fresh.outcomes() == [*window.outcomes(), FAILED][-new:]


# From one policy's window to another's ------------------------------------------------------------


def test_a_policy_gets_the_window_it_names() -> None:
    assert isinstance(window_for(BreakerPolicy()), SlidingTime)
    assert window_for(BreakerPolicy(window=CountWindow(kind="count", size=7))) == SlidingCount(7)


def test_from_time_to_count_the_counts_are_kept() -> None:
    window = SlidingTime.spanning(60)
    window.add(NOW_MS - 30_000, 3, 2, NOW_MS, 1)
    policy = BreakerPolicy(window=CountWindow(kind="count", size=10))
    fresh = carried_over(window, policy, NOW_MS)
    assert isinstance(fresh, SlidingCount)
    assert count(fresh) == (5, 2, 1)
    fresh = carried_over(window, policy, NOW_MS + 60_000)
    assert fresh.calls == 0


def test_from_count_to_time_the_counts_are_kept_as_of_now() -> None:
    fresh = carried_over(of(10, "x.xs."), BreakerPolicy(), NOW_MS)
    assert isinstance(fresh, SlidingTime)
    assert (fresh.calls, fresh.total_failures, fresh.total_slow) == (5, 2, 1)
    fresh.advance(NOW_MS + 59_000)
    assert fresh.calls == 5
    fresh.advance(NOW_MS + 60_000)
    assert fresh.calls == 0


@pytest.mark.parametrize(
    ("policy", "enough"),
    [
        (BreakerPolicy(min_calls=20), 20),
        (BreakerPolicy(min_calls=20, window=TimeWindow(seconds=1)), 20),
        (BreakerPolicy(min_calls=20, window=CountWindow(kind="count", size=10)), 10),
        (BreakerPolicy(min_calls=20, window=CountWindow(kind="count", size=100)), 20),
    ],
)
def test_a_window_of_fewer_calls_is_judged_when_it_is_full(
    policy: BreakerPolicy, enough: int
) -> None:
    assert enough_calls(policy) == enough
