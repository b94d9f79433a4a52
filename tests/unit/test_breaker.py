import re
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headgate.breaker import Breaker, BreakerRecord, Reporter
from headgate.breaker.machine import (
    EPOCHS_PER_INCARNATION,
    MAX_TRANSITIONS_KEPT,
    MAX_UNSAVED_KEPT,
    REPORTER_TTL_MS,
    REVISIONS_PER_INCARNATION,
)
from headgate.model.breaker import (
    BreakerState,
    CallOutcome,
    OutcomeBucket,
    ProbeOutcome,
    ProbeReply,
    ProbeRequest,
    Report,
)
from headgate.model.limits import ConcurrencyPolicy, LimitPolicy
from headgate.model.policy import BreakerPolicy, TimeWindow
from headgate.model.settings import BreakerSettings

NOW_MS = 1_700_000_000_000
RECORD = TypeAdapter(BreakerRecord)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SUCCESS, FAILURE, IGNORED = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.IGNORED


def make(**policy: Any) -> Breaker:
    """Return a breaker that closes at once after its probes, and whose open time does not grow."""
    plain = {"ramp_ms": 0, "open_factor": 1.0}
    settings = BreakerSettings(policy=BreakerPolicy.model_validate({**plain, **policy}))
    return Breaker.begin("scanner", settings, incarnation=1, now_ms=NOW_MS)


class Gate:
    """A gate as the breaker knows it: an id and a number that rises with every report."""

    def __init__(self, breaker: Breaker, id: str = "gate-1") -> None:
        self.breaker = breaker
        self.id = id
        self.seq = 0

    def report(
        self,
        outcomes: str = "",
        *,
        probes: dict[str, CallOutcome] | None = None,
        epoch: int | None = None,
        now_ms: int = NOW_MS,
        at_ms: int | None = None,
        retry_after_ms: int = 0,
        duration_ms: int = 0,
    ) -> Report:
        """Report calls in their order: ``.`` succeeded, ``x`` failed, ``i`` ignored.

        ``s`` succeeded slowly, ``S`` failed slowly.
        """
        self.seq += 1
        if epoch is None:
            epoch = self.breaker.record.epoch
        bucket = OutcomeBucket(
            at_ms=now_ms if at_ms is None else at_ms,
            epoch=epoch,
            successes=len(re.findall("[.s]", outcomes)),
            failures=len(re.findall("[xS]", outcomes)),
            ignored=outcomes.count("i"),
            trailing_failures=len(re.findall("[xS]", re.split("[.s]", outcomes)[-1])),
            slow=len(re.findall("[sS]", outcomes)),
            duration_ms=duration_ms,
            retry_after_ms=retry_after_ms,
        )
        report = Report(
            gate=self.id,
            seq=self.seq,
            task_queue=f"headgate-gate/{self.id}",
            buckets=[bucket],
            probes=[
                ProbeOutcome(id=id, epoch=epoch, outcome=outcome)
                for id, outcome in (probes or {}).items()
            ],
        )
        self.breaker.report(report, now_ms)
        return report

    def lease(self, *ids: str, epoch: int | None = None, now_ms: int = NOW_MS) -> ProbeReply:
        if epoch is None:
            epoch = self.breaker.record.epoch
        return self.breaker.lease_probes(
            ProbeRequest(gate=self.id, epoch=epoch, ids=list(ids)), now_ms
        )


def half_open(**policy: Any) -> tuple[Breaker, Gate, int]:
    """Return a breaker that has just become HALF_OPEN, a gate, and the time."""
    breaker = make(**{"consecutive_failures": 1, "open_ms": 1_000, **policy})
    gate = Gate(breaker)
    gate.report("x")
    breaker.advance(NOW_MS + 1_000)
    assert breaker.record.state is HALF_OPEN
    return breaker, gate, NOW_MS + 1_000


# CLOSED -> OPEN ----------------------------------------------------------------------------------


def test_it_begins_closed_and_lets_all_pass() -> None:
    breaker = make()
    assert breaker.verdict().allow == "all"
    assert breaker.next_deadline() is None


@pytest.mark.parametrize(("failed", "state"), [(9, CLOSED), (10, OPEN), (11, OPEN)])
def test_it_opens_at_exactly_the_failure_rate(failed: int, state: BreakerState) -> None:
    breaker = make(failure_rate=0.5, min_calls=20)
    Gate(breaker).report("x" * failed + "." * (20 - failed))
    assert breaker.record.state is state


@given(calls=st.integers(1, 1_000), failed=st.integers(1, 1_000))
@settings(max_examples=200, deadline=None)
def test_a_rate_written_in_decimals_is_met_exactly(calls: int, failed: int) -> None:
    failed = min(failed, calls)
    rate = failed / calls
    at_limit, below = make(failure_rate=rate, min_calls=1), make(failure_rate=rate, min_calls=1)
    Gate(at_limit).report("." * (calls - failed) + "x" * failed)
    Gate(below).report("." * (calls - failed + 1) + "x" * (failed - 1))
    assert at_limit.record.state is OPEN
    assert below.record.state is CLOSED


def test_seven_failures_of_a_hundred_are_seven_percent() -> None:
    breaker = make(failure_rate=0.07, min_calls=1)
    Gate(breaker).report("." * 93 + "x" * 7)
    assert breaker.record.state is OPEN


def test_it_does_not_judge_the_rate_of_too_few_calls() -> None:
    breaker = make(failure_rate=0.5, min_calls=20)
    gate = Gate(breaker)
    gate.report("x" * 19)
    assert breaker.record.state is CLOSED
    gate.report("i" * 50)
    assert breaker.record.state is CLOSED
    gate.report(".")
    assert breaker.record.state is OPEN


def test_it_sums_what_several_gates_report() -> None:
    breaker = make(failure_rate=0.5, min_calls=20)
    for nth in range(5):
        Gate(breaker, f"gate-{nth}").report("..xx")
        assert breaker.record.state is (OPEN if nth == 4 else CLOSED)


def test_it_counts_failures_in_a_row_over_several_gates() -> None:
    breaker = make(failure_rate=None, consecutive_failures=5)
    one, two = Gate(breaker, "one"), Gate(breaker, "two")
    one.report("xx")
    two.report("xx")
    one.report(".")
    two.report("xxxx")
    assert breaker.record.state is CLOSED
    one.report("x")
    assert breaker.record.state is OPEN


def test_a_success_within_a_bucket_ends_the_row_before_it_only() -> None:
    breaker = make(failure_rate=None, consecutive_failures=5)
    gate = Gate(breaker)
    gate.report("xxxx.xx")
    assert breaker.record.consecutive == 2
    gate.report("ixix")
    assert breaker.record.consecutive == 4


def test_a_row_does_not_grow_old() -> None:
    breaker = make(failure_rate=None, consecutive_failures=2)
    gate = Gate(breaker)
    gate.report("x")
    gate.report("x", now_ms=NOW_MS + 86_400_000)
    assert breaker.record.state is OPEN


def test_failures_that_have_left_the_window_do_not_count() -> None:
    breaker = make(failure_rate=0.5, min_calls=4)
    gate = Gate(breaker)
    gate.report("xxx")
    gate.report("x..", now_ms=NOW_MS + 60_000)
    assert breaker.record.state is CLOSED
    assert breaker.view(NOW_MS).calls_in_window == 3


def test_an_opening_is_explained_with_numbers_and_alerted_once() -> None:
    breaker = make(failure_rate=0.5, min_calls=4)
    Gate(breaker).report(".xxx")
    [step] = breaker.record.transitions
    assert (step.source, step.target, step.rule) == (CLOSED, OPEN, "failure_rate")
    assert step.numbers == {"value": 0.75, "threshold": 0.5, "count": 3, "calls": 4}
    assert (step.actor, step.enforced) == (None, True)
    assert "3 of 4 calls failed" in step.reason
    [alert] = breaker.record.alerts
    assert alert.kind == "breaker.opened"
    assert str(breaker.record.epoch) in alert.id


# OPEN -> HALF_OPEN -------------------------------------------------------------------------------


def test_it_becomes_half_open_by_time_without_any_traffic() -> None:
    breaker = make(consecutive_failures=1, open_ms=1_000)
    Gate(breaker).report("x")
    assert breaker.next_deadline() == NOW_MS + 1_000
    breaker.advance(NOW_MS + 999)
    assert breaker.record.state is OPEN
    breaker.advance(NOW_MS + 1_000)
    assert breaker.verdict().allow == "probes"


def test_an_open_breaker_leases_no_probes() -> None:
    breaker = make(consecutive_failures=1)
    gate = Gate(breaker)
    gate.report("x")
    reply = gate.lease("a")
    assert reply.granted == []
    assert reply.deadline_ms is None
    assert reply.verdict.allow == "none"


def test_late_outcomes_do_not_move_an_open_breaker() -> None:
    breaker = make(consecutive_failures=1)
    gate = Gate(breaker)
    gate.report("x")
    before = (breaker.record.epoch, breaker.record.until_ms)
    gate.report("." * 100)
    gate.report("x" * 100, epoch=before[0] - 1)
    assert (breaker.record.epoch, breaker.record.until_ms) == before


# HALF_OPEN -> CLOSED or OPEN ---------------------------------------------------------------------


def test_it_closes_when_all_probes_have_succeeded() -> None:
    breaker, gate, now_ms = half_open(probes=3)
    assert gate.lease("a", "b", "c", now_ms=now_ms).granted == ["a", "b", "c"]
    gate.report(probes={"a": SUCCESS, "b": SUCCESS}, now_ms=now_ms)
    assert breaker.record.state is HALF_OPEN
    gate.report(probes={"c": SUCCESS}, now_ms=now_ms)
    assert breaker.record.state is CLOSED
    assert breaker.next_deadline() is None
    assert [alert.kind for alert in breaker.record.alerts] == [
        "breaker.opened",
        "breaker.recovered",
    ]


def test_it_reopens_at_the_first_failure_that_settles_it() -> None:
    breaker, gate, now_ms = half_open(probes=3)
    gate.lease("a", "b", "c", now_ms=now_ms)
    gate.report(probes={"b": FAILURE}, now_ms=now_ms)
    assert breaker.record.state is OPEN
    assert breaker.record.until_ms == now_ms + 1_000
    assert breaker.record.probes == {}
    assert breaker.record.alerts[-1].kind == "breaker.reopened"


@pytest.mark.parametrize(
    ("probes", "close_at", "needed"),
    [
        (3, 1.0, 3),
        (3, 0.5, 2),
        (4, 0.5, 2),
        (10, 0.7, 7),
        (100, 0.07, 7),
        (100, 0.55, 55),
        (3, 0.6667, 3),
        (3, 0.6666, 2),
        (5, 0.001, 1),
        (1, 0.5, 1),
        (1_000, 0.001, 1),
    ],
)
def test_it_needs_the_smallest_number_of_successes_that_is_the_share(
    probes: int, close_at: float, needed: int
) -> None:
    breaker, gate, now_ms = half_open(probes=probes, close_at=close_at)
    for nth in range(needed):
        assert breaker.record.state is HALF_OPEN
        gate.lease(str(nth), now_ms=now_ms)
        gate.report(probes={str(nth): SUCCESS}, now_ms=now_ms)
    assert breaker.record.state is CLOSED

    breaker, gate, now_ms = half_open(probes=probes, close_at=close_at)
    for nth in range(probes - needed + 1):
        assert breaker.record.state is HALF_OPEN
        gate.lease(str(nth), now_ms=now_ms)
        gate.report(probes={str(nth): FAILURE}, now_ms=now_ms)
    assert breaker.record.state is OPEN


def test_a_slow_probe_is_a_failed_one() -> None:
    breaker, gate, now_ms = half_open(probes=1, slow_call_ms=500)
    gate.lease("a", now_ms=now_ms)
    slow = ProbeOutcome(id="a", epoch=breaker.record.epoch, outcome=SUCCESS, duration_ms=500)
    breaker.report(Report(gate="g", seq=1, task_queue="q", probes=[slow]), now_ms)
    assert breaker.record.state is OPEN
    assert (breaker.record.successes, breaker.record.slow) == (1, 1)


def test_an_ignored_probe_gives_its_place_to_another() -> None:
    breaker, gate, now_ms = half_open(probes=1)
    assert gate.lease("a", "b", now_ms=now_ms).granted == ["a"]
    gate.report(probes={"a": IGNORED}, now_ms=now_ms)
    assert breaker.record.state is HALF_OPEN
    assert gate.lease("a", "b", now_ms=now_ms).granted == ["b"]


def test_a_probe_without_an_outcome_fails_at_its_deadline() -> None:
    breaker, gate, now_ms = half_open(probes=1, probe_deadline_ms=500)
    assert gate.lease("a", now_ms=now_ms).deadline_ms == now_ms + 500
    assert breaker.next_deadline() == now_ms + 500
    breaker.advance(now_ms + 499)
    assert breaker.record.state is HALF_OPEN
    breaker.advance(now_ms + 500)
    assert breaker.record.state is OPEN


def test_an_outcome_that_comes_after_the_deadline_of_its_probe_is_too_late() -> None:
    breaker, gate, now_ms = half_open(probes=2, close_at=0.5, probe_deadline_ms=500)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms + 500)
    assert breaker.record.state is HALF_OPEN
    assert (breaker.record.probe_successes, breaker.record.probe_failures) == (0, 1)


def test_half_open_without_any_call_closes_at_its_deadline() -> None:
    breaker, _, now_ms = half_open(half_open_max_ms=5_000, probe_deadline_ms=1_000)
    assert breaker.next_deadline() == now_ms + 5_000
    breaker.advance(now_ms + 5_000)
    assert breaker.record.state is CLOSED
    assert breaker.record.transitions[-1].rule == "deadline"


def test_half_open_with_a_probe_in_flight_reopens_at_its_deadline() -> None:
    breaker, gate, now_ms = half_open(half_open_max_ms=5_000, probe_deadline_ms=5_000)
    gate.lease("a", now_ms=now_ms + 4_000)
    breaker.advance(now_ms + 5_000)
    assert breaker.record.state is OPEN


def test_half_open_with_too_few_failures_to_settle_it_reopens_at_its_deadline() -> None:
    breaker, gate, now_ms = half_open(probes=4, close_at=0.5)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": FAILURE}, now_ms=now_ms)
    assert breaker.record.state is HALF_OPEN
    breaker.advance(now_ms + 120_000)
    assert breaker.record.state is OPEN


def test_a_closed_breaker_starts_with_a_clean_window() -> None:
    breaker, gate, now_ms = half_open(probes=1)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    assert breaker.view(NOW_MS).calls_in_window == 0
    assert breaker.record.consecutive == 0


# Probes of the fleet -----------------------------------------------------------------------------


def test_no_more_probes_than_the_policy_says_in_the_whole_fleet() -> None:
    breaker, _, now_ms = half_open(probes=3)
    granted = [
        id
        for nth in range(5)
        for id in Gate(breaker, f"g{nth}").lease(f"{nth}a", f"{nth}b", now_ms=now_ms).granted
    ]
    assert granted == ["0a", "0b", "1a"]


def test_a_settled_probe_does_not_make_room_for_another() -> None:
    _, gate, now_ms = half_open(probes=2, close_at=0.5)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": FAILURE}, now_ms=now_ms)
    assert gate.lease("b", "c", now_ms=now_ms).granted == ["b"]


def test_a_repeated_request_gets_the_same_probes_and_costs_nothing() -> None:
    breaker, gate, now_ms = half_open(probes=2)
    first = gate.lease("a", "a", now_ms=now_ms)
    revision = breaker.record.revision
    again = gate.lease("a", now_ms=now_ms + 10)
    assert set(first.granted) == set(again.granted) == {"a"}
    assert again.deadline_ms == first.deadline_ms
    assert breaker.record.revision == revision
    assert gate.lease("b", "c", now_ms=now_ms).granted == ["b"]


def test_the_deadline_told_is_that_of_the_probe_that_ends_first() -> None:
    _, gate, now_ms = half_open(probes=2)
    first = gate.lease("a", now_ms=now_ms).deadline_ms
    assert gate.lease("a", "b", now_ms=now_ms + 100).deadline_ms == first


def test_a_settled_probe_is_not_leased_again() -> None:
    _, gate, now_ms = half_open(probes=3)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    assert gate.lease("a", now_ms=now_ms).granted == []


def test_a_gate_that_knows_another_epoch_gets_no_probe_but_the_verdict() -> None:
    breaker, gate, now_ms = half_open()
    reply = gate.lease("a", epoch=breaker.record.epoch - 1, now_ms=now_ms)
    assert reply.granted == []
    assert reply.verdict == breaker.verdict()


def test_the_outcome_of_a_probe_of_an_older_epoch_does_not_count() -> None:
    breaker, gate, now_ms = half_open(probes=1)
    old = breaker.record.epoch
    gate.lease("a", now_ms=now_ms)
    breaker.advance(now_ms + 30_000)
    breaker.advance(now_ms + 31_000)
    assert breaker.record.state is HALF_OPEN
    gate.lease("a", now_ms=now_ms + 31_000)
    gate.report(probes={"a": SUCCESS}, epoch=old, now_ms=now_ms + 31_000)
    assert breaker.record.state is HALF_OPEN
    assert breaker.record.successes == 1


# Reports -----------------------------------------------------------------------------------------


def test_outcomes_of_an_older_epoch_are_totals_only() -> None:
    breaker, gate, now_ms = half_open(probes=1)
    old = breaker.record.epoch - 2
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    failures = breaker.record.failures
    gate.report("x" * 1_000, epoch=old, now_ms=now_ms)
    assert breaker.record.state is CLOSED
    assert breaker.record.failures == failures + 1_000
    assert breaker.view(NOW_MS).calls_in_window == 0


def test_outcomes_of_a_gate_that_knew_no_verdict_count() -> None:
    breaker = make(consecutive_failures=3)
    Gate(breaker).report("xxx", epoch=-1)
    assert breaker.record.state is OPEN


def test_a_repeated_report_changes_nothing() -> None:
    breaker = make()
    report = Gate(breaker).report(".xi")
    before = RECORD.dump_json(breaker.record)
    breaker.report(report, NOW_MS)
    assert RECORD.dump_json(breaker.record) == before


def test_the_same_number_of_two_gates_is_two_reports() -> None:
    breaker = make()
    Gate(breaker, "one").report(".")
    Gate(breaker, "two").report(".")
    assert breaker.record.successes == 2


def test_a_report_number_that_leaps_is_taken_calmly() -> None:
    reporter = Reporter("q", 0)
    assert reporter.is_new(1)
    assert reporter.is_new(10**15)
    assert not reporter.is_new(1)
    assert not reporter.is_new(10**15)
    assert reporter.is_new(10**15 - 1)
    assert reporter.mask < 2**32


@given(st.lists(st.integers(1, 120), max_size=80))
@settings(max_examples=200, deadline=None)
def test_is_new_agrees_with_a_set_within_its_memory(seqs: list[int]) -> None:
    reporter, seen = Reporter("q", 0), set[int]()
    for seq in seqs:
        too_old = bool(seen) and seq < max(seen) - 32
        assert reporter.is_new(seq) == (seq not in seen and not too_old)
        seen.add(seq)


@given(st.permutations(range(1, 33)), st.data())
@settings(max_examples=100, deadline=None)
def test_reports_in_any_order_each_count_once(order: list[int], data: st.DataObject) -> None:
    reporter = Reporter("q", 0)
    again = data.draw(st.lists(st.sampled_from(order)))
    assert sum(reporter.is_new(seq) for seq in [*order, *again]) == 32


def test_a_silent_gate_is_forgotten_when_another_reports() -> None:
    breaker = make()
    Gate(breaker, "silent").report(".")
    other = Gate(breaker, "other")
    other.report(".", now_ms=NOW_MS + REPORTER_TTL_MS)
    assert set(breaker.record.reporters) == {"silent", "other"}
    other.report(".", now_ms=NOW_MS + REPORTER_TTL_MS + 1)
    assert set(breaker.record.reporters) == {"other"}


def test_the_fleet_is_asked_to_report_four_times_a_second_at_most() -> None:
    breaker = make(window=TimeWindow(seconds=10))
    for nth in range(40):
        Gate(breaker, f"g{nth}").report()
    assert breaker.verdict().report_every_ms == 10_000


def test_while_all_is_well_a_gate_reports_a_few_times_a_window() -> None:
    for seconds, every_ms in ((2, 1_000), (20, 5_000), (3_600, 15_000)):
        breaker = make(window=TimeWindow(seconds=seconds))
        assert breaker.verdict().report_every_ms == every_ms
    adaptive = LimitPolicy(concurrency=ConcurrencyPolicy())
    breaker.configure(breaker.record.settings.model_copy(update={"limit": adaptive}), NOW_MS)
    assert breaker.verdict().report_every_ms == 2_000


# Policy, restore, storage ------------------------------------------------------------------------


def test_a_new_policy_keeps_the_window_and_the_row() -> None:
    breaker = make(failure_rate=0.5, min_calls=20)
    Gate(breaker).report(".xxx")
    revision = breaker.record.revision
    policy = BreakerPolicy(min_calls=50, window=TimeWindow(seconds=600))
    breaker.configure(BreakerSettings(policy=policy, source="listed"), NOW_MS + 1_000)
    view = breaker.view(NOW_MS)
    assert (view.calls_in_window, view.failures_in_window, view.consecutive_failures) == (4, 3, 3)
    assert (view.state, view.settings.policy, view.settings.source) == (CLOSED, policy, "listed")
    assert view.revision > revision


def test_a_stricter_policy_judges_the_window_at_once() -> None:
    breaker = make(failure_rate=0.5, min_calls=20)
    Gate(breaker).report(".xxx")
    breaker.configure(BreakerSettings(policy=BreakerPolicy(min_calls=4)), NOW_MS)
    assert breaker.record.state is OPEN


def test_fewer_probes_than_have_succeeded_close_it_at_once() -> None:
    breaker, gate, now_ms = half_open(probes=3)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    breaker.configure(BreakerSettings(policy=BreakerPolicy(probes=1, ramp_ms=0)), now_ms)
    assert breaker.record.state is CLOSED


def test_a_new_open_time_holds_from_the_next_opening_on() -> None:
    breaker = make(consecutive_failures=1, open_ms=1_000)
    Gate(breaker).report("x")
    breaker.configure(BreakerSettings(policy=BreakerPolicy(open_ms=60_000)), NOW_MS)
    assert breaker.next_deadline() == NOW_MS + 1_000


def test_a_restored_breaker_is_above_all_that_was_and_still_open() -> None:
    breaker = make(consecutive_failures=1, open_ms=10_000)
    gate = Gate(breaker)
    gate.report("x")
    epoch, revision = breaker.record.epoch, breaker.record.revision
    restored = Breaker.restore(breaker.record, 2, NOW_MS + 5_000)
    record = restored.record
    assert (record.state, record.until_ms) == (OPEN, NOW_MS + 10_000)
    assert record.epoch == 2 * EPOCHS_PER_INCARNATION > epoch
    assert record.revision == 2 * REVISIONS_PER_INCARNATION > revision
    restored.advance(NOW_MS + 10_000)
    assert record.state is HALF_OPEN


def test_a_breaker_restored_after_its_open_time_is_half_open() -> None:
    breaker = make(consecutive_failures=1, open_ms=1_000)
    Gate(breaker).report("x")
    restored = Breaker.restore(breaker.record, 2, NOW_MS + 5_000)
    assert restored.record.state is HALF_OPEN
    assert restored.record.epoch > 2 * EPOCHS_PER_INCARNATION


def test_a_restored_half_open_breaker_asks_for_new_probes() -> None:
    breaker, gate, now_ms = half_open(probes=2)
    gate.lease("a", "b", now_ms=now_ms)
    restored = Breaker.restore(breaker.record, 2, now_ms + 50_000)
    assert restored.record.state is HALF_OPEN
    assert restored.next_deadline() == now_ms + 50_000 + restored.record.policy.half_open_max_ms
    gate = Gate(restored, "gate-2")
    assert gate.lease("c", "d", now_ms=now_ms + 50_000).granted == ["c", "d"]


def test_a_probe_from_before_a_restore_says_nothing_of_one_leased_after_it() -> None:
    breaker, gate, now_ms = half_open(probes=1)
    gate.lease("a", now_ms=now_ms)
    old = breaker.record.epoch
    restored = Breaker.restore(breaker.record, 2, now_ms)
    gate.breaker = restored
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, epoch=old, now_ms=now_ms)
    assert restored.record.state is HALF_OPEN


def test_a_report_counted_before_a_restore_is_not_counted_again() -> None:
    breaker = make()
    report = Gate(breaker).report("...")
    restored = Breaker.restore(breaker.record, 2, NOW_MS + 1_000)
    restored.report(report, NOW_MS + 1_000)
    assert restored.record.successes == 3


def test_a_gate_silent_before_a_restore_is_forgotten() -> None:
    breaker = make()
    Gate(breaker).report("...")
    restored = Breaker.restore(breaker.record, 2, NOW_MS + REPORTER_TTL_MS + 1)
    assert restored.record.reporters == {}


def test_the_record_survives_json_in_every_state() -> None:
    breaker, gate, now_ms = half_open(probes=2)
    gate.lease("a", now_ms=now_ms)
    gate.report("..x", probes={"a": SUCCESS}, now_ms=now_ms)
    again = RECORD.validate_json(RECORD.dump_json(breaker.record))
    assert again == breaker.record


def test_what_it_keeps_of_its_past_is_bounded() -> None:
    breaker = make(consecutive_failures=1, open_ms=10, probe_deadline_ms=10, half_open_max_ms=10)
    gate = Gate(breaker)
    gate.report("x")
    for _ in range(2 * MAX_UNSAVED_KEPT):
        now_ms = breaker.next_deadline()
        assert now_ms is not None
        breaker.advance(now_ms)
        if breaker.record.state is HALF_OPEN:
            gate.lease("a", now_ms=now_ms)
    record = breaker.record
    assert len(record.transitions) == MAX_TRANSITIONS_KEPT
    assert len(record.unsaved) == MAX_UNSAVED_KEPT
    assert record.transitions[-1] == record.unsaved[-1]
    assert record.alerts_lost > 0


def test_epochs_of_transitions_rise_by_one() -> None:
    breaker, gate, now_ms = half_open(probes=1)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    steps = deque(breaker.record.transitions)
    assert [step.epoch - steps[0].epoch for step in steps] == [0, 1, 2]


def test_a_breaker_that_was_reset_takes_an_epoch_above_all_that_were() -> None:
    lost = make(consecutive_failures=1)
    for _ in range(3):
        Gate(lost, "other").report("x")
        lost.advance(lost.next_deadline() or 0)
    breaker = make(consecutive_failures=1)
    breaker.rise_above(lost.record.revision)
    assert breaker.record.epoch > lost.record.epoch
    assert breaker.record.revision >= breaker.record.epoch
    epoch = breaker.record.epoch
    breaker.rise_above(lost.record.revision)
    assert breaker.record.epoch == epoch
    # Also one that is restored later goes on above.
    assert Breaker.restore(breaker.record, 2, NOW_MS).record.epoch > epoch


def test_a_witness_is_remembered_for_the_window() -> None:
    breaker = make(window={"seconds": 3_600}, quorum=2, min_calls=4, failure_rate=0.5)
    one, other = Gate(breaker, "one"), Gate(breaker, "other")
    one.report("xx")
    later_ms = NOW_MS + REPORTER_TTL_MS + 60_000
    other.report("xx", now_ms=later_ms)
    assert breaker.record.state is OPEN
    assert "one" in breaker.record.reporters
    other.report(".", now_ms=NOW_MS + 3_600_001)
    assert "one" not in breaker.record.reporters
