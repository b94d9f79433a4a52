"""How long OPEN lasts: base, factor, cap, jitter, decay, and what the downstream asks for."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.breaker import Breaker
from headgate.breaker.operator import obey
from headgate.model.breaker import BreakerCommand, ProbeOutcome, Report
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from tests.unit.test_breaker import CLOSED, FAILURE, HALF_OPEN, NOW_MS, OPEN, SUCCESS, Gate


def make(chance: float = 0.5, **policy: Any) -> tuple[Breaker, Gate]:
    """Return a breaker that opens at the first failure, and a gate."""
    plain = {"consecutive_failures": 1, "open_ms": 1_000, "probes": 1, "ramp_ms": 0}
    breaker = Breaker.begin(
        "scanner",
        BreakerSettings(policy=BreakerPolicy.model_validate({**plain, **policy})),
        1,
        NOW_MS,
        lambda: chance,
    )
    return breaker, Gate(breaker)


def probe(breaker: Breaker, gate: Gate, good: bool) -> int:
    """Wait for HALF_OPEN, let its one probe end, and return the time."""
    now_ms = breaker.next_deadline()
    assert now_ms is not None
    breaker.advance(now_ms)
    assert breaker.record.state is HALF_OPEN
    gate.lease("p", now_ms=now_ms)
    gate.report(probes={"p": SUCCESS if good else FAILURE}, now_ms=now_ms)
    return now_ms


def test_it_grows_with_each_reopening_up_to_the_cap() -> None:
    breaker, gate = make(open_factor=3.0, open_max_ms=20_000)
    gate.report("x")
    times = [breaker.record.open_time_ms]
    for _ in range(5):
        probe(breaker, gate, good=False)
        times.append(breaker.record.open_time_ms)
    assert times == [1_000, 3_000, 9_000, 20_000, 20_000, 20_000]


def test_it_reopens_a_thousand_times_without_overflow() -> None:
    breaker, gate = make(open_factor=100.0)
    gate.report("x")
    for _ in range(1_000):
        probe(breaker, gate, good=False)
    assert breaker.record.open_time_ms == 600_000


@pytest.mark.parametrize(("chance", "open_ms"), [(0.0, 8_000), (0.5, 10_000), (1.0, 12_000)])
def test_jitter_varies_it_up_and_down(chance: float, open_ms: int) -> None:
    breaker, gate = make(chance, open_ms=10_000, open_jitter=0.2)
    gate.report("x")
    assert breaker.record.until_ms == NOW_MS + open_ms


@given(
    chance=st.floats(0, 1),
    open_ms=st.integers(10, 100_000),
    jitter=st.floats(0, 0.5),
    steps=st.integers(0, 5),
)
@settings(max_examples=200, deadline=None)
def test_jitter_stays_within_its_share_and_below_the_cap(
    chance: float, open_ms: int, jitter: float, steps: int
) -> None:
    breaker, gate = make(chance, open_ms=open_ms, open_jitter=jitter, open_max_ms=200_000)
    gate.report("x")
    for _ in range(steps):
        probe(breaker, gate, good=False)
    plain = min(200_000, open_ms * 2**steps)
    got = breaker.record.open_time_ms
    assert max(10, round(plain * (1 - jitter)) - 1) <= got <= min(200_000, plain * (1 + jitter) + 1)


def test_chance_is_asked_once_per_opening_and_never_else() -> None:
    drawn: list[float] = []

    def chance() -> float:
        drawn.append(0.5)
        return 0.5

    settings = BreakerSettings(policy=BreakerPolicy(consecutive_failures=1, probes=1))
    breaker = Breaker.begin("scanner", settings, 1, NOW_MS, chance)
    gate = Gate(breaker)
    gate.report("....")
    assert drawn == []
    gate.report("x")
    breaker.verdict()
    breaker.view(NOW_MS)
    assert len(drawn) == 1
    probe(breaker, gate, good=False)
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("healthy_ms", "next_ms"), [(0, 8_000), (3_999, 8_000), (4_000, 4_000), (8_000, 2_000)]
)
def test_it_takes_a_step_back_for_each_stretch_of_health(healthy_ms: int, next_ms: int) -> None:
    breaker, gate = make()
    gate.report("x")
    probe(breaker, gate, good=False)
    probe(breaker, gate, good=False)
    assert breaker.record.open_time_ms == 4_000
    now_ms = probe(breaker, gate, good=True)
    assert breaker.record.state is CLOSED
    gate.report("x", now_ms=now_ms + healthy_ms)
    assert breaker.record.open_time_ms == next_ms


def test_after_long_health_it_is_as_if_it_had_never_opened() -> None:
    breaker, gate = make()
    gate.report("x")
    for _ in range(8):
        probe(breaker, gate, good=False)
    now_ms = probe(breaker, gate, good=True)
    gate.report("x", now_ms=now_ms + 86_400_000)
    assert breaker.record.open_time_ms == 1_000
    assert breaker.record.reopenings == 1


def test_a_reset_forgets_how_often_it_has_opened() -> None:
    breaker, gate = make()
    gate.report("x", retry_after_ms=500_000)
    command = BreakerCommand(id="1", action="reset", actor="ann", reason="replaced it")
    obey(breaker, command, NOW_MS)
    gate.report("x")
    assert breaker.record.open_time_ms == 1_000


# Retry-After -------------------------------------------------------------------------------------


def test_a_downstream_may_ask_for_a_longer_time() -> None:
    breaker, gate = make()
    gate.report("x", retry_after_ms=45_000)
    assert breaker.record.until_ms == NOW_MS + 45_000


def test_a_downstream_may_not_ask_for_a_shorter_time() -> None:
    breaker, gate = make()
    gate.report("x", retry_after_ms=5)
    assert breaker.record.until_ms == NOW_MS + 1_000


def test_what_a_downstream_asks_for_is_capped() -> None:
    breaker, gate = make(open_max_ms=60_000)
    gate.report("x", retry_after_ms=86_400_000)
    assert breaker.record.until_ms == NOW_MS + 60_000


def test_the_time_asked_for_counts_from_when_it_was_said() -> None:
    breaker, gate = make()
    gate.report("x", retry_after_ms=45_000, at_ms=NOW_MS - 40_000)
    assert breaker.record.until_ms == NOW_MS + 5_000


def test_the_time_asked_for_is_not_forgotten_until_it_opens() -> None:
    breaker, gate = make(consecutive_failures=2)
    gate.report("x", retry_after_ms=45_000)
    gate.report("x", now_ms=NOW_MS + 10_000)
    assert breaker.record.state is OPEN
    assert breaker.record.until_ms == NOW_MS + 45_000


def test_what_was_asked_for_under_an_older_verdict_does_not_count() -> None:
    breaker, gate = make(consecutive_failures=2)
    gate.report("x", retry_after_ms=45_000, epoch=breaker.record.epoch - 1)
    gate.report("xx")
    assert breaker.record.until_ms == NOW_MS + 1_000


def test_a_call_that_was_under_way_when_it_opened_lengthens_open() -> None:
    breaker, gate = make()
    before = breaker.record.epoch
    gate.report("x")
    breaker.record.reporters[gate.id].pushed_epoch = breaker.record.epoch
    gate.report("x", retry_after_ms=45_000, epoch=before, now_ms=NOW_MS + 500)
    assert breaker.record.until_ms == breaker.verdict().until_ms == NOW_MS + 45_500
    assert breaker.record.open_time_ms == 45_500
    assert breaker.record.window.calls == 1
    # Every gate is told of the same verdict again, because of its end.
    assert breaker.record.reporters[gate.id].pushed_epoch != breaker.record.epoch


def test_what_is_asked_for_while_open_neither_shortens_it_nor_exceeds_the_cap() -> None:
    breaker, gate = make(open_max_ms=60_000)
    before = breaker.record.epoch
    gate.report("x", retry_after_ms=30_000)
    gate.report("x", retry_after_ms=10, epoch=before)
    assert breaker.record.until_ms == NOW_MS + 30_000
    gate.report("x", retry_after_ms=86_400_000, epoch=before, now_ms=NOW_MS + 20_000)
    assert breaker.record.until_ms == NOW_MS + 60_000


def test_another_probe_that_comes_late_lengthens_open_as_well() -> None:
    breaker, gate = make(probes=2, close_at=1.0)
    gate.report("x")
    breaker.advance(NOW_MS + 1_000)
    epoch = breaker.record.epoch
    gate.lease("p", "q", now_ms=NOW_MS + 1_000)
    gate.report(probes={"p": FAILURE}, now_ms=NOW_MS + 1_000)
    assert breaker.record.state is OPEN
    late = ProbeOutcome(id="q", epoch=epoch, outcome=FAILURE, retry_after_ms=50_000)
    report = Report(gate=gate.id, seq=99, task_queue="q", probes=[late])
    breaker.report(report, NOW_MS + 1_200)
    assert breaker.record.until_ms == NOW_MS + 51_200
