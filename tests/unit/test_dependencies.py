"""While a dependency is open, failures here are its failures."""

import itertools
from typing import Any

import pytest

from headgate.breaker import Breaker
from headgate.breaker.machine import MAX_PROBE_ANSWERS
from headgate.model.breaker import BreakerState, DependencyNews
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from tests.unit.test_breaker import (
    CLOSED,
    FAILURE,
    HALF_OPEN,
    NOW_MS,
    OPEN,
    RECORD,
    SUCCESS,
    Gate,
)


def make(depends_on: tuple[str, ...] = ("store",), **policy: Any) -> tuple[Breaker, Gate]:
    policy = {"consecutive_failures": 3, "min_calls": 4, "slow_call_ms": 1, **policy}
    settings = BreakerSettings(
        policy=BreakerPolicy.model_validate(policy), depends_on=list(depends_on)
    )
    breaker = Breaker.begin("scanner", settings, 1, NOW_MS)
    return breaker, Gate(breaker)


def news(is_open: bool, epoch: int = 1, downstream: str = "store") -> DependencyNews:
    return DependencyNews(downstream=downstream, is_open=is_open, epoch=epoch)


def test_failures_are_excused_while_a_dependency_is_open() -> None:
    breaker, gate = make()
    breaker.hear(news(is_open=True))
    gate.report("x" * 100)
    view = breaker.view(NOW_MS)
    assert (view.state, view.excused, view.failures) == (CLOSED, 100, 100)
    assert (view.failures_in_window, view.consecutive_failures) == (0, 0)
    assert view.open_dependencies == ["store"]


def test_failures_count_again_when_the_dependency_is_well() -> None:
    breaker, gate = make()
    breaker.hear(news(is_open=True, epoch=1))
    breaker.hear(news(is_open=False, epoch=2))
    gate.report("xxx")
    assert breaker.record.state is OPEN
    assert breaker.record.excused == 0


def test_successes_and_slow_calls_are_judged_all_the_same() -> None:
    breaker, gate = make(min_calls=50)
    gate.report("xx")
    breaker.hear(news(is_open=True))
    gate.report("..sxS")
    view = breaker.view(NOW_MS)
    assert (view.calls_in_window, view.failures_in_window, view.slow_in_window) == (5, 2, 2)
    assert view.consecutive_failures == 0
    assert view.excused == 2


def test_one_open_dependency_of_several_is_enough() -> None:
    breaker, gate = make(("store", "mail"))
    breaker.hear(news(is_open=True, downstream="mail"))
    breaker.hear(news(is_open=False, downstream="store"))
    gate.report("xxx")
    assert breaker.record.state is CLOSED


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_newest_news_holds_in_whatever_order_it_comes(order: tuple[int, ...]) -> None:
    told = [news(is_open=bool(epoch % 2), epoch=epoch) for epoch in range(1, 5)]
    breaker, _ = make()
    for nth in order:
        breaker.hear(told[nth])
        breaker.hear(told[nth])
        newest = max(order[: order.index(nth) + 1])
        assert bool(breaker.record.open_dependencies) == told[newest].is_open
    assert breaker.record.open_dependencies == {}


def test_older_news_and_repeats_change_nothing() -> None:
    breaker, _ = make()
    breaker.hear(news(is_open=False, epoch=5))
    before = RECORD.dump_json(breaker.record)
    for told in (news(is_open=True, epoch=4), news(is_open=False, epoch=5), news(True, -7)):
        breaker.hear(told)
    assert RECORD.dump_json(breaker.record) == before


def test_news_of_others_is_left_aside() -> None:
    breaker, _ = make()
    before = RECORD.dump_json(breaker.record)
    breaker.hear(news(is_open=True, downstream="stranger"))
    assert RECORD.dump_json(breaker.record) == before


def test_a_dependency_that_is_removed_excuses_nothing_any_more() -> None:
    breaker, gate = make(("store", "mail"))
    breaker.hear(news(is_open=True))
    settings = breaker.record.settings.model_copy(update={"depends_on": ["mail"]})
    breaker.configure(settings, NOW_MS)
    assert breaker.record.open_dependencies == {}
    gate.report("xxx")
    assert breaker.record.state is OPEN


def test_a_dependency_that_is_named_again_is_heard_anew() -> None:
    breaker, _ = make()
    breaker.hear(news(is_open=True, epoch=7))
    settings = breaker.record.settings
    breaker.configure(settings.model_copy(update={"depends_on": []}), NOW_MS)
    breaker.configure(settings, NOW_MS)
    breaker.hear(news(is_open=True, epoch=7))
    assert breaker.record.open_dependencies == {"store": 7}


def test_it_keeps_calls_away_from_opening_to_the_end_of_half_open() -> None:
    breaker, gate = make()
    assert not breaker.keeps_calls_away
    gate.report("xxx")
    assert breaker.keeps_calls_away
    breaker.advance(NOW_MS + 30_000)
    assert breaker.keeps_calls_away
    breaker.advance(NOW_MS + 150_000)
    assert not breaker.keeps_calls_away


# HALF_OPEN ---------------------------------------------------------------------------------------


def probing() -> tuple[Breaker, Gate, int]:
    """Return a half-open breaker whose dependency is open, a gate, and the time."""
    breaker, gate = make(probes=1, probe_deadline_ms=10_000, half_open_max_ms=60_000)
    gate.report("xxx")
    breaker.hear(news(is_open=True))
    now_ms = NOW_MS + 30_000
    breaker.advance(now_ms)
    assert breaker.record.state is HALF_OPEN
    assert gate.lease("a", now_ms=now_ms).granted == ["a"]
    return breaker, gate, now_ms


def test_a_probe_that_fails_while_a_dependency_is_open_makes_room_for_another() -> None:
    breaker, gate, now_ms = probing()
    gate.report(probes={"a": FAILURE}, now_ms=now_ms)
    assert (breaker.record.state, breaker.record.excused) == (HALF_OPEN, 1)
    assert gate.lease("a", now_ms=now_ms).granted == []
    assert gate.lease("b", now_ms=now_ms).granted == ["b"]
    gate.report(probes={"b": SUCCESS}, now_ms=now_ms)
    assert breaker.record.state is BreakerState.RAMP


def test_so_does_a_probe_that_does_not_come_back() -> None:
    breaker, gate, now_ms = probing()
    breaker.advance(now_ms + 10_000)
    assert (breaker.record.state, breaker.record.probe_failures) == (HALF_OPEN, 0)
    assert gate.lease("b", now_ms=now_ms + 10_000).granted == ["b"]


def test_half_open_ends_by_its_deadline_while_a_dependency_is_open() -> None:
    breaker, gate, now_ms = probing()
    for nth in range(1, 7):
        breaker.advance(now_ms + nth * 9_999)
        gate.lease(f"p{nth}", now_ms=now_ms + nth * 9_999)
    assert breaker.record.state is HALF_OPEN
    breaker.advance(now_ms + 60_000)
    step = breaker.record.transitions[-1]
    assert (step.target, step.rule) == (BreakerState.RAMP, "deadline")
    assert breaker.record.wary


def test_a_probe_that_fails_once_the_dependency_is_well_reopens() -> None:
    breaker, gate, now_ms = probing()
    breaker.hear(news(is_open=False, epoch=2))
    gate.report(probes={"a": FAILURE}, now_ms=now_ms)
    assert breaker.record.state is OPEN


def test_ids_of_excused_probes_do_not_pile_up() -> None:
    breaker, gate, now_ms = probing()
    gate.report(probes={"a": FAILURE}, now_ms=now_ms)
    for nth in range(MAX_PROBE_ANSWERS + 10):
        gate.lease(f"p{nth}", now_ms=now_ms)
        gate.report(probes={f"p{nth}": FAILURE}, now_ms=now_ms)
    assert len(breaker.record.probe_answers) == MAX_PROBE_ANSWERS


def test_a_dependency_that_nobody_governs_any_more_excuses_nothing() -> None:
    breaker, gate = make()
    breaker.hear(news(is_open=True))
    breaker.miss("store")
    before = RECORD.dump_json(breaker.record)
    breaker.miss("store")
    assert RECORD.dump_json(breaker.record) == before
    gate.report("xxx")
    assert breaker.record.state is OPEN
