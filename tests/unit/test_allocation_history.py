"""Usage that is forgotten, and the weights that make up for it."""

from hypothesis import given
from hypothesis import strategies as st

from headgate.allocation.history import adjusted_weights
from headgate.decay import MICRO, decayed

HOUR_MS = 3_600_000


def test_what_was_used_counts_half_after_the_half_life() -> None:
    assert decayed(80 * MICRO, 0, HOUR_MS, HOUR_MS) == 40 * MICRO
    assert decayed(0, 80, HOUR_MS, HOUR_MS) == 40 * MICRO
    assert decayed(80 * MICRO, 0, 3 * HOUR_MS, HOUR_MS) == 10 * MICRO
    assert decayed(80 * MICRO, 0, 1_000 * HOUR_MS, HOUR_MS) == 0
    assert decayed(80 * MICRO, 0, 0, HOUR_MS) == decayed(80 * MICRO, 0, -5, HOUR_MS) == 80 * MICRO


@given(
    usage=st.integers(0, 10**9 * MICRO),
    used=st.integers(0, 10**9),
    elapsed_ms=st.integers(0, 10**10),
    half_life_ms=st.integers(1, 10**9),
)
def test_it_is_the_formula_and_stays_between(
    usage: int, used: int, elapsed_ms: int, half_life_ms: int
) -> None:
    result = decayed(usage, used, elapsed_ms, half_life_ms)
    low, high = sorted((usage, used * MICRO))
    assert low <= result <= high
    kept = 2.0 ** (-elapsed_ms / half_life_ms)
    assert abs(result - (usage * kept + used * MICRO * (1 - kept))) <= 2 + (high - low) * 1e-8


@given(
    usage=st.integers(0, 1_000 * MICRO),
    used=st.integers(0, 1_000),
    cuts=st.lists(st.integers(0, 50_000), max_size=20),
)
def test_cutting_the_time_into_pieces_changes_nothing(
    usage: int, used: int, cuts: list[int]
) -> None:
    whole = decayed(usage, used, sum(cuts), 60_000)
    for piece_ms in cuts:
        usage = decayed(usage, used, piece_ms, 60_000)
    assert abs(usage - whole) <= 2 + 2 * len(cuts)


def test_who_used_little_comes_first() -> None:
    weights = {"a": MICRO, "b": MICRO, "c": 0}
    assert adjusted_weights(weights, {"a": 50 * MICRO, "b": 50 * MICRO}, 100) == weights
    assert adjusted_weights(weights, {}, 100) == {"a": 2 * MICRO, "b": 2 * MICRO, "c": 0}
    skewed = adjusted_weights(weights, {"a": 80 * MICRO, "b": 20 * MICRO}, 100)
    assert skewed == {"a": 400_000, "b": 1_600_000, "c": 0}
    assert adjusted_weights(weights, {"a": 10**9 * MICRO}, 100)["a"] == 1
    assert adjusted_weights(weights, {"a": 99 * MICRO}, 100, strength_percent=0) == weights
    assert adjusted_weights(weights, {"a": MICRO}, 0) == weights
