"""How far a breaker is from opening: checked against the breaker itself."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headgate.breaker import Breaker
from headgate.model.breaker import BreakerState
from headgate.view.margin import margin
from tests.unit.test_breaker import NOW_MS, Gate, make

LIMITS = st.sampled_from([0.05, 0.07, 0.1, 0.25, 1 / 3, 0.5, 0.51, 0.9, 1.0])
MOST = 400


@settings(max_examples=150, deadline=None)
@given(
    outcomes=st.text(".x", max_size=60),
    limit=LIMITS,
    min_calls=st.integers(1, 50),
    row=st.none() | st.integers(1, 60),
)
def test_so_many_failures_open_it_and_not_one_less(
    outcomes: str, limit: float, min_calls: int, row: int | None
) -> None:
    breaker = make(failure_rate=limit, min_calls=min_calls, consecutive_failures=row)
    _opens_after(_told(breaker, outcomes))


@settings(max_examples=100, deadline=None)
@given(
    successes=st.integers(0, 40),
    failures=st.integers(0, 40),
    limit=LIMITS,
    min_calls=st.integers(1, 50),
    size=st.integers(1, 60),
)
def test_in_a_window_of_calls_they_push_out_successes(
    successes: int, failures: int, limit: float, min_calls: int, size: int
) -> None:
    window = {"kind": "count", "size": size}
    breaker = make(failure_rate=limit, min_calls=min_calls, window=window)
    _opens_after(_told(breaker, "." * successes + "x" * failures))


def _told(breaker: Breaker, outcomes: str) -> Gate:
    gate = Gate(breaker)
    for outcome in outcomes:
        gate.report(outcome)
        assume(breaker.record.state is BreakerState.CLOSED)
    return gate


def _opens_after(gate: Gate) -> None:
    found = margin(gate.breaker.view(NOW_MS))
    assert 0.0 <= found.share <= 1.0
    for sent in range(1, (found.failures or MOST) + 1):
        gate.report("x")
        is_open = gate.breaker.record.state is BreakerState.OPEN
        assert is_open == (sent == found.failures)


def test_the_share_says_how_much_of_the_way_is_left() -> None:
    breaker = make(failure_rate=0.5, min_calls=10)
    gate = Gate(breaker)
    assert margin(breaker.view(NOW_MS)).share == 1.0
    gate.report("." * 9 + "x" * 3)
    found = margin(breaker.view(NOW_MS))
    assert (found.failure_rate, found.failure_limit) == (0.25, 0.5)
    assert (found.share, found.failures, found.rule) == (0.5, 6, "failure_rate")


def test_few_calls_count_for_little() -> None:
    breaker = make(failure_rate=0.5, min_calls=10)
    Gate(breaker).report("x")
    found = margin(breaker.view(NOW_MS))
    assert (found.share, found.failures) == (0.9, 9)


def test_a_breaker_that_is_open_has_nothing_left() -> None:
    breaker = make(failure_rate=0.5, min_calls=1)
    Gate(breaker).report("x")
    assert breaker.record.state is BreakerState.OPEN
    found = margin(breaker.view(NOW_MS))
    assert (found.share, found.failures) == (0.0, None)


def test_one_failure_opens_it_while_nobody_has_seen_the_downstream_work() -> None:
    breaker = make(consecutive_failures=2, open_ms=1_000, half_open_max_ms=30_000)
    gate = Gate(breaker)
    gate.report("xx")
    breaker.advance(NOW_MS + 2_000)
    later_ms = NOW_MS + 60_000  # nobody has made a probe
    breaker.advance(later_ms)
    assert breaker.view(later_ms).state is BreakerState.CLOSED
    assert margin(breaker.view(later_ms)).failures == 1
    gate.report("x", now_ms=later_ms)
    assert breaker.view(later_ms).state is BreakerState.OPEN


def test_without_a_rule_nothing_opens_it() -> None:
    found = margin(make(failure_rate=None).view(NOW_MS))
    assert (found.share, found.failures, found.rule) == (1.0, None, None)


@pytest.mark.parametrize(("quorum", "missing"), [(1, 0), (3, 2)])
def test_a_quorum_that_is_missing_is_told(quorum: int, missing: int) -> None:
    breaker = make(failure_rate=0.5, min_calls=5, quorum=quorum)
    Gate(breaker).report("...x")
    assert margin(breaker.view(NOW_MS)).gates_missing == missing
