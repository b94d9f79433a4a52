import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.alerts.usage import HOLD_MS, LEVELS, UsageLevel


@pytest.mark.parametrize(("used", "told"), [(79, None), (80, 80), (90, 90), (99, 90), (100, 100)])
def test_a_level_is_told_when_usage_is_exactly_at_it(used: int, told: int | None) -> None:
    assert UsageLevel().observe(used, 100, 0) == told


def test_only_the_highest_level_crossed_is_told() -> None:
    usage = UsageLevel()
    assert usage.observe(10, 10, 0) == 100
    assert usage.observe(9, 10, 1) is None
    assert usage.observe(8, 10, 2) is None


def test_a_further_rise_is_told_once_for_each_level() -> None:
    usage = UsageLevel()
    assert [usage.observe(used, 100, used) for used in (80, 85, 90, 91, 100)] == [
        80,
        None,
        90,
        None,
        100,
    ]


def test_usage_that_hovers_about_a_level_tells_of_it_once() -> None:
    usage = UsageLevel()
    told = [usage.observe(78 + nth % 4, 100, nth * 60_000) for nth in range(1_000)]
    assert [level for level in told if level is not None] == [80]


def test_a_level_is_told_again_after_five_minutes_five_points_below_it() -> None:
    usage = UsageLevel()
    assert usage.observe(80, 100, 0) == 80
    assert usage.observe(75, 100, 1_000) is None
    assert usage.observe(75, 100, 1_000 + HOLD_MS) is None
    assert usage.observe(80, 100, 2_000 + HOLD_MS) == 80


@pytest.mark.parametrize(("low", "pause_ms"), [(76, HOLD_MS * 10), (75, HOLD_MS - 1)])
def test_a_level_is_not_told_again_too_near_or_too_soon(low: int, pause_ms: int) -> None:
    usage = UsageLevel()
    assert usage.observe(80, 100, 0) == 80
    assert usage.observe(low, 100, 1_000) is None
    assert usage.observe(80, 100, 1_000 + pause_ms) is None


def test_a_pause_without_observations_counts_as_time_below() -> None:
    usage = UsageLevel()
    assert usage.observe(1, 1, 0) == 100
    assert usage.observe(0, 1, 1_000) is None
    assert usage.observe(1, 1, 1_000 + HOLD_MS) == 100


def test_after_a_fall_to_a_lower_level_only_the_higher_one_is_told_again() -> None:
    usage = UsageLevel()
    assert usage.observe(100, 100, 0) == 100
    assert usage.observe(92, 100, 1_000) is None
    assert usage.observe(95, 100, 1_000 + HOLD_MS) is None
    assert usage.observe(100, 100, 2_000 + HOLD_MS) == 100


def test_a_short_rise_above_the_margin_starts_the_five_minutes_anew() -> None:
    usage = UsageLevel()
    usage.observe(80, 100, 0)
    usage.observe(70, 100, 1_000)
    usage.observe(78, 100, HOLD_MS)
    usage.observe(70, 100, HOLD_MS + 1)
    assert usage.observe(80, 100, HOLD_MS + 2_000) is None


def test_a_quota_of_nothing_tells_nothing() -> None:
    assert UsageLevel().observe(0, 0, 0) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 120)), max_size=40))
def test_a_level_is_never_told_twice_without_five_minutes_below_it(
    steps: list[tuple[int, int]],
) -> None:
    usage = UsageLevel()
    now_ms = 0
    history: list[tuple[int, int]] = []
    told_at: dict[int, int] = {}
    for pause_ms, used in steps:
        now_ms += pause_ms
        level = usage.observe(used, 100, now_ms)
        history.append((now_ms, used))
        if level is None:
            continue
        assert level == max(at for at in LEVELS if used >= at)
        if level in told_at:
            assert _longest_below(history, level - 5, told_at[level]) >= HOLD_MS
        told_at[level] = now_ms


def _longest_below(history: list[tuple[int, int]], limit: int, since_ms: int) -> int:
    """Return for how long usage was at or below ``limit``, as a step function of time."""
    longest, below_since = 0, None
    for at_ms, used in history:
        if at_ms < since_ms:
            continue
        if below_since is not None:
            longest = max(longest, at_ms - below_since)
        if used > limit:
            below_since = None
        elif below_since is None:
            below_since = at_ms
    return longest
