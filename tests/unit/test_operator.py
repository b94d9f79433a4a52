"""What people may do to a breaker, from every state and back."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from headgate.breaker import Breaker
from headgate.breaker.operator import MAX_COMMANDS_KEPT, obey
from headgate.model.breaker import BreakerCommand, BreakerState
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from headgate.view.standing import breaker_standing
from tests.unit.test_breaker import (
    CLOSED,
    FAILURE,
    HALF_OPEN,
    NOW_MS,
    OPEN,
    RECORD,
    SUCCESS,
    Gate,
    half_open,
    make,
)

RAMP = BreakerState.RAMP
SHADOW = BreakerState.SHADOW
FORCED_OPEN, FORCED_CLOSED = BreakerState.FORCED_OPEN, BreakerState.FORCED_CLOSED
MODES = [
    ("force_open", FORCED_OPEN, "none"),
    ("force_closed", FORCED_CLOSED, "all"),
    ("shadow", SHADOW, "all"),
]
ids = itertools.count()


def command(action: str, for_ms: int | None = None, id: str | None = None) -> BreakerCommand:
    return BreakerCommand.model_validate(
        {
            "id": id or f"command-{next(ids)}",
            "action": action,
            "actor": "ann",
            "reason": "deploy of the scanner",
            "for_ms": for_ms,
        }
    )


def test_since_when_it_is_as_it_is_counts_from_the_end_of_what_was_set() -> None:
    breaker = closed()
    obey(breaker, command("force_open"), NOW_MS + 1_000)
    assert breaker.view(NOW_MS + 1_000).in_force_since_ms == NOW_MS + 1_000
    # Its own state has not changed since the beginning, and what is in force has.
    obey(breaker, command("resume"), NOW_MS + 5_000)
    view = breaker.view(NOW_MS + 9_000)
    assert (view.since_ms, view.in_force_since_ms) == (NOW_MS, NOW_MS + 5_000)
    assert breaker_standing(view, NOW_MS + 9_000, NOW_MS + 9_000).since_ms == NOW_MS + 5_000
    Gate(breaker).report("xxx", now_ms=NOW_MS + 9_000)
    assert breaker.view(NOW_MS + 9_000).in_force_since_ms == NOW_MS + 9_000


def closed() -> Breaker:
    return make(consecutive_failures=3)


def opened() -> Breaker:
    breaker = make(consecutive_failures=1)
    Gate(breaker).report("x")
    return breaker


def ramping() -> Breaker:
    breaker, gate, now_ms = half_open(probes=1, ramp_ms=60_000)
    gate.lease("a", now_ms=now_ms)
    gate.report(probes={"a": SUCCESS}, now_ms=now_ms)
    return breaker


STATES: list[tuple[BreakerState, Callable[[], Breaker]]] = [
    (CLOSED, closed),
    (OPEN, opened),
    (HALF_OPEN, lambda: half_open()[0]),
    (RAMP, ramping),
]
LATER_MS = NOW_MS + 2_000


@pytest.mark.parametrize(("action", "mode", "allow"), MODES)
@pytest.mark.parametrize(("state", "begin"), STATES)
def test_it_is_set_over_every_state_and_taken_back(
    action: str, mode: BreakerState, allow: str, state: BreakerState, begin: Callable[[], Breaker]
) -> None:
    breaker = begin()
    assert breaker.record.state is state
    own = (breaker.record.state, breaker.record.since_ms, breaker.record.until_ms)

    obey(breaker, command(action), LATER_MS)
    verdict = breaker.verdict()
    assert (verdict.state, verdict.allow) == (mode, allow)
    assert verdict.reason == "set by ann: deploy of the scanner"
    assert (verdict.since_ms, verdict.until_ms) == (LATER_MS, None)
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.rule) == (state, mode, "operator")
    assert (step.actor, step.enforced, step.epoch) == ("ann", True, breaker.record.epoch)
    assert breaker.view(LATER_MS).own_state is state

    obey(breaker, command("resume"), LATER_MS)
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.actor) == (mode, state, "ann")
    assert breaker.record.override is None
    assert (breaker.record.state, breaker.record.since_ms, breaker.record.until_ms) == own


@pytest.mark.parametrize(("action", "mode", "allow"), MODES)
def test_it_ends_by_itself_when_its_time_is_over(
    action: str, mode: BreakerState, allow: str
) -> None:
    breaker = closed()
    obey(breaker, command(action, for_ms=5_000), NOW_MS)
    assert breaker.next_deadline() == breaker.verdict().until_ms == NOW_MS + 5_000
    breaker.advance(NOW_MS + 4_999)
    assert breaker.verdict().state is mode
    breaker.advance(NOW_MS + 5_000)
    assert breaker.verdict().state is CLOSED
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.rule) == (mode, CLOSED, "expiry")
    assert step.reason == "the time set by ann is over"
    assert (step.actor, step.enforced) == (None, True)


def test_one_may_be_set_over_another() -> None:
    breaker = opened()
    obey(breaker, command("shadow", for_ms=5_000), NOW_MS)
    obey(breaker, command("force_open"), NOW_MS)
    step = breaker.record.transitions[-1]
    assert (step.source, step.target) == (SHADOW, FORCED_OPEN)
    assert breaker.verdict().until_ms is None


def test_a_breaker_that_expires_is_what_it_would_have_been() -> None:
    breaker = opened()
    obey(breaker, command("force_closed", for_ms=31_000), NOW_MS)
    breaker.advance(NOW_MS + 30_000)
    assert (breaker.record.state, breaker.verdict().state) == (HALF_OPEN, FORCED_CLOSED)
    breaker.advance(NOW_MS + 31_000)
    assert breaker.verdict().allow == "probes"
    assert breaker.verdict().until_ms == NOW_MS + 150_000


def test_an_override_and_the_open_time_may_end_at_once() -> None:
    breaker = opened()
    obey(breaker, command("force_open", for_ms=30_000), NOW_MS)
    breaker.advance(NOW_MS + 30_000)
    assert breaker.verdict().state is HALF_OPEN
    assert [step.target for step in breaker.record.transitions][-2:] == [OPEN, HALF_OPEN]
    deadline = breaker.next_deadline()
    assert deadline is not None and deadline > NOW_MS + 30_000


def test_resume_of_what_is_not_set_changes_no_verdict() -> None:
    breaker = opened()
    before = breaker.verdict()
    obey(breaker, command("resume"), NOW_MS)
    assert breaker.verdict() == before


@pytest.mark.parametrize("override", [None, "force_open", "force_closed", "shadow"])
@pytest.mark.parametrize(("state", "begin"), STATES)
def test_a_reset_closes_and_forgets(
    override: str | None, state: BreakerState, begin: Callable[[], Breaker]
) -> None:
    breaker = begin()
    Gate(breaker, "other").report("x.s")
    if override is not None:
        obey(breaker, command(override), LATER_MS)
    source = breaker.record.effective
    obey(breaker, command("reset"), LATER_MS)
    view = breaker.view(LATER_MS)
    assert (view.state, view.own_state, view.override) == (CLOSED, CLOSED, None)
    assert (view.calls_in_window, view.consecutive_failures, view.reopenings) == (0, 0, 0)
    assert (view.probes_in_flight, view.until_ms, breaker.next_deadline()) == (0, None, None)
    assert view.reason == "reset by ann: deploy of the scanner"
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.actor) == (source, CLOSED, "ann")
    assert view.failures >= 1


@pytest.mark.parametrize("action", ["force_open", "force_closed", "shadow", "resume", "reset"])
def test_a_repeat_of_a_command_changes_nothing(action: str) -> None:
    breaker = opened()
    first = command(action, id="once")
    obey(breaker, first, NOW_MS)
    obey(breaker, command("shadow"), NOW_MS)
    before = RECORD.dump_json(breaker.record)
    obey(breaker, first, NOW_MS)
    assert RECORD.dump_json(breaker.record) == before


def test_the_commands_remembered_are_bounded() -> None:
    breaker = closed()
    for _ in range(MAX_COMMANDS_KEPT + 20):
        obey(breaker, command("shadow"), NOW_MS)
    assert len(breaker.record.commands) == MAX_COMMANDS_KEPT


# What goes on underneath -------------------------------------------------------------------------


def test_a_shadow_records_what_it_would_have_done_and_alerts_nobody() -> None:
    breaker = make(consecutive_failures=3, open_ms=1_000, probes=2, ramp_ms=5_000)
    gate = Gate(breaker)
    obey(breaker, command("shadow"), NOW_MS)
    gate.report("xxx")
    assert breaker.record.state is OPEN
    breaker.advance(NOW_MS + 1_000)
    gate.report(".", now_ms=NOW_MS + 1_000)
    assert breaker.record.state is HALF_OPEN
    gate.report("...", now_ms=NOW_MS + 1_001)
    assert breaker.record.state is RAMP
    breaker.advance(NOW_MS + 6_001)
    steps = breaker.record.transitions
    assert [step.target for step in steps] == [SHADOW, OPEN, HALF_OPEN, RAMP, CLOSED]
    assert [step.enforced for step in steps] == [True, False, False, False, False]
    assert breaker.record.alerts == []
    assert (breaker.verdict().state, breaker.verdict().allow) == (SHADOW, "all")
    assert breaker.verdict().epoch == steps[-1].epoch


def test_a_shadow_reopens_when_the_first_calls_fail() -> None:
    breaker, gate, now_ms = half_open(probes=3)
    obey(breaker, command("shadow"), now_ms)
    gate.report("..x", now_ms=now_ms)
    assert breaker.record.state is OPEN
    assert not breaker.record.transitions[-1].enforced


@pytest.mark.parametrize("action", ["force_open", "force_closed", "shadow"])
def test_no_override_leases_probes(action: str) -> None:
    breaker, gate, now_ms = half_open()
    obey(breaker, command(action), now_ms)
    assert gate.lease("a", now_ms=now_ms).granted == []


def test_a_policy_may_change_under_an_override() -> None:
    breaker = closed()
    obey(breaker, command("force_closed"), NOW_MS)
    Gate(breaker).report("x")
    policy = BreakerPolicy(consecutive_failures=1)
    breaker.configure(BreakerSettings(policy=policy), NOW_MS)
    assert (breaker.record.state, breaker.verdict().state) == (OPEN, FORCED_CLOSED)
    assert breaker.verdict().consecutive_failures is None


def test_fewer_probes_than_are_in_flight_do_not_count_backwards() -> None:
    breaker, gate, now_ms = half_open(probes=3)
    gate.lease("a", "b", "c", now_ms=now_ms)
    obey(breaker, command("shadow"), now_ms)
    breaker.configure(BreakerSettings(policy=BreakerPolicy(probes=1, ramp_ms=0)), now_ms)
    gate.report("xx.", now_ms=now_ms)
    record = breaker.record
    assert (record.probe_successes, record.probe_failures) == (0, 0)


@pytest.mark.parametrize(("outcome", "state"), [(SUCCESS, CLOSED), (FAILURE, OPEN)])
@pytest.mark.parametrize("back", [False, True])
def test_a_probe_in_flight_counts_though_people_set_something_meanwhile(
    outcome: Any, state: BreakerState, back: bool
) -> None:
    breaker, gate, now_ms = half_open(probes=1)
    gate.lease("a", now_ms=now_ms)
    epoch = breaker.record.epoch
    obey(breaker, command("shadow"), now_ms)
    if back:
        obey(breaker, command("resume"), now_ms)
    gate.report(probes={"a": outcome}, epoch=epoch, now_ms=now_ms + 10)
    assert breaker.record.state is state


def test_an_override_survives_json_and_a_restore() -> None:
    for _, begin in STATES:
        for action, mode, _ in MODES:
            breaker = begin()
            obey(breaker, command(action, for_ms=50_000), LATER_MS)
            again = RECORD.validate_json(RECORD.dump_json(breaker.record))
            assert again == breaker.record
            assert RECORD.dump_json(again) == RECORD.dump_json(breaker.record)
            restored = Breaker.restore(again, 2, LATER_MS + 1_000)
            assert restored.verdict().state is mode
            restored.advance(LATER_MS + 50_000)
            assert restored.record.override is None


# Throttle ----------------------------------------------------------------------------------------


def cut(share: float = 0.4, for_ms: int | None = None) -> BreakerCommand:
    plain = command("resume", for_ms).model_dump()
    return BreakerCommand.model_validate({**plain, "action": "throttle", "share": share})


def test_a_throttle_lets_a_share_pass_and_says_who_set_it() -> None:
    breaker = closed()
    epoch = breaker.record.epoch
    obey(breaker, cut(0.07), NOW_MS)
    verdict = breaker.verdict()
    assert (verdict.state, verdict.allow, verdict.share(NOW_MS + 10**9)) == (CLOSED, "ramp", 0.07)
    assert verdict.reason == "no failures seen; cut to 7% by ann: deploy of the scanner"
    assert verdict.epoch > epoch
    step = breaker.record.transitions[-1]
    assert (step.source, step.target, step.rule, step.actor) == (CLOSED, CLOSED, "operator", "ann")
    assert (step.reason, step.numbers) == ("cut to 7%: deploy of the scanner", {"share": 0.07})
    assert breaker.view(NOW_MS).throttle == breaker.record.throttle


@pytest.mark.parametrize(("state", "begin"), STATES)
def test_the_breaker_lives_on_under_a_throttle(
    state: BreakerState, begin: Callable[[], Breaker]
) -> None:
    breaker, plain = begin(), begin()
    obey(breaker, cut(), LATER_MS)
    assert breaker.record.state is plain.record.state is state
    assert breaker.allow == ("ramp" if state is CLOSED else plain.allow)
    assert (breaker.verdict().until_ms, breaker.next_deadline()) == (
        plain.verdict().until_ms,
        plain.next_deadline(),
    )


def test_a_ramp_rises_no_further_than_the_throttle() -> None:
    breaker = ramping()
    free = breaker.verdict()
    obey(breaker, cut(), LATER_MS)
    bound = breaker.verdict()
    for at_ms in range(NOW_MS, NOW_MS + 90_000, 5_000):
        assert bound.share(at_ms) == min(0.4, free.share(at_ms))


def test_failures_open_a_throttled_breaker() -> None:
    breaker = closed()
    obey(breaker, cut(), NOW_MS)
    Gate(breaker).report("xxx")
    assert (breaker.verdict().state, breaker.verdict().allow) == (OPEN, "none")
    assert breaker.verdict().reason == "3 calls in a row failed (limit 3)"


def test_a_throttle_ends_by_itself_and_what_is_set_over_it_sooner() -> None:
    breaker = closed()
    obey(breaker, cut(for_ms=9_000), NOW_MS)
    obey(breaker, command("force_closed", for_ms=5_000), NOW_MS)
    assert (breaker.verdict().allow, breaker.verdict().most) == ("all", 1.0)
    assert breaker.next_deadline() == NOW_MS + 5_000
    breaker.advance(NOW_MS + 5_000)
    assert (breaker.verdict().allow, breaker.verdict().most) == ("ramp", 0.4)
    assert breaker.next_deadline() == NOW_MS + 9_000
    breaker.advance(NOW_MS + 9_000)
    assert (breaker.verdict().allow, breaker.record.throttle) == ("all", None)
    step = breaker.record.transitions[-1]
    assert (step.rule, step.reason) == ("expiry", "the throttle set by ann is over")


@pytest.mark.parametrize("action", ["resume", "reset"])
def test_a_throttle_is_ended_with_all_that_is_set(action: str) -> None:
    breaker = closed()
    obey(breaker, cut(), NOW_MS)
    obey(breaker, command("shadow"), NOW_MS)
    obey(breaker, command(action), NOW_MS)
    assert (breaker.record.throttle, breaker.record.override) == (None, None)
    assert (breaker.verdict().state, breaker.verdict().allow) == (CLOSED, "all")


def test_a_throttle_survives_json_and_a_restore() -> None:
    breaker = closed()
    obey(breaker, cut(for_ms=50_000), NOW_MS)
    again = RECORD.validate_json(RECORD.dump_json(breaker.record))
    assert again == breaker.record
    assert Breaker.restore(again, 2, LATER_MS).verdict().most == 0.4


@pytest.mark.parametrize(
    ("action", "share"),
    [("throttle", None), ("throttle", 0), ("throttle", 1), ("throttle", -1), ("shadow", 0.5)],
)
def test_a_share_goes_with_a_throttle_and_only_with_it(action: str, share: float | None) -> None:
    plain = command("resume").model_dump()
    with pytest.raises(ValidationError, match="share"):
        BreakerCommand.model_validate({**plain, "action": action, "share": share})


@pytest.mark.parametrize("words", ["a drill\0", "a \x1b[31mdrill", "\x7fdrill"])
def test_words_with_control_characters_are_refused(words: str) -> None:
    with pytest.raises(ValidationError, match="control character"):
        BreakerCommand(id="1", actor="ada", reason=words, action="reset")
    with pytest.raises(ValidationError, match="control character"):
        BreakerCommand(id="1", actor=words, reason="a drill", action="reset")
