from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker import SlidingTime
from headgate.breaker.sliding_time import BUCKETS

START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Seen:
    number: int
    successes: int
    failures: int
    slow: int


class NaiveWindow:
    """Every outcome ever added, in buckets of the same size; recomputed for every question."""

    def __init__(self, bucket_ms: int) -> None:
        self.bucket_ms = bucket_ms
        self.seen: list[Seen] = []

    def add(self, at_ms: int, successes: int, failures: int, now_ms: int, slow: int) -> None:
        number = min(at_ms, now_ms) // self.bucket_ms
        self.seen.append(Seen(number, successes, failures, slow))

    def totals(self, now_ms: int) -> tuple[int, int, int]:
        oldest = now_ms // self.bucket_ms - BUCKETS
        live = [seen for seen in self.seen if seen.number > oldest]
        return (
            sum(seen.successes for seen in live),
            sum(seen.failures for seen in live),
            sum(seen.slow for seen in live),
        )


def totals(window: SlidingTime) -> tuple[int, int]:
    return window.calls - window.total_failures, window.total_failures


def test_an_empty_window_holds_nothing() -> None:
    assert SlidingTime.spanning(60).calls == 0


def test_an_outcome_leaves_when_the_window_has_passed_over_it() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS, 1, 2, START_MS)
    window.advance(START_MS + 59_999)
    assert totals(window) == (1, 2)
    window.advance(START_MS + 60_000)
    assert totals(window) == (0, 0)


def test_an_outcome_older_than_the_window_is_left_out() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS - 60_000, 1, 2, START_MS)
    assert window.calls == 0


def test_an_outcome_from_the_future_counts_as_now() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS + 3_600_000, 0, 1, START_MS)
    assert window.total_failures == 1
    window.advance(START_MS + 60_000)
    assert window.total_failures == 0


def test_time_that_goes_backwards_changes_nothing() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS, 1, 1, START_MS)
    window.advance(START_MS - 30_000)
    assert totals(window) == (1, 1)


def test_a_pause_of_years_costs_no_more_than_the_ring() -> None:
    window = SlidingTime.spanning(1)
    window.add(0, 1, 1, 0)
    window.advance(100 * 365 * 86_400_000)
    assert window.calls == 0


def test_a_long_pause_empties_every_bucket() -> None:
    for pause_s in range(60, 125):
        window = SlidingTime.spanning(60)
        for second in range(60):
            window.add(START_MS + second * 1_000, 1, 1, START_MS + second * 1_000)
        assert totals(window) == (60, 60)
        window.advance(START_MS + 59_000 + pause_s * 1_000)
        assert totals(window) == (0, 0)


def test_a_cleared_window_keeps_its_place_in_time() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS, 1, 1, START_MS)
    window.clear()
    window.add(START_MS - 59_000, 1, 0, START_MS)
    assert totals(window) == (1, 0)


def test_a_longer_window_keeps_what_the_shorter_one_held_and_no_more() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS, 0, 3, START_MS)
    window.add(START_MS + 50_000, 0, 4, START_MS + 50_000)
    longer = window.resized(600, START_MS + 60_000)
    assert longer.total_failures == 4
    longer.advance(START_MS + 400_000)
    assert longer.total_failures == 4


def test_a_shorter_window_drops_what_is_too_old_for_it() -> None:
    window = SlidingTime.spanning(60)
    window.add(START_MS, 0, 3, START_MS)
    window.add(START_MS + 50_000, 0, 4, START_MS + 50_000)
    assert window.resized(6, START_MS + 51_000).total_failures == 4


@settings(max_examples=150, deadline=None)
@given(
    seconds=st.sampled_from([1, 7, 60, 100, 3_600]),
    steps=st.lists(
        st.tuples(
            st.integers(0, 90_000),
            st.integers(-130_000, 5_000),
            st.integers(0, 5),
            st.integers(0, 5),
            st.integers(0, 5),
        ),
        max_size=60,
    ),
)
def test_the_running_totals_are_those_of_a_recomputation(
    seconds: int, steps: list[tuple[int, int, int, int, int]]
) -> None:
    window = SlidingTime.spanning(seconds)
    naive = NaiveWindow(window.bucket_ms)
    now_ms = START_MS
    for pause_ms, age_ms, successes, failures, slow in steps:
        now_ms += pause_ms * seconds // 60
        slow = min(slow, successes + failures)
        window.add(now_ms + age_ms, successes, failures, now_ms, slow)
        naive.add(now_ms + age_ms, successes, failures, now_ms, slow)
        assert (*totals(window), window.total_slow) == naive.totals(now_ms)
        assert totals(window) == (sum(window.successes), sum(window.failures))


@settings(max_examples=100, deadline=None)
@given(
    ages=st.lists(st.integers(0, 80_000), max_size=20),
    before=st.sampled_from([1, 6, 60]),
    after=st.sampled_from([1, 6, 60, 600]),
    later_ms=st.integers(0, 90_000),
)
def test_another_span_keeps_what_fits_both_the_old_one_and_the_new(
    ages: list[int], before: int, after: int, later_ms: int
) -> None:
    window = SlidingTime.spanning(before)
    for age_ms in sorted(ages, reverse=True):
        window.add(START_MS - age_ms, 1, 1, START_MS - age_ms, 1)
    now_ms = START_MS + later_ms
    fresh = window.resized(after, now_ms)
    numbers = [(START_MS - age_ms) // window.bucket_ms for age_ms in ages]
    held = [n for n in numbers if n > now_ms // window.bucket_ms - BUCKETS]
    fits = [
        n
        for n in held
        if n * window.bucket_ms // fresh.bucket_ms > now_ms // fresh.bucket_ms - BUCKETS
    ]
    assert totals(fresh) == (len(fits), len(fits))
    assert fresh.total_slow == len(fits)
