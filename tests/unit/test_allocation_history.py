"""Usage that is forgotten, and the weights that make up for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.allocation import Claim, Strategy, divide
from headgate.allocation.history import adjusted_weights
from headgate.decay import MICRO, decayed
from headgate.model.configuration import Configuration
from headgate.model.contract import STORED
from headgate.model.pool import WEIGHING

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


@pytest.mark.parametrize("strategy", Strategy)
def test_the_past_counts_where_it_matters_how_much_a_weight_is(strategy: Strategy) -> None:
    claims = [
        Claim("a", demand=8, weight=adjusted, guaranteed=2, maximum=8, fixed=4)
        for adjusted in (1.0, 3.0)
    ]
    other = Claim("b", demand=8, guaranteed=2, maximum=8, fixed=4)
    parts = [divide(8, strategy, [claim, other]).allocations["a"] for claim in claims]
    assert (parts[0] != parts[1]) == (strategy in WEIGHING)


def test_what_was_applied_before_is_read_with_a_past_that_does_not_count() -> None:
    pool = {"resource": "a", "capacity": 1, "strategy": "equal", "history_half_life_ms": 1_000}
    document = {"pools": {"p": pool}}
    with pytest.raises(ValueError, match="the past does not count with strategy equal"):
        Configuration.model_validate(document)
    stored = Configuration.model_validate(document, context=STORED)
    assert stored.governor("p").history_half_life_ms == 1_000
