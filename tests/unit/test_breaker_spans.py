"""Outcomes by time, as they are kept for the history."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker.machine import MAX_SPANS_KEPT
from headgate.model.breaker import OUTCOME_SPAN_MS, OutcomeSpan
from tests.unit.test_breaker import IGNORED, NOW_MS, SUCCESS, Gate, half_open, make

BEGIN_MS = NOW_MS - NOW_MS % OUTCOME_SPAN_MS


def test_outcomes_of_one_stretch_are_added_up() -> None:
    breaker = make()
    gate = Gate(breaker)
    gate.report(".xiS", now_ms=BEGIN_MS, duration_ms=30)
    gate.report(".s", now_ms=BEGIN_MS + OUTCOME_SPAN_MS - 1, duration_ms=12)
    assert breaker.record.spans == [
        OutcomeSpan(at_ms=BEGIN_MS, successes=3, failures=2, ignored=1, slow=2, duration_ms=42)
    ]


def test_probes_are_in_it_with_their_time() -> None:
    breaker, gate, now_ms = half_open(probes=2)
    breaker.record.spans.clear()
    gate.lease("a", "b", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS, "b": IGNORED}, now_ms=now_ms)
    [span] = breaker.record.spans
    assert (span.successes, span.failures, span.ignored) == (1, 0, 1)


def test_outcomes_under_an_older_verdict_are_in_it_too() -> None:
    breaker = make()
    Gate(breaker).report("..x", epoch=breaker.record.epoch - 1)
    assert [span.successes for span in breaker.record.spans] == [2]


def test_a_report_from_the_future_is_of_now() -> None:
    breaker = make()
    Gate(breaker).report(".", at_ms=NOW_MS + 86_400_000)
    assert [span.at_ms for span in breaker.record.spans] == [BEGIN_MS]


@given(st.lists(st.tuples(st.integers(0, 300_000), st.text(alphabet=".xiS", max_size=4))))
@settings(max_examples=100, deadline=None)
def test_late_outcomes_are_in_the_stretch_in_which_they_ended(
    reports: list[tuple[int, str]],
) -> None:
    breaker = make(failure_rate=None)
    gate, naive = Gate(breaker), Counter[tuple[int, str]]()
    for age_ms, calls in reports:
        at_ms = NOW_MS - age_ms
        gate.report(calls, at_ms=at_ms)
        for sign in calls:
            naive[at_ms // OUTCOME_SPAN_MS * OUTCOME_SPAN_MS, sign] += 1
    spans = breaker.record.spans
    assert [span.at_ms for span in spans] == sorted({span.at_ms for span in spans})
    for span in spans:
        assert span.successes == naive[span.at_ms, "."]
        assert span.failures == naive[span.at_ms, "x"] + naive[span.at_ms, "S"]
        assert span.ignored == naive[span.at_ms, "i"]
        assert span.slow == naive[span.at_ms, "S"]
    assert sum(span.successes + span.failures + span.ignored for span in spans) == naive.total()


def test_the_oldest_make_room_for_new_ones() -> None:
    breaker = make()
    gate = Gate(breaker)
    for nth in range(MAX_SPANS_KEPT + 5):
        gate.report(".", now_ms=BEGIN_MS + nth * OUTCOME_SPAN_MS)
    spans = breaker.record.spans
    assert len(spans) == MAX_SPANS_KEPT
    assert spans[0].at_ms == BEGIN_MS + 5 * OUTCOME_SPAN_MS


def test_outcomes_older_than_all_that_fit_are_left_out_and_spoil_nothing() -> None:
    breaker = make()
    gate = Gate(breaker)
    for nth in range(MAX_SPANS_KEPT):
        now_ms = BEGIN_MS + nth * OUTCOME_SPAN_MS
        gate.report(".", now_ms=now_ms)
    before = list(breaker.record.spans)
    gate.report("xxx", at_ms=BEGIN_MS - 1, now_ms=now_ms)
    assert breaker.record.spans == before
    assert breaker.record.failures == 3
