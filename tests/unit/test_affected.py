"""Whom a breaker affects: bounded, forgotten in time, and told in words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker.affected import Affected, count, shown
from headgate.model.breaker import (
    AFFECTED_FOR_MS,
    MOST_AFFECTED,
    AffectedTenant,
    BreakerView,
    OutcomeBucket,
    Report,
)
from headgate.view.standing import breaker_standing
from headgate.view.words import whom
from tests.unit.test_breaker import NOW_MS, make

TENANTS = st.sampled_from([f"t{number}" for number in range(2 * MOST_AFFECTED)])


def test_it_counts_by_tenant_and_forgets_who_was_left_alone_for_long() -> None:
    known: dict[str, Affected] = {}
    count(known, {"acme": 2, "bolt": 5}, NOW_MS)
    count(known, {"acme": 1}, NOW_MS + AFFECTED_FOR_MS - 1)
    late = NOW_MS + AFFECTED_FOR_MS
    assert shown(known, late - 1) == [
        AffectedTenant(tenant="bolt", calls=5, at_ms=NOW_MS),
        AffectedTenant(tenant="acme", calls=3, at_ms=late - 1),
    ]
    assert [one.tenant for one in shown(known, late)] == ["acme"]
    count(known, {}, late)
    assert list(known) == ["acme"]


@given(
    st.lists(
        st.tuples(
            st.dictionaries(TENANTS, st.integers(1, 9), max_size=MOST_AFFECTED),
            st.integers(0, AFFECTED_FOR_MS),
        ),
        max_size=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_it_is_bounded_and_keeps_those_hit_last(told: list[tuple[dict[str, int], int]]) -> None:
    known: dict[str, Affected] = {}
    now_ms = NOW_MS
    for calls, later_ms in told:
        now_ms += later_ms
        count(known, calls, now_ms)
        found = shown(known, now_ms)
        assert len(found) <= MOST_AFFECTED
        assert set(calls) <= {one.tenant for one in found}, "who was hit just now is there"
        assert [one.calls for one in found] == sorted((one.calls for one in found), reverse=True)


def test_a_report_that_comes_twice_counts_once() -> None:
    breaker = make()
    report = Report(
        gate="g",
        seq=1,
        task_queue="q",
        buckets=[OutcomeBucket(at_ms=NOW_MS, epoch=breaker.record.epoch, rejected=2)],
        affected={"acme": 2},
    )
    breaker.report(report, NOW_MS)
    breaker.report(report, NOW_MS + 1)
    view = breaker.view(NOW_MS + 1)
    assert [(one.tenant, one.calls) for one in view.affected] == [("acme", 2)]
    saved = BreakerView.model_validate_json(view.model_dump_json())
    # What was saved long ago, by a breaker that has been at rest since, is not so any more.
    assert breaker_standing(saved, NOW_MS, NOW_MS + 1).affected == view.affected
    assert breaker_standing(saved, NOW_MS, NOW_MS + AFFECTED_FOR_MS).affected == []


def test_in_words() -> None:
    def some(number: int) -> list[AffectedTenant]:
        return [AffectedTenant(tenant=f"t{each}", calls=9, at_ms=0) for each in range(number)]

    assert whom([]) == "none in the last 10 min"
    assert whom(some(2)) == "2: t0 (9), t1 (9)"
    assert whom(some(4)) == "4: t0 (9), t1 (9), t2 (9), ..."
    assert whom(some(MOST_AFFECTED), 1) == "50 or more: t0 (9), ..."
