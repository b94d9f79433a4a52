from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.model.quota import Rate
from headgate.quota import gcra

START_MS = 1_700_000_000_000

rates = st.builds(
    Rate,
    limit=st.integers(1, 2_000),
    period_ms=st.sampled_from([1, 7, 1_000, 60_000, 86_400_000]),
)
small_rates = st.builds(
    Rate, limit=st.integers(1, 50), period_ms=st.sampled_from([1, 7, 100, 1_000])
)


@dataclass
class TokenBucket:
    """The textbook: a bucket of ``burst`` tokens that fills at the rate, in exact fractions."""

    rate: Rate
    burst: int
    tokens: Fraction
    at_ms: int

    def level(self, now_ms: int) -> Fraction:
        gained = Fraction((now_ms - self.at_ms) * self.rate.limit, self.rate.period_ms)
        return min(Fraction(self.burst), self.tokens + gained)

    def take(self, units: int, now_ms: int) -> bool:
        level = self.level(now_ms)
        if level < units:
            return False
        self.tokens, self.at_ms = level - units, now_ms
        return True


def passes(tat: int, rate: Rate, burst: int, units: int, now_ms: int) -> bool:
    at_ms = gcra.earliest(tat, rate, burst, units)
    return at_ms is not None and at_ms <= now_ms


@settings(max_examples=200, deadline=None)
@given(
    rate=small_rates,
    burst=st.integers(1, 30),
    steps=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 32)), max_size=60),
)
def test_it_decides_exactly_as_a_token_bucket_in_fractions(
    rate: Rate, burst: int, steps: list[tuple[int, int]]
) -> None:
    tat, now_ms = 0, START_MS
    bucket = TokenBucket(rate, burst, Fraction(burst), now_ms)
    for pause_ms, units in steps:
        now_ms += pause_ms
        passed = passes(tat, rate, burst, units, now_ms)
        assert passed == bucket.take(units, now_ms)
        if passed:
            tat = gcra.spend(tat, rate, units, now_ms)


@settings(max_examples=200, deadline=None)
@given(
    rate=rates,
    burst=st.integers(1, 1_000),
    spent=st.integers(0, 1_000),
    units=st.integers(1, 1_000),
    pause_ms=st.integers(0, 100_000),
)
def test_earliest_is_the_first_millisecond_at_which_it_passes(
    rate: Rate, burst: int, spent: int, units: int, pause_ms: int
) -> None:
    bucket = TokenBucket(rate, burst, Fraction(burst) - spent, START_MS)
    tat = gcra.spend(0, rate, spent, START_MS)
    at_ms = gcra.earliest(tat, rate, burst, units)
    if units > burst:
        assert at_ms is None
        return
    assert at_ms is not None
    if at_ms > START_MS:
        assert bucket.level(at_ms) >= units
        assert bucket.level(at_ms - 1) < units
    else:
        assert bucket.level(START_MS) >= units


def test_what_never_fits_is_none_and_what_fits_the_burst_exactly_passes_at_once() -> None:
    rate = Rate(limit=10, period_ms=1_000)
    assert gcra.earliest(0, rate, 5, 6) is None
    assert passes(0, rate, 5, 5, START_MS)


def test_a_full_burst_is_followed_by_one_unit_each_interval() -> None:
    rate = Rate(limit=10, period_ms=1_000)
    tat = gcra.spend(0, rate, 5, START_MS)
    for nth in range(1, 20):
        assert gcra.earliest(tat, rate, 5, 1) == START_MS + 100 * nth
        tat = gcra.spend(tat, rate, 1, START_MS + 100 * nth)


def test_three_in_a_second_never_drift_however_long_it_runs() -> None:
    rate = Rate(limit=3, period_ms=1_000)
    tat, now_ms, first_ms = 0, START_MS, START_MS
    for _ in range(3_000):
        at_ms = gcra.earliest(tat, rate, 1, 1)
        assert at_ms is not None
        now_ms = max(now_ms, at_ms)
        tat = gcra.spend(tat, rate, 1, now_ms)
    # Every interval is 333.3 ms rounded up to a whole one, and the rest is not owed.
    assert 2_999 * 1_000 // 3 <= now_ms - first_ms <= 2_999 * 334


@settings(max_examples=200, deadline=None)
@given(
    old=rates,
    new=rates,
    spent=st.integers(0, 5_000),
    pause_ms=st.integers(0, 10_000),
)
def test_a_new_rate_keeps_the_units_of_debt_rounded_up_by_less_than_a_tick(
    old: Rate, new: Rate, spent: int, pause_ms: int
) -> None:
    tat = gcra.spend(0, old, spent, START_MS)
    now_ms = START_MS + pause_ms
    debt = max(Fraction(0), Fraction(tat - now_ms * old.limit, old.period_ms))
    scaled = gcra.rescale(tat, old, new, now_ms)
    kept = max(Fraction(0), Fraction(scaled - now_ms * new.limit, new.period_ms))
    assert debt <= kept < debt + Fraction(1, new.period_ms)


def test_the_same_rate_changes_nothing_that_is_owed() -> None:
    rate = Rate(limit=7, period_ms=1_000)
    tat = gcra.spend(0, rate, 20, START_MS)
    assert gcra.rescale(tat, rate, rate, START_MS + 5) == tat
