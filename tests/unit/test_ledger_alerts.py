"""What a ledger tells people: each rule, from the first alert to the one that resolves it."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules
from headgate.model.ledger import (
    Exchange,
    LedgerCommand,
    SetOverride,
    SetPause,
    SetThrottle,
)
from headgate.model.quota import Quota, QuotaChanges, Throttle
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger
from tests.unit.ledgers import acquire, again, ask

MINUTE = 60_000
HOUR = 3_600_000
NOON = 1_700_049_600_000  # 2023-11-15 12:00:00 UTC


def settings_of(rules: AlertRules | None = None, **quota: Any) -> LedgerSettings:
    return LedgerSettings(
        quotas={"scan": Quota.model_validate(quota)},
        source="listed",
        alerts=rules or AlertRules(),
    )


def make(rules: AlertRules | None = None, **quota: Any) -> Ledger:
    return Ledger.begin(
        "acme", settings_of(rules, **quota), incarnation=1, check_every_ms=86_400_000
    )


def run_to(ledger: Ledger, until_ms: int) -> int:
    """Meet every deadline as the workflow does; return how many there were."""
    count = 0
    while (at_ms := ledger.next_deadline()) is not None and at_ms <= until_ms:
        ledger.advance(at_ms)
        after = ledger.next_deadline()
        assert after is None or after > at_ms, "a core left undone what was due"
        count += 1
    ledger.advance(until_ms)
    return count


def taken(ledger: Ledger) -> list[Alert]:
    """Return what is in the outbox, and empty it."""
    alerts = list(ledger.record.alerts)
    ledger.record.alerts.clear()
    return alerts


def kinds(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.kind, alert.status) for alert in alerts]


def hold(ledger: Ledger, *ids: str, at_ms: int = NOON, **request: Any) -> None:
    ledger.exchange(
        Exchange(gate="g", acquires=[acquire(id, now_ms=at_ms, **request) for id in ids]), at_ms
    )


# Usage -------------------------------------------------------------------------------------------


def test_only_the_highest_level_that_a_step_crosses_is_told() -> None:
    ledger = make(max_active=10)
    hold(ledger, *(str(n) for n in range(9)))
    [alert] = taken(ledger)
    assert (alert.kind, alert.data["level"], alert.severity) == ("quota.threshold", 90, "warning")
    assert alert.title == "acme: 90 % of scan in use"
    assert alert.text == "9 of 10 scan are held; at 100 % jobs wait."
    assert alert.advice == (
        "See who holds them: headgate holders acme --resource scan. Give more for a time: headgate "
        'quota override acme scan max_active=16 --for 2h --reason "...".'
    )
    assert (alert.key, alert.tenant) == ("quota.threshold/tenant/acme/scan", "acme")


def test_usage_is_resolved_with_how_long_it_lasted_five_minutes_after_it_fell() -> None:
    ledger = make(max_active=10)
    hold(ledger, *(str(n) for n in range(8)))
    ledger.release("0", NOON + 10 * MINUTE)
    assert run_to(ledger, NOON + 15 * MINUTE - 1) == 0
    first = taken(ledger)
    run_to(ledger, NOON + 15 * MINUTE)
    [resolved] = taken(ledger)
    assert kinds(first) == [("quota.threshold", "firing")]
    assert (resolved.status, resolved.severity, resolved.key) == ("resolved", "info", first[0].key)
    assert resolved.text == "7 of 10 scan are held. It lasted 10 min."
    assert ledger.record.episodes == {}


@pytest.mark.parametrize("is_thorough", [True, False])
def test_usage_that_has_fallen_to_a_lower_level_is_told_again(is_thorough: bool) -> None:
    """Not in runs that began without it: they have no such timer in their history."""
    ledger = make(max_active=100, max_hold_ms=48 * HOUR)
    ledger.desk.is_thorough = is_thorough
    hold(ledger, *(str(n) for n in range(100)))
    for n in range(15):
        ledger.release(str(n), NOON + MINUTE)
    taken(ledger)
    assert run_to(ledger, NOON + 8 * HOUR) == (2 if is_thorough else 0)
    titles = [alert.title for alert in taken(ledger)]
    assert titles == ["Still: acme: 80 % of scan in use"] * (2 if is_thorough else 0)


def test_since_when_and_how_long_are_of_the_level_that_is_told() -> None:
    ledger = make(max_active=10, max_hold_ms=72 * HOUR)
    hold(ledger, *(str(n) for n in range(8)))
    hold(ledger, "8", "9", at_ms=NOON + HOUR)
    run_to(ledger, NOON + 5 * HOUR)
    for n in range(2):
        ledger.release(str(n), NOON + 5 * HOUR)
    run_to(ledger, NOON + 9 * HOUR)
    for n in range(2, 10):
        ledger.release(str(n), NOON + 9 * HOUR)
    run_to(ledger, NOON + 10 * HOUR)
    told = taken(ledger)
    assert [(one.title.split(" in use")[0], one.since_ms) for one in told] == [
        ("acme: 80 % of scan", NOON),
        ("acme: 100 % of scan", NOON + HOUR),
        ("Still: acme: 100 % of scan", NOON + HOUR),
        ("Still: acme: 80 % of scan", NOON),
        ("acme: enough scan again", NOON),
    ]
    assert told[2].text.endswith("It has been so for 4 h, since 13:00 UTC.")
    assert told[3].text.endswith("It has been so for 9 h, since 12:00 UTC.")
    assert told[4].text.endswith("It lasted 9 h.")


def test_usage_that_lasts_is_told_again_every_four_hours_with_another_id() -> None:
    ledger = make(max_active=1, max_hold_ms=24 * HOUR)
    hold(ledger, "a")
    run_to(ledger, NOON + 8 * HOUR)
    first, second, third = taken(ledger)
    assert [first.title, second.title] == [
        "acme: 100 % of scan in use",
        "Still: acme: 100 % of scan in use",
    ]
    assert second.text.endswith("It has been so for 4 h, since 12:00 UTC.")
    assert first.key == second.key == third.key
    assert len({first.id, second.id, third.id}) == 3


def test_levels_can_be_others_and_none() -> None:
    ledger = make(AlertRules(usage_levels=[50]), max_active=10)
    hold(ledger, *(str(n) for n in range(10)))
    assert [alert.data["level"] for alert in taken(ledger)] == [50]
    quiet = make(AlertRules(usage_levels=[]), max_active=10)
    hold(quiet, *(str(n) for n in range(10)))
    assert taken(quiet) == []


def test_a_higher_limit_resolves_usage() -> None:
    ledger = make(max_active=10)
    hold(ledger, *(str(n) for n in range(10)))
    ledger.configure(settings_of(max_active=100), NOON + MINUTE)
    run_to(ledger, NOON + 6 * MINUTE)
    assert [alert.status for alert in taken(ledger)] == ["firing", "resolved"]


# Calendar windows --------------------------------------------------------------------------------


def test_a_window_is_told_of_by_level_and_resolved_when_it_ends() -> None:
    ledger = make(per_day=10, time_zone="Europe/Berlin")
    for n in range(10):
        hold(ledger, str(n), at_ms=NOON + n)
        ledger.release(str(n), NOON + n)
    told = taken(ledger)
    assert [alert.data["level"] for alert in told] == [80, 90, 100]
    assert told[0].text == (
        "8 of 10 scan a day are used; the day ends at 00:00 on Thu 16 Nov Europe/Berlin."
    )
    assert told[2].text == (
        "10 of 10 scan a day are used; nothing is granted before 00:00 on Thu 16 Nov Europe/Berlin."
    )
    midnight = NOON + 11 * HOUR
    assert run_to(ledger, midnight - 1) == 0, "nobody is woken to repeat what cannot change"
    run_to(ledger, midnight)
    [resolved] = taken(ledger)
    assert (resolved.status, resolved.at_ms, resolved.key) == ("resolved", midnight, told[0].key)
    assert resolved.text == "0 of 10 scan of this day are used. It lasted 10 h."
    assert ledger.next_deadline() is None


def test_a_request_in_the_next_window_resolves_the_one_before() -> None:
    ledger = make(per_hour=2)
    for n in range(2):
        hold(ledger, str(n))
    taken(ledger)
    hold(ledger, "x", "y", at_ms=NOON + HOUR)
    assert kinds(taken(ledger)) == [
        ("quota.threshold", "resolved"),
        ("quota.threshold", "firing"),
    ]


def test_a_forecast_says_when_a_window_is_used_up_and_is_resolved_by_its_end() -> None:
    ledger = make(AlertRules(usage_levels=[]), per_day=100, time_zone="Europe/Berlin")
    at_ms = NOON - 3 * HOUR
    for n in range(55):
        hold(ledger, str(n), at_ms=at_ms)
        ledger.release(str(n), at_ms)
        at_ms += 4 * MINUTE
    told = taken(ledger)
    assert kinds(told) == [("quota.forecast", "firing")]
    assert told[0].title == "acme: scan of this day used up at about 16:36 Europe/Berlin"
    assert told[0].text == (
        "50 of 100 scan a day are used. At the present rate they are used up at about 16:36 "
        "Europe/Berlin, 7 h 24 min before the day ends at 00:00 on Thu 16 Nov Europe/Berlin."
    )
    # Nothing more is used: it is seen in time that it lasts after all.
    run_to(ledger, NOON + 11 * HOUR)
    assert kinds(taken(ledger)) == [("quota.forecast", "resolved")]
    assert ledger.next_deadline() is None


def test_a_forecast_that_came_true_is_resolved_and_says_so() -> None:
    ledger = make(AlertRules(usage_levels=[]), per_hour=20)
    for n in range(20):
        hold(ledger, str(n), at_ms=NOON + n * MINUTE)
        ledger.release(str(n), NOON + n * MINUTE)
    first, last = taken(ledger)
    assert (first.status, last.status) == ("firing", "resolved")
    assert last.title == "acme: scan of this hour has been used up"


@pytest.mark.parametrize("used", [3, 49])
def test_little_use_is_no_forecast(used: int) -> None:
    ledger = make(AlertRules(usage_levels=[]), per_hour=100)
    for n in range(used):
        hold(ledger, str(n), at_ms=NOON + n * 10_000)
    assert taken(ledger) == []


# What people have set ----------------------------------------------------------------------------


def used(ledger: Ledger, count: int, at_ms: int = NOON) -> None:
    for n in range(count):
        hold(ledger, str(n), at_ms=at_ms)
        ledger.release(str(n), at_ms)


def advised(alert: Alert) -> int:
    """Return the number that an alert says to set."""
    (number,) = re.findall(r"headgate quota override acme scan \w+=(\d+)", alert.advice)
    return int(number)


@pytest.mark.parametrize("share", [0.5, 1 / 3, 0.7, 0.01])
def test_where_a_throttle_is_the_cause_it_is_named_and_what_is_advised_helps(share: float) -> None:
    ledger = make(per_day=10, time_zone="Europe/Berlin")
    used(ledger, 8)
    taken(ledger)
    until_ms = NOON + HOUR
    command(ledger, SetThrottle(resource="scan", share=share, until_ms=until_ms), NOON, "cut-1")
    [alert] = taken(ledger)
    assert alert.text == (
        f"8 of {alert.data['limit']} scan a day are used; nothing is granted before 14:00 "
        f"Europe/Berlin. It is cut to {share:.0%} until 14:00 Europe/Berlin by ann: ticket 7."
    )
    assert alert.advice.startswith('End the cut: headgate throttle lift cut-1 --reason "...". Or ')
    assert advised(alert) > 10
    more = QuotaChanges(per_day=advised(alert))
    command(ledger, SetOverride(resource="scan", changes=more, ends_at_ms=until_ms), NOON, "o")
    assert ask(ledger, "now", now_ms=NOON).outcome == "granted"


@pytest.mark.parametrize(
    ("count", "until_ms", "opens", "until"),
    [
        (5, NOON + HOUR // 2, "12:30", "until 12:30 UTC"),
        (9, NOON + HOUR // 2, "12:30", "until 12:30 UTC"),
        (10, NOON + HOUR // 2, "13:00", "until 12:30 UTC"),
        (5, None, "13:00", "until that is lifted"),
    ],
)
def test_nothing_is_granted_before_the_window_ends_or_what_lowers_its_limit(
    count: int, until_ms: int | None, opens: str, until: str
) -> None:
    ledger = make(AlertRules(usage_levels=[]), per_hour=10)
    used(ledger, count)
    command(ledger, SetThrottle(resource="*", share=0.4, until_ms=until_ms), NOON)
    ledger.configure(settings_of(AlertRules(usage_levels=[100]), per_hour=10), NOON)
    [alert] = taken(ledger)
    assert alert.text == (
        f"{count} of 4 scan an hour are used; nothing is granted before {opens} UTC. It is cut to "
        f"40% {until} by ann: ticket 7."
    )


def test_where_an_override_is_the_cause_it_is_named() -> None:
    ledger = make(max_active=10, per_day=10)
    until_ms = NOON + HOUR
    less = SetOverride(
        resource="scan", changes=QuotaChanges(max_active=2, per_day=3), ends_at_ms=until_ms
    )
    command(ledger, less, NOON, "low-1")
    hold(ledger, "a", "b")
    ledger.release("a", NOON)
    hold(ledger, "c")
    told = [one for one in taken(ledger) if one.data["level"] == 100]
    held, day = sorted(told, key=lambda one: "window" in one.data)
    assert held.text == (
        "2 of 2 scan are held; further jobs wait or are refused. max_active is 2 until 13:00 UTC, "
        "set by ann: ticket 7."
    )
    assert day.text == (
        "3 of 3 scan a day are used; nothing is granted before 13:00 UTC. per_day is 3 until "
        "13:00 UTC, set by ann: ticket 7."
    )
    lift = 'End the override: headgate quota lift acme low-1 --reason "...". Or give more'
    assert lift in held.advice
    assert lift in day.advice
    assert (advised(held), advised(day)) == (16, 16)


# Refusals and waiting ----------------------------------------------------------------------------


def test_refusals_without_a_grant_are_told_of_after_five_minutes() -> None:
    ledger = make(AlertRules(usage_levels=[]), max_active=1)
    hold(ledger, "a")
    for n in range(7):
        assert ask(ledger, f"no-{n}", now_ms=NOON + n * MINUTE).outcome == "denied"
    [alert] = taken(ledger)
    assert (alert.kind, alert.severity) == ("quota.denied", "critical")
    assert alert.title == "acme: every request for scan refused for 5 min"
    assert alert.text == (
        "Nothing has been granted since 12:00 UTC: 1 of 1 scan of tenant acme in use. "
        "6 requests refused since the ledger began."
    )
    ledger.release("a", NOON + 7 * MINUTE)
    hold(ledger, "b", at_ms=NOON + 7 * MINUTE)
    run_to(ledger, NOON + 17 * MINUTE - 1)
    assert taken(ledger) == []
    run_to(ledger, NOON + 17 * MINUTE)
    assert kinds(taken(ledger)) == [("quota.denied", "resolved")]


def test_refusals_with_grants_between_them_are_told_of_by_nobody() -> None:
    ledger = make(AlertRules(usage_levels=[]), max_active=1)
    for n in range(30):
        hold(ledger, f"a-{n}", f"b-{n}", at_ms=NOON + n * MINUTE)
        ledger.release(f"a-{n}", NOON + n * MINUTE)
    assert taken(ledger) == []


def test_refusals_that_nobody_asks_for_any_more_are_over() -> None:
    ledger = make(AlertRules(usage_levels=[]), max_active=1, max_hold_ms=24 * HOUR)
    hold(ledger, "a")
    for n in range(6):
        ask(ledger, f"no-{n}", now_ms=NOON + n * MINUTE)
    run_to(ledger, NOON + 30 * MINUTE)
    assert kinds(taken(ledger)) == [("quota.denied", "firing"), ("quota.denied", "resolved")]


@pytest.mark.parametrize("is_thorough", [True, False])
def test_refusals_of_a_resource_that_is_forgotten_among_thousands_are_over_too(
    is_thorough: bool,
) -> None:
    settings = LedgerSettings(
        quotas={"*": Quota(max_active=1)}, source="default", alerts=AlertRules(usage_levels=[])
    )
    ledger = Ledger.begin("acme", settings, incarnation=1, check_every_ms=86_400_000)
    ledger.desk.is_thorough = is_thorough
    ask(ledger, "a", resource="odd", now_ms=NOON)
    for n in range(6):
        ask(ledger, f"no-{n}", resource="odd", now_ms=NOON + n * MINUTE)
    ledger.release("a", NOON + 6 * MINUTE)
    for n in range(1_100):
        ask(ledger, f"x-{n}", resource=f"r{n}", now_ms=NOON + 7 * MINUTE)
        ledger.release(f"x-{n}", NOON + 7 * MINUTE)
    assert "odd" not in ledger.record.meters
    run_to(ledger, NOON + HOUR)
    ends = ["firing", "resolved"] if is_thorough else ["firing"]
    assert [one.status for one in taken(ledger) if one.kind == "quota.denied"] == ends


def test_refusals_by_people_are_no_news() -> None:
    ledger = make(max_active=10)
    command(ledger, SetPause(resource="scan"), NOON)
    for n in range(30):
        ask(ledger, f"no-{n}", now_ms=NOON + n * MINUTE)
    assert taken(ledger) == []


def test_a_job_that_waits_for_long_is_told_of_with_what_it_waits_for() -> None:
    ledger = make(AlertRules(usage_levels=[]), max_active=1, max_hold_ms=24 * HOUR)
    hold(ledger, "a")
    hold(ledger, "b", wait_ms=10 * HOUR)
    hold(ledger, "c", at_ms=NOON + MINUTE, wait_ms=10 * HOUR, priority=5)
    assert run_to(ledger, NOON + 15 * MINUTE) == 1
    [alert] = taken(ledger)
    assert alert.title == "acme: a job has waited 15 min for scan"
    assert alert.text.startswith(
        "job-b has waited since 12:00 UTC; 2 jobs are in line. 1 of 1 scan"
    )
    assert alert.advice.startswith("See what it waits for: headgate why job-b;")
    ledger.release("a", NOON + 20 * MINUTE)  # c is served, b waits on
    ledger.release("c", NOON + 21 * MINUTE)
    run_to(ledger, NOON + 26 * MINUTE)
    [resolved] = taken(ledger)
    assert (resolved.status, resolved.text) == ("resolved", "The line is empty. It lasted 21 min.")


def test_a_line_that_moves_is_told_of_by_nobody_and_wakes_the_ledger_seldom() -> None:
    rules = AlertRules(usage_levels=[])
    ledger = make(rules, max_active=1, max_hold_ms=24 * HOUR)
    hold(ledger, "0")
    for n in range(1, 200):
        at_ms = NOON + n * 30_000
        hold(ledger, str(n), at_ms=at_ms, wait_ms=10 * HOUR)
        ledger.release(str(n - 1), at_ms + 1)
    assert taken(ledger) == []
    assert ledger.record.episodes == {}


# People, and permits left behind -----------------------------------------------------------------


def command(ledger: Ledger, action: Any, at_ms: int, id: str = "c1") -> None:
    reply = ledger.operate(
        LedgerCommand(id=id, actor="ann", reason="ticket 7", action=action), at_ms
    )
    assert reply.accepted, reply


def test_an_override_that_ends_soon_is_told_of_once_with_how_to_set_it_anew() -> None:
    ledger = make(max_active=10)
    changes = QuotaChanges.model_validate({"max_active": 20, "rate": "5/s"})
    command(
        ledger,
        SetOverride(resource="scan", changes=changes, ends_at_ms=NOON + 2 * HOUR),
        NOON,
    )
    run_to(ledger, NOON + 2 * HOUR - 15 * MINUTE - 1)
    assert taken(ledger) == []
    run_to(ledger, NOON + 3 * HOUR)
    [alert] = taken(ledger)
    assert alert.title == "acme: override of scan ends in 15 min"
    assert alert.text == (
        "What ann set (max_active=20, rate=5/s: ticket 7) ends at 14:00 UTC; then what is "
        "configured holds again."
    )
    assert alert.advice == (
        "Set it anew if it is still needed: headgate quota override acme scan max_active=20 "
        'rate=5/s --for 2h --reason "...".'
    )
    assert alert.key == ""
    assert ledger.record.episodes == {}


def test_what_was_set_for_a_short_time_or_is_lifted_early_is_not_told_of() -> None:
    ledger = make(max_active=10)
    short = SetThrottle(resource="scan", share=0.5, until_ms=NOON + 30 * MINUTE)
    command(ledger, short, NOON, "short")
    long = SetThrottle(resource="scan", share=0.2, until_ms=NOON + 5 * HOUR)
    command(ledger, long, NOON, "long")
    lifted = ledger.record.throttles["long"]
    ledger.record.throttles.pop(lifted.id)
    ledger.configure(settings_of(max_active=10), NOON + HOUR)
    run_to(ledger, NOON + 6 * HOUR)
    assert taken(ledger) == []


def test_a_throttle_of_all_tenants_is_told_of_only_where_somebody_waits() -> None:
    throttle = Throttle(
        id="t", resource="scan", share=0.0, until_ms=NOON + 2 * HOUR, actor="ann", reason="r",
        since_ms=NOON,
    )  # fmt: skip
    idle, busy = make(max_active=1), make(max_active=1)
    for ledger in (idle, busy):
        ledger.configure(
            settings_of(max_active=1).model_copy(update={"resource_throttles": [throttle]}), NOON
        )
    assert run_to(idle, NOON + HOUR + 50 * MINUTE) == 0
    soon = NOON + HOUR + 50 * MINUTE
    hold(busy, "w", at_ms=soon, wait_ms=HOUR)
    hold(busy, "v", at_ms=soon + 1, wait_ms=HOUR)
    assert taken(idle) == []
    [alert] = taken(busy)
    assert alert.title == "acme: throttle of scan ends in 10 min"
    assert alert.data["id"] == "t"


def test_permits_that_are_reclaimed_are_told_of_together() -> None:
    ledger = make(AlertRules(usage_levels=[]), max_active=10)
    hold(ledger, "a", units=8)
    hold(ledger, "b", "c")
    ledger.reclaim("a", NOON + MINUTE)
    ledger.reclaim("unknown", NOON + MINUTE)
    ledger.reclaim("b", NOON + 3 * MINUTE)
    run_to(ledger, NOON + 6 * MINUTE)
    [alert] = taken(ledger)
    assert alert.title == "acme: 2 permits reclaimed"
    assert alert.text == (
        "9 scan of job-a, job-b, closed since 12:01 UTC without giving them back. Others can use "
        "them now; nothing is lost."
    )
    assert (alert.data["of:scan"], alert.data["jobs"]) == (9, "job-a, job-b")
    ledger.reclaim("c", NOON + 7 * MINUTE)
    run_to(ledger, NOON + 12 * MINUTE)
    assert [alert.data["permits"] for alert in taken(ledger)] == [1]


def test_what_a_job_held_of_several_resources_is_one_permit_and_few_jobs_are_named() -> None:
    both = {name: Quota(max_active=50) for name in ("scan", "sign")}
    settings = LedgerSettings(quotas=both, source="listed", alerts=AlertRules(usage_levels=[]))
    ledger = Ledger.begin("acme", settings, incarnation=1, check_every_ms=86_400_000)
    hold(ledger, *(str(n) for n in range(7)), units=2, also={"sign": 3})
    for n in range(7):
        ledger.reclaim(str(n), NOON + MINUTE)
    run_to(ledger, NOON + 6 * MINUTE)
    [alert] = taken(ledger)
    assert alert.title == "acme: 7 permits reclaimed"
    assert alert.text.startswith("14 scan, 21 sign of job-0, job-1, job-2, job-3, job-4, others, ")


# All together ------------------------------------------------------------------------------------


def test_a_ledger_that_nobody_uses_wants_to_be_woken_by_nobody() -> None:
    ledger = make(max_active=10, per_day=100, per_month=1_000)
    assert ledger.next_deadline() is None
    hold(ledger, "a")
    ledger.release("a", NOON + MINUTE)
    assert ledger.next_deadline() is None


def test_a_busy_ledger_is_woken_next_to_never_for_its_alerts() -> None:
    ledger = make(max_active=2, per_day=100_000, max_hold_ms=24 * HOUR)
    woken, at_ms = 0, NOON
    for n in range(1_000):
        at_ms = NOON + n * 200
        while (due_ms := ledger.next_deadline()) is not None and due_ms <= at_ms:
            ledger.advance(due_ms)
            woken += 1
        hold(ledger, f"a-{n}", f"b-{n}", at_ms=at_ms)
        ledger.release(f"a-{n}", at_ms + 100)
        ledger.release(f"b-{n}", at_ms + 100)
    assert woken == 0
    assert kinds(taken(ledger)) == [("quota.threshold", "firing")]


def test_without_rules_there_is_what_there_was_before_there_were_rules() -> None:
    ledger = Ledger.begin(
        "acme", settings_of(max_active=2).model_copy(update={"alerts": None}), 1, 86_400_000
    )
    hold(ledger, "a", "b")
    ledger.release("a", NOON)
    ledger.release("b", NOON)
    hold(ledger, "c", wait_ms=10 * HOUR)
    assert kinds(taken(ledger)) == [("quota.threshold", "firing")]
    assert ledger.record.episodes == {}


def test_rules_that_are_turned_off_leave_nothing_open() -> None:
    ledger = make(max_active=1, per_day=1, max_hold_ms=24 * HOUR)
    hold(ledger, "a")
    hold(ledger, "b", wait_ms=10 * HOUR)
    run_to(ledger, NOON + 20 * MINUTE)
    off = AlertRules(
        usage_levels=[],
        forecast_from=None,
        denied_ms=None,
        waiting_ms=None,
        expiring_ms=None,
        reclaimed_every_ms=None,
    )
    ledger.configure(settings_of(off, max_active=1, per_day=1), NOON + 21 * MINUTE)
    run_to(ledger, NOON + 30 * MINUTE)
    alerts = taken(ledger)
    firing = {alert.key for alert in alerts if alert.status == "firing"}
    assert firing == {alert.key for alert in alerts if alert.status == "resolved"}
    assert ledger.record.episodes == {}


ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("release"), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("reclaim"), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("limit"), st.integers(0, 6), st.booleans()),
    st.tuples(st.just("continue"), st.just(0), st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1_200_000), ACTIONS), max_size=40))
def test_whatever_happens_each_alert_has_an_id_of_its_own_and_is_resolved_once(
    steps: list[tuple[int, tuple[str, int, bool]]],
) -> None:
    ledger = make(max_active=4, per_hour=20, max_hold_ms=HOUR)
    now_ms, number = NOON, 0
    alerts: list[Alert] = []
    for pause_ms, (what, value, flag) in steps:
        now_ms += pause_ms
        run_to(ledger, now_ms)
        ids = [f"r{n}" for n in range(number, number + value)] if what == "ask" else []
        number += len(ids)
        match what:
            case "ask":
                wait = 2 * HOUR if flag else None
                hold(ledger, *ids, at_ms=now_ms, wait_ms=wait)
            case "release":
                ledger.release(f"r{value}", now_ms)
            case "reclaim":
                ledger.reclaim(f"r{value}", now_ms)
            case "limit":
                ledger.configure(settings_of(max_active=value, per_hour=20), now_ms)
            case _:
                ledger = again(ledger)
        alerts += taken(ledger)
        after = ledger.next_deadline()
        assert after is None or after > now_ms or what == "continue"
    run_to(ledger, now_ms + 50 * HOUR)
    alerts += taken(ledger)
    is_open: set[str] = set()
    for alert in alerts:
        if not alert.key:
            continue
        if alert.status == "resolved":
            assert alert.key in is_open
            is_open.remove(alert.key)
        else:
            is_open.add(alert.key)
    assert is_open == {key for key, one in ledger.record.episodes.items() if one.is_told}
    assert len({alert.id for alert in alerts}) == len(alerts)
