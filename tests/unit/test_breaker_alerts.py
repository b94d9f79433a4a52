"""What a breaker tells people: one episode from its opening to its recovery, however it flaps."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headgate.breaker import Breaker, BreakerRecord
from headgate.breaker.operator import obey
from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules, Flapping
from headgate.model.breaker import (
    BreakerCommand,
    BreakerState,
    CallOutcome,
    OutcomeBucket,
    ProbeOutcome,
    ProbeRequest,
    Report,
)
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings

NOON = 1_700_049_600_000  # 2023-11-15 12:00:00 UTC
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
RECORD = TypeAdapter(BreakerRecord)
KEY = "breaker.opened/downstream/scanner"


class Downstream:
    """A breaker with one probe, and what its downstream does."""

    def __init__(
        self, rules: AlertRules | None = None, *, is_quiet: bool = True, **policy: Any
    ) -> None:
        plain = {
            "failure_rate": None,
            "consecutive_failures": 3,
            "probes": 1,
            "ramp_ms": 0,
            "open_factor": 1.0,
            "open_ms": 30 * SECOND,
        }
        self.is_quiet = is_quiet
        self.settings = BreakerSettings(
            policy=BreakerPolicy.model_validate({**plain, **policy}),
            alerts=AlertRules() if rules is None else rules,
        )
        self.now_ms = NOON
        self.breaker = Breaker.begin("scanner", self.settings, 1, NOON, is_quiet=is_quiet)
        self.seq = 0

    def report(self, failures: int = 0, probe: str | None = None, *, works: bool = True) -> None:
        self.seq += 1
        epoch = self.breaker.record.epoch
        bucket = OutcomeBucket(
            at_ms=self.now_ms, epoch=epoch, failures=failures, trailing_failures=failures
        )
        outcome = CallOutcome.SUCCESS if works else CallOutcome.FAILURE
        report = Report(
            gate="g",
            seq=self.seq,
            task_queue="q",
            buckets=[bucket] if failures else [],
            probes=[ProbeOutcome(id=probe, epoch=epoch, outcome=outcome)] if probe else [],
        )
        self.breaker.report(report, self.now_ms)

    def fail(self) -> None:
        self.report(failures=3)

    def probe(self, *, works: bool) -> None:
        """Wait until probes may pass, and let one."""
        until_ms = self.breaker.record.until_ms
        assert until_ms is not None
        self.wait(until_ms - self.now_ms)
        assert self.breaker.record.state is BreakerState.HALF_OPEN
        epoch, id = self.breaker.record.epoch, f"probe-{self.seq}"
        self.breaker.lease_probes(ProbeRequest(gate="g", epoch=epoch, ids=[id]), self.now_ms)
        self.report(probe=id, works=works)

    def wait(self, ms: int) -> int:
        """Let time pass, and meet every deadline; return how many there were."""
        until_ms, count = self.now_ms + ms, 0
        while (at_ms := self.breaker.next_deadline()) is not None and at_ms <= until_ms:
            self.now_ms = at_ms
            self.breaker.advance(at_ms)
            after = self.breaker.next_deadline()
            assert after is None or after > at_ms, "a core left undone what was due"
            count += 1
        self.now_ms = until_ms
        self.breaker.advance(until_ms)
        return count

    def command(self, action: str, **more: Any) -> None:
        self.seq += 1
        command = BreakerCommand.model_validate(
            {"id": f"c{self.seq}", "action": action, "actor": "ann", "reason": "ticket 7", **more}
        )
        obey(self.breaker, command, self.now_ms)

    def again(self) -> None:
        """Continue as new."""
        record = RECORD.validate_json(RECORD.dump_json(self.breaker.record))
        self.breaker = Breaker(record, is_quiet=self.is_quiet)

    def told(self) -> list[Alert]:
        alerts = list(self.breaker.record.alerts)
        self.breaker.record.alerts.clear()
        return alerts


def kinds(alerts: list[Alert]) -> list[str]:
    return [alert.kind for alert in alerts]


def test_from_opened_to_recovered_there_is_one_key_and_the_last_one_resolves_it() -> None:
    downstream = Downstream()
    downstream.fail()
    downstream.probe(works=False)
    downstream.probe(works=True)
    opened, reopened, recovered = downstream.told()
    assert kinds([opened, reopened, recovered]) == [
        "breaker.opened",
        "breaker.reopened",
        "breaker.recovered",
    ]
    assert {opened.key, reopened.key, recovered.key} == {KEY}
    assert [one.status for one in (opened, reopened, recovered)] == ["firing", "firing", "resolved"]
    assert opened.title == "scanner: breaker opened"
    assert opened.text == (
        "3 calls in a row failed (limit 3). No calls for 30 s, then 1 probe call."
    )
    assert opened.advice == (
        "See the calls that failed: headgate breaker show scanner. If scanner works and the "
        'breaker is wrong: headgate breaker force-closed scanner --for 30m --reason "...".'
    )
    assert reopened.title == "scanner: breaker re-opened"
    assert recovered.text == "1 of 1 probes succeeded. All calls pass again. It lasted 1 min."
    assert recovered.since_ms == NOON


def test_a_breaker_that_stays_open_is_told_of_again_every_four_hours() -> None:
    downstream = Downstream(open_ms=24 * HOUR)
    downstream.fail()
    assert downstream.wait(9 * HOUR) == 2
    first, second, third = downstream.told()
    assert second.title == "Still: scanner: breaker opened" or second.title.startswith("Still: ")
    assert second.text.endswith("It has been so for 4 h, since 12:00 UTC.")
    assert {first.key, second.key, third.key} == {KEY}
    assert len({first.id, second.id, third.id}) == 3


def test_a_breaker_that_flaps_is_told_of_once_and_then_no_more_until_it_is_calm() -> None:
    rules = AlertRules(flapping=Flapping(openings=3, within_ms=10 * MINUTE, calm_ms=5 * MINUTE))
    downstream = Downstream(rules)
    for _ in range(12):
        downstream.fail()
        downstream.probe(works=True)
        downstream.wait(10 * SECOND)
    alerts = downstream.told()
    assert kinds(alerts) == [
        "breaker.opened",
        "breaker.recovered",
        "breaker.opened",
        "breaker.recovered",
        "breaker.flapping",
    ]
    assert alerts[-1].title == "scanner: breaker opens again and again"
    assert alerts[-1].text == (
        "It has opened 3 times in 1 min 20 s, the last time because 3 calls in a row failed "
        "(limit 3). Nothing more is said of it until it has been CLOSED for 5 min."
    )
    downstream.again()
    assert downstream.wait(5 * MINUTE - 10 * SECOND) == 1
    [calm] = downstream.told()
    assert (calm.status, calm.key) == ("resolved", KEY)
    assert calm.text.startswith("CLOSED for 5 min. All calls pass again. It lasted ")
    assert downstream.breaker.next_deadline() is None
    downstream.fail()
    assert kinds(downstream.told()) == ["breaker.opened"]


@pytest.mark.parametrize("is_quiet", [True, False])
def test_of_one_that_flaps_nothing_more_is_said_also_when_it_is_half_open_for_long(
    is_quiet: bool,
) -> None:
    """But in runs that began before, which tell what they told when they are replayed."""
    rules = AlertRules(flapping=Flapping(openings=2), half_open_ms=30 * SECOND)
    downstream = Downstream(rules, is_quiet=is_quiet)
    downstream.fail()
    downstream.probe(works=False)
    assert kinds(downstream.told()) == ["breaker.opened", "breaker.flapping"]
    downstream.again()
    downstream.wait(30 * SECOND)  # until probes may pass; none is made
    downstream.wait(90 * SECOND)
    assert downstream.breaker.record.state is BreakerState.HALF_OPEN
    assert kinds(downstream.told()) == ([] if is_quiet else ["breaker.half_open_long"])


def test_one_that_has_been_half_open_for_long_and_then_flaps_leaves_nothing_open() -> None:
    rules = AlertRules(flapping=Flapping(openings=2), half_open_ms=30 * SECOND)
    downstream = Downstream(rules)
    downstream.fail()
    downstream.wait(75 * SECOND)
    epoch = downstream.breaker.record.epoch
    asked = ProbeRequest(gate="g", epoch=epoch, ids=["late"])
    downstream.breaker.lease_probes(asked, downstream.now_ms)
    downstream.report(probe="late", works=False)
    told = [(one.kind, one.status) for one in downstream.told()]
    assert told == [
        ("breaker.opened", "firing"),
        ("breaker.half_open_long", "firing"),
        ("breaker.flapping", "firing"),
        ("breaker.half_open_long", "resolved"),
    ]


def test_a_downstream_that_is_down_for_long_is_not_told_of_with_every_probe() -> None:
    downstream = Downstream()
    downstream.fail()
    for _ in range(40):
        downstream.probe(works=False)
    assert kinds(downstream.told()) == [
        "breaker.opened",
        "breaker.reopened",
        "breaker.reopened",
        "breaker.reopened",
        "breaker.flapping",
    ]


def test_a_downstream_that_is_down_for_hours_is_not_told_of_with_every_probe_either() -> None:
    """However long it takes from one probe to the next."""
    downstream = Downstream(open_ms=5 * MINUTE)
    downstream.fail()
    for _ in range(23):
        downstream.probe(works=False)
    alerts = downstream.told()
    assert kinds(alerts) == [
        "breaker.opened",
        "breaker.reopened",
        "breaker.reopened",
        "breaker.reopened",
        "breaker.flapping",
    ]
    assert "It has opened 5 times in 20 min, the last time because " in alerts[-1].text
    assert (alerts[-1].data["openings"], alerts[-1].data["within_ms"]) == (5, 20 * MINUTE)
    downstream.again()
    for _ in range(40):
        downstream.probe(works=False)
    [still] = downstream.told()
    assert (still.kind, still.title[:7]) == ("breaker.flapping", "Still: ")
    assert int(still.data["openings"] or 0) > 24
    downstream.command("reset")
    downstream.wait(10 * MINUTE)
    [over] = [alert for alert in downstream.told() if alert.key == KEY]
    assert (over.status, downstream.breaker.record.episodes) == ("resolved", {})


def test_slow_probes_under_the_default_policy_are_not_told_one_by_one() -> None:
    downstream = Downstream(**BreakerPolicy().model_dump())
    downstream.report(failures=50)
    for _ in range(30):
        record = downstream.breaker.record
        assert record.state is BreakerState.OPEN
        assert record.until_ms is not None
        downstream.wait(record.until_ms - downstream.now_ms)
        ids = [f"probe-{downstream.seq}-{n}" for n in range(record.policy.probes)]
        request = ProbeRequest(gate="g", epoch=record.epoch, ids=ids)
        downstream.breaker.lease_probes(request, downstream.now_ms)
        downstream.wait(20 * SECOND)
        for id in ids:
            if downstream.breaker.record.state is BreakerState.HALF_OPEN:
                downstream.report(probe=id, works=False)
    told = [one for one in downstream.told() if not one.title.startswith("Still: ")]
    assert kinds(told) == ["breaker.opened", *["breaker.reopened"] * 3, "breaker.flapping"]


def test_a_run_that_began_without_it_tells_every_opening_as_it_did() -> None:
    """What it told stands in its history, and is told again when that is replayed."""
    downstream = Downstream(open_ms=5 * MINUTE)
    downstream.breaker.watch.desk.is_thorough = False
    downstream.fail()
    for _ in range(9):
        downstream.probe(works=False)
    assert kinds(downstream.told()) == ["breaker.opened", *["breaker.reopened"] * 9]


def test_without_the_rule_every_opening_is_told() -> None:
    downstream = Downstream(AlertRules(flapping=None))
    downstream.fail()
    for _ in range(9):
        downstream.probe(works=False)
    assert len(downstream.told()) == 10


def test_half_open_for_long_is_told_and_over_when_it_is_left() -> None:
    rules = AlertRules(half_open_ms=5 * MINUTE)
    downstream = Downstream(rules, half_open_max_ms=HOUR, probes=3)
    downstream.fail()
    downstream.wait(30 * SECOND + 6 * MINUTE)
    opened, long = downstream.told()
    assert (opened.kind, long.kind) == ("breaker.opened", "breaker.half_open_long")
    assert long.title == "scanner: breaker HALF_OPEN for 5 min"
    assert long.text.startswith("Of 3 probe calls 0 succeeded and 0 failed, 0 are under way;")
    downstream.wait(HOUR)
    assert [(one.kind, one.status) for one in downstream.told()] == [
        ("breaker.recovered", "resolved"),
        ("breaker.half_open_long", "resolved"),
    ]


def test_half_open_for_long_is_told_under_the_default_policy_and_rules_too() -> None:
    downstream = Downstream(**BreakerPolicy().model_dump())
    downstream.report(failures=50)
    until_ms = downstream.breaker.record.until_ms
    assert until_ms is not None
    downstream.wait(until_ms - downstream.now_ms + HOUR)
    told = [one for one in downstream.told() if one.kind == "breaker.half_open_long"]
    assert [one.status for one in told] == ["firing", "resolved"]
    assert told[0].title == "scanner: breaker HALF_OPEN for 1 min"
    assert told[1].text.endswith("It lasted 2 min.")


def test_what_people_have_set_is_told_of_before_it_ends() -> None:
    downstream = Downstream()
    downstream.command("force_open", for_ms=2 * HOUR)
    downstream.command("throttle", share=0.5, for_ms=3 * HOUR)
    downstream.command("throttle", share=0.25, for_ms=4 * HOUR)
    downstream.wait(5 * HOUR)
    forced, cut = downstream.told()
    assert forced.title == "scanner: FORCED_OPEN ends in 15 min"
    assert forced.text == (
        "What ann set (ticket 7) ends at 14:00 UTC; then the breaker is what it would have been: "
        "CLOSED."
    )
    assert "headgate breaker force-open scanner --for 1h" in forced.advice
    assert cut.title == "scanner: throttle to 25% ends in 15 min"
    assert (cut.at_ms, cut.key) == (NOON + 4 * HOUR - 15 * MINUTE, "")
    assert downstream.breaker.record.episodes == {}


def test_what_is_lifted_early_or_set_for_a_short_time_is_not_told_of() -> None:
    downstream = Downstream()
    downstream.command("force_closed", for_ms=5 * HOUR)
    downstream.wait(HOUR)
    downstream.command("resume")
    downstream.command("shadow", for_ms=20 * MINUTE)
    downstream.wait(5 * HOUR)
    assert downstream.told() == []


def test_under_an_override_nothing_is_told_and_afterwards_what_is_left_of_it() -> None:
    downstream = Downstream(open_ms=24 * HOUR)
    downstream.command("shadow", for_ms=20 * MINUTE)
    downstream.fail()
    assert downstream.told() == []
    downstream.wait(HOUR)
    assert kinds(downstream.told()) == ["breaker.opened"]


def test_the_key_is_in_what_is_shown_as_long_as_it_lasts() -> None:
    downstream = Downstream()
    downstream.fail()
    assert downstream.breaker.view(downstream.now_ms).alerts.open == {KEY: NOON}
    downstream.probe(works=True)
    assert downstream.breaker.view(downstream.now_ms).alerts.open == {}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), st.just(0)),
        st.tuples(st.just("probe"), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.integers(0, 20 * MINUTE)),
        st.tuples(st.just("command"), st.integers(0, 4)),
        st.tuples(st.just("again"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans(), st.sampled_from([0, 60_000]))
def test_whatever_happens_resolved_follows_firing_and_ids_differ(
    steps: list[tuple[str, int]], flaps: bool, ramp_ms: int
) -> None:
    flapping = Flapping(openings=3, within_ms=10 * MINUTE, calm_ms=5 * MINUTE) if flaps else None
    downstream = Downstream(AlertRules(flapping=flapping), ramp_ms=ramp_ms)
    alerts: list[Alert] = []
    for what, value in steps:
        record = downstream.breaker.record
        match what:
            case "fail":
                downstream.fail()
            case "probe" if record.state is BreakerState.OPEN:
                downstream.probe(works=bool(value))
            case "wait":
                downstream.wait(value)
            case "command":
                action = ["force_open", "force_closed", "shadow", "resume", "reset"][value]
                downstream.command(action, **({"for_ms": HOUR} if value < 3 else {}))
            case "again":
                downstream.again()
        alerts += downstream.told()
        after = downstream.breaker.next_deadline()
        assert after is None or after > downstream.now_ms
    is_open = False
    for alert in alerts:
        if alert.key != KEY:
            continue
        if alert.status == "resolved":
            assert is_open
            is_open = False
        elif alert.kind == "breaker.opened" and not alert.title.startswith("Still"):
            assert not is_open, "one alert for one opening"
            is_open = True
        else:
            is_open = True
    assert is_open == downstream.breaker.record.alarmed
    assert len({alert.id for alert in alerts}) == len(alerts)
    downstream.command("reset")
    downstream.wait(HOUR)
    assert not downstream.breaker.record.alarmed
    assert downstream.breaker.record.episodes == {}
