from typing import Any

import pytest
from pydantic import ValidationError

from headgate.model.ledger import Exchange, LedgerCommand, LedgerView, SetThrottle
from headgate.model.quota import Quota, Rate
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger
from headgate.quota.ledger import REVISIONS_PER_INCARNATION
from headgate.quota.meters import MAX_METERS_KEPT
from headgate.quota.ways import Ways
from tests.unit.ledgers import (
    DENIED,
    GRANTED,
    NOW_MS,
    RECORD,
    WAITING,
    acquire,
    again,
    ask,
    code,
    come_and_go,
    make,
    quotas,
)

# Answers -----------------------------------------------------------------------------------------


def test_it_grants_up_to_max_active_and_then_denies_with_numbers() -> None:
    ledger = make(max_active=2, max_hold_ms=5_000)
    assert [ask(ledger, id).outcome for id in "abc"] == [GRANTED, GRANTED, DENIED]
    assert ask(ledger, "a").expires_at_ms == NOW_MS + 5_000
    denial = ask(ledger, "c")
    assert denial.reason is not None
    assert (denial.reason.limit, denial.reason.used, denial.reason.needed) == (2, 2, 1)
    assert code(denial) is ReasonCode.QUOTA_USED_UP


def test_units_count_not_permits() -> None:
    ledger = make(max_active=5)
    assert ask(ledger, "a", units=3).outcome is GRANTED
    assert ask(ledger, "b", units=3).outcome is DENIED
    assert ask(ledger, "c", units=2).outcome is GRANTED


def test_a_quota_without_limits_grants_all() -> None:
    ledger = make()
    assert all(ask(ledger, str(nth)).outcome is GRANTED for nth in range(100))


def test_the_same_id_gets_the_same_answer() -> None:
    ledger = make(max_active=1)
    for id, wait_ms in (("a", None), ("b", None), ("c", 1_000)):
        first = ask(ledger, id, wait_ms=wait_ms)
        revision = ledger.record.revision
        assert ask(ledger, id, wait_ms=wait_ms) == first
        assert ledger.record.revision == revision


def test_the_same_id_twice_in_one_message_is_one_permit() -> None:
    ledger = make(max_active=5)
    message = Exchange(gate="g", acquires=[acquire("a"), acquire("a")])
    one, two = ledger.exchange(message, NOW_MS).decisions
    assert one == two
    assert len(ledger.record.permits) == 1


def test_a_denial_stays_a_denial_after_room_has_come() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    denial = ask(ledger, "b")
    ledger.release("a", NOW_MS)
    assert ask(ledger, "b") == denial
    assert ask(ledger, "b2").outcome is GRANTED


def test_releases_are_done_before_acquires() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    message = Exchange(gate="g", acquires=[acquire("b")], releases=["a"])
    assert ledger.exchange(message, NOW_MS).decisions[0].outcome is GRANTED


def test_an_unknown_tenant_is_refused_with_what_to_do() -> None:
    ledger = Ledger.begin("acme", LedgerSettings(), 1)
    denial = ask(ledger, "a")
    assert code(denial) is ReasonCode.UNKNOWN_TENANT
    assert denial.retry_at_ms is None
    assert denial.reason is not None
    assert "headgate apply" in denial.reason.message
    assert ledger.record.meters == {}


def test_an_unknown_resource_is_refused_unless_there_is_a_default() -> None:
    ledger = make(max_active=1)
    assert code(ask(ledger, "a", resource="sign")) is ReasonCode.UNKNOWN_RESOURCE
    ledger.configure(
        LedgerSettings(quotas={"*": Quota(max_active=1)}, source="listed"), now_ms=NOW_MS
    )
    assert ask(ledger, "b", resource="sign").outcome is GRANTED
    assert ask(ledger, "c", resource="scan").outcome is GRANTED


@pytest.mark.parametrize("quota", [{"max_active": 4}, {"rate": "4/s"}, {"rate": "9/s", "burst": 4}])
def test_what_can_never_fit_is_refused_even_to_those_who_wait(quota: dict[str, Any]) -> None:
    denial = ask(make(**quota), "a", units=5, wait_ms=60_000)
    assert code(denial) is ReasonCode.CAN_NEVER_FIT
    assert denial.retry_at_ms is None
    assert denial.reason is not None
    assert (denial.reason.limit, denial.reason.needed) == (4, 5)


# Waiting -----------------------------------------------------------------------------------------


def test_those_who_wait_are_served_in_order_and_told() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    waits = [ask(ledger, id, wait_ms=60_000) for id in "bc"]
    assert [decision.outcome for decision in waits] == [WAITING, WAITING]
    assert [decision.reason.position for decision in waits if decision.reason] == [1, 2]
    ledger.release("a", NOW_MS + 5)
    assert set(ledger.record.permits) == {"b"}
    assert ledger.record.wakes == {"b": NOW_MS + 5}
    permit, grant = ledger.grant_of("b")
    assert (permit.workflow_id, grant.id, grant.expires_at_ms) == (
        "job-b",
        "b",
        permit.expires_at_ms,
    )


def test_one_who_asks_again_and_is_told_needs_no_waking() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    ledger.release("a", NOW_MS)
    assert ask(ledger, "b", wait_ms=60_000).outcome is GRANTED
    assert ledger.record.wakes == {}


def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    ledger = make(max_active=3)
    ask(ledger, "a", units=2)
    assert ask(ledger, "big", units=3, wait_ms=60_000).outcome is WAITING
    denial = ask(ledger, "small")
    assert denial.outcome is DENIED
    assert code(denial) is ReasonCode.QUEUED


def test_a_higher_priority_passes_those_who_wait() -> None:
    ledger = make(max_active=3)
    ask(ledger, "a", units=2)
    ask(ledger, "big", units=3, wait_ms=60_000)
    assert ask(ledger, "urgent", priority=1).outcome is GRANTED


def test_patience_ends_exactly_when_it_was_said_to() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=1_000)
    assert ledger.next_deadline() == NOW_MS + 1_000
    ledger.advance(NOW_MS + 999)
    assert "b" in ledger.record.waiters
    ledger.advance(NOW_MS + 1_000)
    assert ledger.record.waiters == {}
    assert code(ask(ledger, "b", wait_ms=1_000, now_ms=NOW_MS + 1_000)) is (
        ReasonCode.WAITED_TOO_LONG
    )


def test_one_who_has_given_up_gets_nothing_however_late_time_is_looked_at() -> None:
    ledger = make(max_active=1, max_hold_ms=1_000)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=1_000)
    ledger.advance(NOW_MS + 50_000)
    assert ledger.record.permits == {}
    assert ledger.record.wakes == {}

    ask(ledger, "c", now_ms=NOW_MS + 50_000)
    ask(ledger, "d", wait_ms=10, now_ms=NOW_MS + 50_000)
    ledger.release("c", NOW_MS + 50_010)
    assert ledger.record.permits == {}


def test_a_patience_that_is_over_already_is_none() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    assert ask(ledger, "b", wait_ms=0).outcome is DENIED


def test_a_withdrawn_request_makes_room_for_the_next() -> None:
    ledger = make(max_active=3)
    ask(ledger, "a", units=2)
    ask(ledger, "big", units=3, wait_ms=60_000)
    ask(ledger, "small", wait_ms=60_000)
    ledger.release("big", NOW_MS)
    assert set(ledger.record.permits) == {"a", "small"}


def test_waiters_for_one_resource_do_not_hold_up_another() -> None:
    settings = quotas(scan={"max_active": 1}, sign={"max_active": 1})
    ledger = Ledger.begin("acme", settings, 1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    assert ask(ledger, "c", resource="sign").outcome is GRANTED


# Estimates ---------------------------------------------------------------------------------------


def test_a_wait_for_the_rate_ends_exactly_when_it_says() -> None:
    ledger = make(rate="10/s", burst=1)
    ask(ledger, "a")
    wait = ask(ledger, "b", wait_ms=60_000)
    assert code(wait) is ReasonCode.RATE
    assert wait.retry_at_ms == NOW_MS + 100 == ledger.next_deadline()
    assert ask(ledger, "c", wait_ms=60_000).retry_at_ms == NOW_MS + 200
    ledger.advance(NOW_MS + 99)
    assert set(ledger.record.permits) == {"a"}
    ledger.advance(NOW_MS + 100)
    assert set(ledger.record.permits) == {"a", "b"}
    assert ledger.next_deadline() == NOW_MS + 200


@pytest.mark.parametrize(
    "quota",
    [
        {"max_active": 1},
        {"max_active": 1, "rate": "10/s"},
        {"max_active": 1, "rate": "1/h"},
        {"rate": "1/s"},
        {"rate": "1/s", "burst": 3},
    ],
)
def test_whoever_may_ask_again_is_told_a_time_to_come(quota: dict[str, Any]) -> None:
    ledger = make(**quota)
    for nth in range(6):
        decision = ask(ledger, str(nth), wait_ms=600_000)
        again = ask(ledger, str(nth), wait_ms=600_000, now_ms=NOW_MS + 50)
        if decision.outcome is WAITING and again.outcome is WAITING:
            assert decision.retry_at_ms is not None
            assert again.retry_at_ms is not None
            assert decision.retry_at_ms > NOW_MS
            assert again.retry_at_ms > NOW_MS + 50


def test_an_explanation_never_speaks_of_a_limit_that_is_not_there() -> None:
    ledger = Ledger.begin("acme", quotas(scan={"rate": "10/s", "burst": 10}, tok={}), 1)
    ask(ledger, "a", units=5)
    ask(ledger, "big", units=10, also={"tok": 1}, wait_ms=60_000)
    wait = ask(ledger, "small", resource="tok", wait_ms=60_000)
    assert wait.reason is not None
    assert "None" not in wait.reason.message
    assert wait.reason.code is ReasonCode.QUEUED
    assert "job-big waits: the rate of 10/s" in wait.reason.message


def test_estimates_follow_how_long_permits_are_held() -> None:
    ledger = make(max_active=2)
    ask(ledger, "a")
    ledger.release("a", NOW_MS + 8_000)
    now_ms = NOW_MS + 8_000
    ask(ledger, "b", now_ms=now_ms)
    ask(ledger, "c", now_ms=now_ms)
    assert ask(ledger, "d", now_ms=now_ms).retry_at_ms == now_ms + 4_000


@pytest.mark.parametrize(
    ("quota", "used", "held_ms", "asked", "wait_ms"),
    [
        pytest.param(
            {"max_active": 10}, 10, 600_000, 10, 600_000, id="one_large_job_after_another"
        ),
        pytest.param({"max_active": 500}, 500, 60_000, 100, 12_000, id="a_fifth_of_all"),
        pytest.param({"max_active": 500}, 450, 60_000, 100, 6_000, id="half_of_it_is_free"),
    ],
)
def test_estimates_count_units_and_not_jobs(
    quota: dict[str, int], used: int, held_ms: int, asked: int, wait_ms: int
) -> None:
    ledger = make(**quota)
    ask(ledger, "before", units=used)
    now_ms = NOW_MS + held_ms
    ledger.release("before", now_ms)
    ask(ledger, "a", units=used, now_ms=now_ms)
    wait = ask(ledger, "b", units=asked, wait_ms=900_000, now_ms=now_ms)
    assert wait.retry_at_ms == now_ms + wait_ms
    behind = ask(ledger, "c", units=asked, wait_ms=900_000, now_ms=now_ms)
    assert behind.retry_at_ms == now_ms + wait_ms + asked * held_ms // quota["max_active"]


def test_a_permit_that_has_not_come_back_for_long_is_expected_to_take_as_long_again() -> None:
    ledger = make(max_active=1)
    come_and_go(ledger)
    ask(ledger, "a")
    now_ms = NOW_MS + 3_000_000
    wait = ask(ledger, "b", wait_ms=900_000, now_ms=now_ms)
    assert wait.retry_at_ms == now_ms + 3_000_000
    assert wait.reason is not None
    assert wait.reason.message.endswith("; about 50 min to go (estimate)")


def test_as_long_as_no_permit_has_come_back_nobody_knows_how_long_the_next_takes() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    first, second = (ask(ledger, id, wait_ms=900_000, now_ms=NOW_MS + 17_000) for id in "bc")
    for wait in (first, second):
        assert wait.reason is not None
        assert wait.reason.endless
        assert "to go" not in wait.reason.message
    ledger.release("a", NOW_MS + 30_000)
    view = ledger.why("c", NOW_MS + 30_000)
    assert view is not None
    assert view.retry_at_ms == NOW_MS + 60_000


def test_one_that_is_held_for_long_among_many_tells_little() -> None:
    ledger = make(max_active=100)
    ask(ledger, "old")
    now_ms = NOW_MS + 3_000_000
    for nth in range(99):
        ask(ledger, str(nth), now_ms=now_ms)
    wait = ask(ledger, "b", wait_ms=900_000, now_ms=now_ms)
    assert wait.retry_at_ms == now_ms + 300  # on average they have been held for 30 s


def test_a_window_that_those_ahead_use_up_is_told_with_the_end_of_the_one_that_is_enough() -> None:
    ledger = make(max_active=9, per_hour=10)
    ask(ledger, "a")
    window = ledger.record.meters["scan"].windows["per_hour"]
    waits = [ask(ledger, id, units=9, wait_ms=90_000_000) for id in "bcd"]
    told = [one.reason for one in waits if one.reason is not None]
    assert [one.code for one in told] == [
        ReasonCode.QUOTA_USED_UP, ReasonCode.WINDOW, ReasonCode.WINDOW,
    ]  # fmt: skip
    assert "1 of 10 scan an hour of tenant acme used and 18 asked for by those ahead" in (
        told[2].message
    )
    ends_ms = window.ends_at_ms
    assert [one.retry_at_ms for one in waits[1:]] == [ends_ms, ends_ms + 3_600_000]


# Pauses, and what has no end ---------------------------------------------------------------------


def pause_until(until_ms: int | None) -> LedgerCommand:
    action = SetThrottle(resource="scan", share=0, until_ms=until_ms)
    return LedgerCommand(id="p", actor="ada", reason="a drill", action=action)


def paused(until_ms: int | None) -> Ledger:
    ledger = make(max_active=5)
    ledger.operate(pause_until(until_ms), NOW_MS)
    return ledger


def test_the_end_of_a_pause_is_told_to_all_who_wait() -> None:
    ledger = paused(NOW_MS + 3_600_000)
    for id in "abc":
        wait = ask(ledger, id, wait_ms=7_200_000)
        view = ledger.why(id, NOW_MS)
        assert wait.reason is not None and view is not None
        assert "(estimate)" not in wait.reason.message
        assert (wait.reason.endless, wait.retry_at_ms) == (False, NOW_MS + 3_600_000)
        assert view.retry_at_ms == NOW_MS + 3_600_000


def test_the_end_of_a_pause_is_told_although_nobody_knows_when_what_is_held_comes_back() -> None:
    ledger = make(max_active=5, per_hour=100)
    ask(ledger, "held", units=5)
    now_ms = NOW_MS + 600_000  # held for longer than the pause lasts
    ledger.operate(pause_until(now_ms + 90_000), now_ms)
    for id in "ab":
        wait = ask(ledger, id, wait_ms=7_200_000, now_ms=now_ms)
        view = ledger.why(id, now_ms)
        assert wait.reason is not None and view is not None
        assert code(wait) is ReasonCode.SUSPENDED
        assert (wait.reason.endless, wait.retry_at_ms) == (False, now_ms + 90_000)
        assert "(estimate)" not in wait.reason.message
        assert view.retry_at_ms == now_ms + 90_000
    after = ledger.why("a", now_ms + 90_000)
    assert after is not None and after.reason is not None
    assert (after.reason.code, after.reason.endless) == (ReasonCode.QUOTA_USED_UP, True)


def test_a_full_window_is_told_with_its_end_although_nobody_knows_when_permits_come_back() -> None:
    ledger = make(max_active=5, per_hour=5)
    ask(ledger, "held", units=5)
    wait = ask(ledger, "a", wait_ms=7_200_000, now_ms=NOW_MS + 60_000)
    assert wait.reason is not None
    assert (wait.reason.code, wait.reason.endless) == (ReasonCode.WINDOW, False)
    assert wait.retry_at_ms == ledger.record.meters["scan"].windows["per_hour"].ends_at_ms


def test_of_a_pause_that_people_have_to_end_nobody_says_when() -> None:
    ledger = paused(None)
    for id in "ab":
        wait = ask(ledger, id, wait_ms=7_200_000)
        view = ledger.why(id, NOW_MS)
        assert wait.reason is not None and view is not None
        assert wait.reason.endless
        assert "to go" not in wait.reason.message
        assert wait.retry_at_ms is not None, "it may be asked again"
        assert view.retry_at_ms is None


# Ending ------------------------------------------------------------------------------------------


def test_a_permit_ends_once() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ledger.release("a", NOW_MS)
    ledger.release("a", NOW_MS)
    ledger.reclaim("a", NOW_MS)
    ledger.advance(NOW_MS + 10_000_000)
    meter = ledger.record.meters["scan"]
    assert (meter.granted, meter.released, meter.expired, meter.reclaimed) == (1, 1, 0, 0)
    assert code(ask(ledger, "a")) is ReasonCode.WAITED_TOO_LONG


def test_who_asks_again_when_it_is_over_is_told_how_it_ended() -> None:
    ledger = make(max_active=3, max_hold_ms=1_000)
    for id in ("given-back", "closed", "kept"):
        ask(ledger, id)
    ledger.release("given-back", NOW_MS)
    ledger.reclaim("closed", NOW_MS)
    ledger.advance(NOW_MS + 1_000)
    words = {
        id: reason.message
        for id in ("given-back", "closed", "kept")
        if (reason := ask(ledger, id, now_ms=NOW_MS + 1_000).reason) is not None
    }
    assert words["given-back"] == (
        "the request of this id is over (it was released), and whatever it asks for comes too "
        "late: ask under a new id"
    )
    assert "(its holder had closed)" in words["closed"]
    assert "(its time was over, in line or as a permit)" in words["kept"]


def test_a_permit_that_is_not_given_back_expires() -> None:
    ledger = make(max_active=1, max_hold_ms=1_000)
    ask(ledger, "a")
    assert ledger.next_deadline() == NOW_MS + 1_000
    ledger.advance(NOW_MS + 1_000)
    assert ledger.record.meters["scan"].expired == 1
    assert ledger.record.meters["scan"].units == 0
    assert ledger.next_deadline() is None


def test_the_permit_of_a_closed_holder_is_reclaimed_and_passed_on() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    ledger.reclaim("a", NOW_MS)
    assert ledger.record.meters["scan"].reclaimed == 1
    assert set(ledger.record.permits) == {"b"}


def test_a_release_that_overtakes_its_acquire_withdraws_it() -> None:
    ledger = make(max_active=1)
    revision = ledger.record.revision
    ledger.release("a", NOW_MS)
    assert ledger.record.revision > revision
    assert ask(ledger, "a").outcome is DENIED
    assert ledger.record.permits == {}


def test_an_id_that_comes_back_after_it_was_forgotten_harms_nothing() -> None:
    ledger = make(max_active=1, max_hold_ms=1_000)
    for _ in range(2):
        ask(ledger, "held")
        ask(ledger, "waits", wait_ms=500)
        ledger.release("waits", NOW_MS)
        ledger.release("held", NOW_MS)
        ledger.record.ended.recent.clear()
    ask(ledger, "held")
    ask(ledger, "waits", wait_ms=500)
    ledger.advance(NOW_MS + 500)
    ledger.advance(NOW_MS + 1_000)
    ledger.check_conservation()
    assert ledger.record.permits == {}


# Holders -----------------------------------------------------------------------------------------


def test_holders_are_looked_after_less_and_less_often() -> None:
    ledger = make()
    ask(ledger, "a")
    seen = []
    while (at_ms := ledger.next_check()) is not None and at_ms < NOW_MS + 40_000:
        seen.append(at_ms - NOW_MS)
        assert ledger.holders_to_check(at_ms, 10) == [("a", "job-a", "run")]
    assert seen == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000]


def test_no_more_holders_than_asked_for_and_the_others_stay_due() -> None:
    ledger = make()
    for nth in range(5):
        ask(ledger, str(nth))
    found = [ledger.holders_to_check(NOW_MS + 1_000, 2) for _ in range(4)]
    assert [[id for id, _, _ in some] for some in found] == [["0", "1"], ["2", "3"], ["4"], []]


def test_a_permit_that_has_ended_is_not_looked_after() -> None:
    ledger = make()
    ask(ledger, "a")
    ledger.release("a", NOW_MS)
    assert ledger.next_check() is None


# Configuration -----------------------------------------------------------------------------------


def test_a_raised_quota_serves_those_who_wait_at_once() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    ledger.configure(quotas(scan={"max_active": 2}), NOW_MS)
    assert set(ledger.record.permits) == {"a", "b"}
    assert set(ledger.record.wakes) == {"b"}


def test_a_lowered_quota_takes_nothing_back_but_grants_nothing_more() -> None:
    ledger = make(max_active=3)
    for id in "abc":
        ask(ledger, id)
    ledger.configure(quotas(scan={"max_active": 1}), NOW_MS)
    assert len(ledger.record.permits) == 3
    ledger.release("a", NOW_MS)
    ledger.release("b", NOW_MS)
    assert ask(ledger, "d").outcome is DENIED
    ledger.release("c", NOW_MS)
    assert ask(ledger, "e").outcome is GRANTED


def test_those_whom_a_new_quota_can_never_serve_are_refused() -> None:
    ledger = make(max_active=5)
    ask(ledger, "a", units=5)
    ask(ledger, "big", units=4, wait_ms=60_000)
    ask(ledger, "small", units=2, wait_ms=60_000)
    ledger.configure(quotas(scan={"max_active": 3}), NOW_MS)
    assert set(ledger.record.waiters) == {"small"}
    assert code(ask(ledger, "big", units=4, wait_ms=60_000)) is ReasonCode.CAN_NEVER_FIT


def test_a_removed_tenant_keeps_its_permits_and_loses_its_waiters() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    ledger.configure(LedgerSettings(), NOW_MS)
    assert set(ledger.record.permits) == {"a"}
    assert code(ask(ledger, "b", wait_ms=60_000)) is ReasonCode.UNKNOWN_TENANT
    ledger.release("a", NOW_MS)
    ledger.check_conservation()


def test_a_new_rate_does_not_forgive_what_was_spent() -> None:
    ledger = make(rate="10/s", burst=10)
    ask(ledger, "a", units=10)
    ledger.configure(quotas(scan={"rate": "20/s", "burst": 10}), NOW_MS)
    assert ask(ledger, "b", wait_ms=60_000).retry_at_ms == NOW_MS + 50


def test_a_quota_lowered_below_what_is_in_use_is_alerted() -> None:
    ledger = make(max_active=10)
    ask(ledger, "a", units=5)
    assert ledger.record.alerts == []
    ledger.configure(quotas(scan={"max_active": 5}), NOW_MS)
    [alert] = ledger.record.alerts
    assert (alert.kind, alert.data["level"]) == ("quota.threshold", 100)


def test_each_crossing_is_one_alert_with_an_id_of_its_own() -> None:
    ledger = make(max_active=10)
    for nth in range(10):
        ask(ledger, str(nth))
    assert [alert.data["level"] for alert in ledger.record.alerts] == [80, 90, 100]
    assert len({alert.id for alert in ledger.record.alerts}) == 3
    assert [alert.severity for alert in ledger.record.alerts] == ["warning", "warning", "critical"]


# Restore and storage -----------------------------------------------------------------------------


def test_a_restored_ledger_holds_what_was_held_and_looks_after_it_at_once() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    record = RECORD.validate_json(RECORD.dump_json(ledger.record))
    restored = Ledger.restore(record, 2, NOW_MS + 10)
    assert restored.record.revision == 2 * REVISIONS_PER_INCARNATION > ledger.record.revision
    assert restored.next_check() == NOW_MS + 10
    assert ask(restored, "a").outcome is GRANTED
    assert ask(restored, "c").outcome is DENIED
    restored.release("a", NOW_MS + 10)
    assert set(restored.record.permits) == {"b"}


def test_a_restored_ledger_grants_nothing_by_the_quotas_of_its_snapshot() -> None:
    ledger = make(max_active=2, max_hold_ms=1_000)
    ask(ledger, "a", units=2)
    ask(ledger, "b", wait_ms=60_000)
    restored = Ledger.restore(ledger.record, 2, NOW_MS + 5_000)
    restored.configure(quotas(scan={"max_active": 0}), NOW_MS + 5_000)
    assert restored.record.permits == {}
    assert restored.record.meters["scan"].granted == 1


def test_the_record_survives_json() -> None:
    settings = quotas(scan={"max_active": 1, "rate": "7/m", "burst": 4}, sign={"max_active": 5})
    ledger = Ledger.begin("acme", settings, 1)
    for id in "abc":
        ask(ledger, id, wait_ms=60_000)
        ask(ledger, f"{id}2")
        ask(ledger, f"{id}3", resource="sign")
    ledger.release("a", NOW_MS + 1)
    assert RECORD.validate_json(RECORD.dump_json(ledger.record)) == ledger.record


def test_the_view_and_the_page_say_what_the_record_says() -> None:
    ledger = make(max_active=2)
    for id in "abcd":
        ask(ledger, id, wait_ms=60_000, priority=ord(id))
    view = ledger.view()
    assert view.units_held == {"scan": 2}
    assert view.waiting == {"scan": 2}
    assert (view.accounts["scan"].granted, view.accounts["scan"].held) == (2, 2)
    page = ledger.page()
    assert [permit.id for permit in page.permits] == ["a", "b"]
    assert [(waiter.id, waiter.position) for waiter in page.waiters] == [("d", 1), ("c", 2)]


# Several resources -------------------------------------------------------------------------------


def two(scan: int = 2, sign: int = 2) -> Ledger:
    settings = quotas(scan={"max_active": scan}, sign={"max_active": sign})
    return Ledger.begin("acme", settings, 1, check_every_ms=1_000)


def test_several_resources_are_granted_together_or_not_at_all() -> None:
    ledger = two(scan=2, sign=1)
    assert ask(ledger, "a", also={"sign": 1}).outcome is GRANTED
    denial = ask(ledger, "b", also={"sign": 1})
    assert denial.outcome is DENIED
    assert denial.reason is not None
    assert (denial.reason.limit, denial.reason.used) == (1, 1)
    assert "sign" in denial.reason.message
    assert ledger.view().units_held == {"scan": 1, "sign": 1}
    ledger.release("a", NOW_MS)
    assert ledger.view().units_held == {"scan": 0, "sign": 0}
    accounts = ledger.view().accounts
    assert [(one.granted, one.released) for one in accounts.values()] == [(1, 1), (1, 1)]


def test_who_waits_for_two_is_served_when_the_second_comes_back() -> None:
    ledger = two(scan=1, sign=1)
    ask(ledger, "a")
    ask(ledger, "b", resource="sign")
    ask(ledger, "both", also={"sign": 1}, wait_ms=60_000)
    ask(ledger, "behind", resource="sign", wait_ms=60_000)
    ledger.release("b", NOW_MS)
    assert set(ledger.record.permits) == {"a"}, "nobody passes the first of all who wait"
    ledger.release("a", NOW_MS)
    assert set(ledger.record.permits) == {"both"}
    ledger.release("both", NOW_MS)
    assert set(ledger.record.permits) == {"behind"}


def test_crossed_needs_do_not_wait_for_each_other() -> None:
    ledger = two(scan=1, sign=1)
    ask(ledger, "a", also={"sign": 1})
    ask(ledger, "b", also={"sign": 1}, wait_ms=60_000)
    ask(ledger, "c", resource="sign", also={"scan": 1}, wait_ms=60_000)
    for id in "abc":
        assert set(ledger.record.permits) == {id}
        ledger.release(id, NOW_MS)
        ledger.check_conservation()


def test_the_wait_for_two_rates_ends_with_the_longer() -> None:
    settings = quotas(scan={"rate": "10/s", "burst": 1}, sign={"rate": "1/s", "burst": 1})
    ledger = Ledger.begin("acme", settings, 1)
    ask(ledger, "a", also={"sign": 1})
    wait = ask(ledger, "b", also={"sign": 1}, wait_ms=60_000)
    assert code(wait) is ReasonCode.RATE
    assert wait.retry_at_ms == NOW_MS + 1_000 == ledger.next_deadline()
    ledger.advance(NOW_MS + 1_000)
    assert "b" in ledger.record.permits


def test_a_request_that_names_a_resource_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="also names scan again"):
        acquire("a", also={"scan": 1})


def test_an_unknown_resource_among_several_is_refused() -> None:
    assert code(ask(two(), "a", also={"sbom": 1})) is ReasonCode.UNKNOWN_RESOURCE
    assert code(ask(two(), "b", also={"sign": 3})) is ReasonCode.CAN_NEVER_FIT


def test_the_shortest_hold_counts() -> None:
    settings = quotas(scan={"max_hold_ms": 5_000}, sign={"max_hold_ms": 700})
    ledger = Ledger.begin("acme", settings, 1)
    assert ask(ledger, "a", also={"sign": 1}).expires_at_ms == NOW_MS + 700


# Calendar windows --------------------------------------------------------------------------------

HOUR_END_MS = 1_700_002_800_000


def test_a_window_is_used_up_until_its_end_whatever_comes_back() -> None:
    ledger = make(per_hour=2)
    for id in "ab":
        assert ask(ledger, id).outcome is GRANTED
        ledger.release(id, NOW_MS)
    wait = ask(ledger, "c", wait_ms=86_400_000)
    assert code(wait) is ReasonCode.WINDOW
    assert wait.reason is not None
    assert (wait.reason.limit, wait.reason.used) == (2, 2)
    assert wait.retry_at_ms == HOUR_END_MS == ledger.next_deadline()
    ledger.advance(HOUR_END_MS - 1)
    assert ledger.record.permits == {}
    ledger = again(ledger)
    ledger.advance(HOUR_END_MS)
    assert set(ledger.record.permits) == {"c"}


def test_a_grant_counts_in_all_windows_and_the_last_end_counts() -> None:
    ledger = make(per_hour=1, per_day=1, rate="1/s")
    ask(ledger, "a")
    ledger.release("a", NOW_MS)
    wait = ask(ledger, "b", wait_ms=86_400_000)
    assert code(wait) is ReasonCode.RATE, "the first in rank is named"
    assert wait.retry_at_ms == 1_700_006_400_000 == ledger.next_deadline()


def test_a_limit_changed_in_a_window_keeps_what_is_used() -> None:
    ledger = make(per_hour=5)
    ask(ledger, "a", units=4)
    ledger.configure(quotas(scan={"per_hour": 6}), NOW_MS)
    assert ask(ledger, "b", units=3).outcome is DENIED
    ledger.configure(quotas(scan={}), NOW_MS)
    assert ask(ledger, "c", units=2).outcome is GRANTED
    ledger.configure(quotas(scan={"per_hour": 6}), NOW_MS)
    assert ask(ledger, "d").outcome is DENIED
    assert ask(ledger, "e", now_ms=HOUR_END_MS).outcome is GRANTED


def test_a_limit_set_in_the_middle_of_a_window_finds_what_was_granted_before() -> None:
    ledger = make()
    ask(ledger, "a", units=5)
    ledger.release("a", NOW_MS)
    assert ledger.view().limits["scan"].windows == {}, "what nothing limits is not shown"
    assert ledger.next_deadline() is None, "and wakes nobody up"
    ledger = again(ledger)
    per_day = quotas(scan={"per_day": 5})
    assert ledger.below_usage(per_day) == []
    assert len(ledger.below_usage(quotas(scan={"per_day": 4}))) == 1
    ledger.configure(per_day, NOW_MS)
    assert code(ask(ledger, "b")) is ReasonCode.WINDOW


def test_what_only_the_star_stands_for_is_counted_from_when_it_is_limited() -> None:
    ledger = Ledger.begin("acme", LedgerSettings(quotas={"*": Quota()}, source="listed"), 1)
    ask(ledger, "a", units=5)
    assert ledger.record.meters["scan"].windows == {}
    before = Ledger.begin("acme", quotas(scan={}), 1, ways=Ways(as_before=True))
    ask(before, "a", units=5)
    assert before.record.meters["scan"].windows == {}, "runs that began before do as they did"


def test_more_than_a_window_can_ever_have_is_refused_at_once() -> None:
    assert code(ask(make(per_day=4), "a", units=5, wait_ms=60_000)) is ReasonCode.CAN_NEVER_FIT


# Pauses and names --------------------------------------------------------------------------------


def test_a_paused_quota_grants_nothing_and_says_why() -> None:
    ledger = make(max_active=5, paused="audit until Friday")
    denial = ask(ledger, "a")
    assert code(denial) is ReasonCode.SUSPENDED
    assert denial.retry_at_ms is not None
    assert denial.reason is not None
    assert "audit until Friday" in denial.reason.message
    never = ask(ledger, "big", units=6, wait_ms=60_000)
    assert (code(never), never.outcome, never.retry_at_ms) == (ReasonCode.SUSPENDED, DENIED, None)
    ask(ledger, "b", wait_ms=60_000)
    ledger.configure(quotas(scan={"max_active": 5}), NOW_MS)
    assert set(ledger.record.permits) == {"b"}


def test_a_suspended_tenant_is_told_so_before_anything_else() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    suspended = quotas(scan={"max_active": 1}).model_copy(update={"paused": "unpaid"})
    ledger.configure(suspended, NOW_MS)
    assert code(ask(ledger, "b", wait_ms=60_000)) is ReasonCode.SUSPENDED
    assert ledger.view().paused == "unpaid"


def test_a_rate_that_is_taken_away_and_set_again_forgives_nothing() -> None:
    ledger = make(rate="10/s", burst=10)
    ask(ledger, "a", units=10)
    ledger.configure(quotas(scan={}), NOW_MS)
    ledger = again(ledger)
    ledger.configure(quotas(scan={"rate": "20/s", "burst": 10}), NOW_MS)
    assert ask(ledger, "b", wait_ms=60_000).retry_at_ms == NOW_MS + 50


def test_waiters_whom_a_new_quota_refuses_are_counted() -> None:
    ledger = make(max_active=5)
    ask(ledger, "a", units=5)
    ask(ledger, "big", units=4, wait_ms=60_000)
    ledger.configure(quotas(scan={"max_active": 3}), NOW_MS)
    assert ledger.record.meters["scan"].denied == 1


def test_accounts_of_resources_long_out_of_use_are_added_up() -> None:
    quota = Quota(max_active=5, rate=Rate(limit=5, period_ms=1_000))
    ledger = Ledger.begin("acme", LedgerSettings(quotas={"*": quota}, source="listed"), 1)
    ask(ledger, "held", resource="r0")
    for nth in range(3 * MAX_METERS_KEPT):
        now_ms = NOW_MS + nth * 1_000
        ask(ledger, f"a{nth}", resource=f"r{nth}", now_ms=now_ms)
        ledger.release(f"a{nth}", now_ms)
    accounts = ledger.view().accounts
    assert len(accounts) <= 2 * MAX_METERS_KEPT
    assert sum(one.granted for one in accounts.values()) == 3 * MAX_METERS_KEPT + 1
    assert accounts["r0"].held == 1


# What stands in the way --------------------------------------------------------------------------


def test_who_waits_is_told_behind_whom_and_for_what() -> None:
    ledger = make(max_active=2)
    come_and_go(ledger)
    ask(ledger, "a")
    ask(ledger, "b")
    for id in "cdefg":
        ask(ledger, id, wait_ms=60_000)
    view = ledger.why("g", NOW_MS + 5)
    assert view is not None
    assert (view.state, view.position, view.workflow_id) == ("waiting", 5, "job-g")
    assert view.reason is not None
    assert view.reason.code is ReasonCode.QUOTA_USED_UP
    assert "2 of 2 scan of tenant acme in use" in view.reason.message
    assert "number 5 in line behind job-c, job-d, job-e and 1 more" in view.reason.message
    assert "(estimate)" in view.reason.message
    assert [one.id for one in view.holders] == ["a", "b"]
    assert [(one.id, one.position) for one in view.ahead] == [
        ("c", 1), ("d", 2), ("e", 3), ("f", 4),
    ]  # fmt: skip


def test_who_would_fit_but_for_others_is_told_what_they_wait_for() -> None:
    ledger = make(max_active=3)
    ask(ledger, "a", units=2)
    ask(ledger, "big", units=3, wait_ms=60_000)
    ask(ledger, "small", wait_ms=60_000)
    view = ledger.why("small", NOW_MS)
    assert view is not None
    assert view.reason is not None
    assert view.reason.code is ReasonCode.QUEUED
    assert "behind job-big; job-big waits: 2 of 3 scan" in view.reason.message
    assert [one.id for one in view.holders] == ["a"]


def test_an_exact_time_is_not_called_an_estimate() -> None:
    ledger = make(rate="1/s", burst=1)
    ask(ledger, "a")
    wait = ask(ledger, "b", wait_ms=60_000)
    assert wait.reason is not None
    assert "estimate" not in wait.reason.message


def test_all_of_a_workflow_is_shown_and_nothing_is_changed_by_asking() -> None:
    ledger = make(max_active=1, rate="1/s", per_day=9)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    before = RECORD.dump_json(ledger.record)
    [held] = ledger.why_workflow("job-a", NOW_MS + 10_000)
    assert (held.state, held.reason, held.expires_at_ms) == ("held", None, NOW_MS + 3_600_000)
    assert ledger.why("nobody", NOW_MS) is None
    assert ledger.why_workflow("nobody", NOW_MS) == []
    ledger.why("b", NOW_MS + 10_000_000)
    ledger.view()
    ledger.page()
    ledger.demands()
    ledger.below_usage(quotas(scan={"max_active": 0}))
    assert RECORD.dump_json(ledger.record) == before


def test_the_view_says_how_many_wait_and_for_how_much() -> None:
    ledger = Ledger.begin("acme", quotas(scan={"max_active": 3}, tok={"max_active": 9}), 1)
    ask(ledger, "a", units=3)
    for id in "bc":
        ask(ledger, id, units=2, also={"tok": 4}, wait_ms=60_000)
    view = ledger.view()
    assert (view.waiting, view.waiting_units) == ({"scan": 2, "tok": 2}, {"scan": 4, "tok": 8})


def test_the_view_says_what_limits_now_and_survives_json() -> None:
    ledger = make(max_active=0, rate="5/s", per_day=7, guaranteed=0)
    view = ledger.view()
    assert LedgerView.model_validate_json(view.model_dump_json()) == view
    scan = view.limits["scan"]
    assert (scan.max_active, str(scan.rate), scan.windows["per_day"].limit) == (0, "5/s", 7)
    assert '"borrow_limit"' not in view.model_dump_json()


def test_what_would_be_lowered_below_use_is_said_in_sentences() -> None:
    ledger = make(max_active=5, per_day=9)
    tenant = ledger.record.tenant
    ask(ledger, "a", units=4)
    assert ledger.below_usage(quotas(scan={"max_active": 4, "per_day": 4})) == []
    assert ledger.below_usage(quotas(scan={"max_active": 3, "per_day": 2})) == [
        f"max_active of scan of {tenant} would be 3, but 4 are held, so that under it nothing "
        "would be granted until enough has come back",
        f"per_day of scan of {tenant} would be 2, but 4 are granted already in this window, so "
        "that under it nothing would be granted until it ends at 00:00 on Wed 15 Nov UTC",
    ]
    assert ledger.below_usage(LedgerSettings()) == [
        f"scan of {tenant} would have no quota, but 4 are held"
    ]
