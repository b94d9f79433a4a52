"""A breaker that one process uses alone decides as the one that many gates report to."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker import Breaker
from headgate.breaker.single import Pass, SingleBreaker
from headgate.model.breaker import CallOutcome, OutcomeBucket, ProbeOutcome, ProbeRequest, Report
from headgate.model.policy import BreakerPolicy, CountWindow, TimeWindow
from headgate.model.settings import BreakerSettings
from tests.unit.test_breaker import CLOSED, FAILURE, HALF_OPEN, IGNORED, NOW_MS, OPEN, SUCCESS

OUTCOMES = [SUCCESS, FAILURE, IGNORED]
SLOW_MS = 100


def begin(**policy: Any) -> Breaker:
    settings = BreakerSettings(policy=BreakerPolicy.model_validate(policy))
    return Breaker.begin("scanner", settings, 1, NOW_MS)


class Reporting:
    """The same, driven by messages: one gate, which reports each outcome at once."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.seq = 0
        self.credit = 0
        self.probes = 0

    def admit(self, now_ms: int) -> Pass | None:
        self.breaker.advance(now_ms)
        verdict = self.breaker.verdict()
        if verdict.allow == "all":
            return verdict.epoch
        if verdict.allow == "probes":
            self.probes += 1
            id = f"{verdict.epoch}:{self.probes}"
            request = ProbeRequest(gate="g", epoch=verdict.epoch, ids=[id])
            return id if self.breaker.lease_probes(request, now_ms).granted else None
        return None

    def settle(self, given: Pass, outcome: CallOutcome, now_ms: int, duration_ms: int) -> None:
        self.seq += 1
        slow_ms = self.breaker.record.policy.slow_call_ms
        judged = outcome is not IGNORED
        slow = judged and slow_ms is not None and duration_ms >= slow_ms
        buckets, probes = [], []
        if isinstance(given, str):
            epoch = int(given.split(":")[0])
            probes = [ProbeOutcome(id=given, epoch=epoch, outcome=outcome, duration_ms=duration_ms)]
        else:
            bucket = OutcomeBucket(
                at_ms=now_ms,
                epoch=given,
                successes=int(outcome is SUCCESS),
                failures=int(outcome is FAILURE),
                ignored=int(outcome is IGNORED),
                trailing_failures=int(outcome is FAILURE),
                slow=int(slow),
            )
            buckets = [bucket]
        report = Report(gate="g", seq=self.seq, task_queue="q", buckets=buckets, probes=probes)
        self.breaker.report(report, now_ms)


@dataclass(frozen=True)
class Event:
    pause_ms: int
    settles: bool
    outcome: CallOutcome
    slow: bool
    pick: int


def event() -> st.SearchStrategy[Event]:
    return st.builds(
        Event,
        st.sampled_from([0, 0, 1, 50, 300, 1_000, 2_500]),
        st.booleans(),
        st.sampled_from(OUTCOMES),
        st.booleans(),
        st.integers(0, 100),
    )


def policies() -> st.SearchStrategy[BreakerPolicy]:
    return st.builds(
        BreakerPolicy,
        window=st.sampled_from(
            [TimeWindow(seconds=3), TimeWindow(seconds=60), CountWindow(kind="count", size=4)]
        ),
        min_calls=st.integers(1, 6),
        failure_rate=st.sampled_from([None, 0.3, 0.5, 1.0]),
        consecutive_failures=st.sampled_from([None, 1, 3]),
        slow_call_ms=st.sampled_from([None, SLOW_MS]),
        slow_call_rate=st.sampled_from([0.4, 1.0]),
        open_ms=st.sampled_from([10, 1_000]),
        probes=st.integers(1, 3),
        probe_deadline_ms=st.just(700),
        half_open_max_ms=st.just(1_500),
        close_at=st.sampled_from([0.5, 1.0]),
        ramp_ms=st.just(0),
    )


@given(policy=policies(), events=st.lists(event(), max_size=80))
@settings(max_examples=300, deadline=None)
def test_the_same_calls_lead_to_the_same_transitions(
    policy: BreakerPolicy, events: list[Event]
) -> None:
    one = Breaker.begin("scanner", BreakerSettings(policy=policy), 1, NOW_MS)
    two = Breaker.begin("scanner", BreakerSettings(policy=policy), 1, NOW_MS)
    single, many = SingleBreaker(one), Reporting(two)
    flying: list[tuple[Pass, Pass]] = []
    now_ms = NOW_MS
    for step in events:
        now_ms += step.pause_ms
        if not step.settles or not flying:
            passes = single.admit(now_ms), many.admit(now_ms)
            assert (passes[0] is None) == (passes[1] is None)
            if passes[0] is not None and passes[1] is not None:
                flying.append((passes[0], passes[1]))
        else:
            given, also = flying.pop(step.pick % len(flying))
            duration_ms = SLOW_MS if step.slow else SLOW_MS - 1
            single.settle(given, step.outcome, now_ms, duration_ms)
            many.settle(also, step.outcome, now_ms, duration_ms)
        assert one.record.transitions == two.record.transitions
        assert one.record.consecutive == two.record.consecutive
        for name in ("successes", "failures", "ignored", "slow"):
            assert getattr(one.record, name) == getattr(two.record, name)
        for breaker in (one, two):
            breaker.record.window.advance(now_ms)
        assert one.record.window == two.record.window
        assert one.next_deadline() == two.next_deadline()


@given(
    policy=policies(),
    events=st.lists(event(), max_size=80),
    ramp_ms=st.sampled_from([1_000, 5_000]),
)
@settings(max_examples=150, deadline=None)
def test_along_a_ramp_the_same_outcomes_lead_to_the_same_transitions(
    policy: BreakerPolicy, events: list[Event], ramp_ms: int
) -> None:
    policy = policy.model_copy(update={"ramp_ms": ramp_ms})
    one = Breaker.begin("scanner", BreakerSettings(policy=policy), 1, NOW_MS)
    two = Breaker.begin("scanner", BreakerSettings(policy=policy), 1, NOW_MS)
    single, many = SingleBreaker(one), Reporting(two)
    now_ms = NOW_MS
    for step in events:
        now_ms += step.pause_ms
        given = single.admit(now_ms)
        also: Pass | None = many.admit(now_ms)
        if given is not None:
            # Which calls a ramp lets pass is the gate's to decide, so the other one is told.
            also = given if isinstance(given, int) else also
            assert also is not None
            single.settle(given, step.outcome, now_ms, SLOW_MS if step.slow else 0)
            many.settle(also, step.outcome, now_ms, SLOW_MS if step.slow else 0)
        assert one.record.transitions == two.record.transitions


@pytest.mark.parametrize("ramp_start", [0.1, 0.07, 1 / 3, 1.0])
def test_the_first_call_of_a_ramp_passes_and_then_its_share(ramp_start: float) -> None:
    breaker = begin(probes=1, consecutive_failures=1, ramp_start=ramp_start, ramp_ms=10_000)
    single = SingleBreaker(breaker)
    given = single.admit(NOW_MS)
    assert given is not None
    single.settle(given, FAILURE, NOW_MS)
    probe = single.admit(NOW_MS + 30_000)
    assert isinstance(probe, str)
    single.settle(probe, SUCCESS, NOW_MS + 30_000)
    assert single.admit(NOW_MS + 30_000) is not None
    passed = sum(single.admit(NOW_MS + 30_000 + at_ms) is not None for at_ms in range(1, 10_000))
    assert passed == pytest.approx(10_000 * (1 + ramp_start) / 2, rel=0.01)


def test_a_fast_call_that_completes_the_count_is_judged_for_the_slow_ones_before_it() -> None:
    breaker = begin(slow_call_ms=SLOW_MS, slow_call_rate=0.5, min_calls=4, failure_rate=None)
    single = SingleBreaker(breaker)
    for duration_ms in (SLOW_MS, SLOW_MS, 0):
        given = single.admit(NOW_MS)
        assert given is not None
        single.settle(given, SUCCESS, NOW_MS, duration_ms)
    assert breaker.record.state is CLOSED
    given = single.admit(NOW_MS)
    assert given is not None
    single.settle(given, SUCCESS, NOW_MS, 0)
    assert breaker.record.state is OPEN


def test_what_is_not_let_pass_is_counted() -> None:
    breaker = begin(consecutive_failures=1, probes=2)
    single = SingleBreaker(breaker)
    given = single.admit(NOW_MS)
    assert given is not None
    single.settle(given, FAILURE, NOW_MS)
    assert [single.admit(NOW_MS + 1) for _ in range(3)] == [None] * 3
    leases = [single.admit(NOW_MS + 30_000) for _ in range(5)]
    assert breaker.record.state is HALF_OPEN
    assert sum(lease is not None for lease in leases) == 2
    assert breaker.record.rejected == 6
