from typing import Any

import pytest
from pydantic import TypeAdapter

from headgate.model.ledger import Acquire, Decision, Exchange, Holder, Outcome
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord
from headgate.quota.book import MAX_RESOLVED_KEPT
from headgate.quota.ledger import MAX_DENIALS_KEPT, REVISIONS_PER_INCARNATION

NOW_MS = 1_700_000_000_000
RECORD = TypeAdapter(LedgerRecord)
GRANTED, WAITING, DENIED = Outcome.GRANTED, Outcome.WAITING, Outcome.DENIED


def quotas(**by_resource: Any) -> LedgerSettings:
    return LedgerSettings(
        quotas={name: Quota.model_validate(quota) for name, quota in by_resource.items()},
        source="listed",
    )


def make(**quota: Any) -> Ledger:
    return Ledger.begin("acme", quotas(scan=quota), incarnation=1, check_every_ms=1_000)


def acquire(
    id: str,
    *,
    wait_ms: int | None = None,
    units: int = 1,
    priority: int = 0,
    resource: str = "scan",
    now_ms: int = NOW_MS,
) -> Acquire:
    return Acquire(
        id=id,
        holder=Holder(workflow_id=f"job-{id}", run_id="run"),
        resource=resource,
        units=units,
        wait_until_ms=None if wait_ms is None else now_ms + wait_ms,
        priority=priority,
    )


def ask(ledger: Ledger, id: str, *, now_ms: int = NOW_MS, **request: Any) -> Decision:
    message = Exchange(gate="g", acquires=[acquire(id, now_ms=now_ms, **request)])
    [decision] = ledger.exchange(message, now_ms).decisions
    ledger.check_conservation()
    return decision


def code(decision: Decision) -> ReasonCode:
    assert decision.reason is not None
    return decision.reason.code


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
    ledger = make(rate="10/s", burst=10)
    ask(ledger, "a", units=5)
    ask(ledger, "big", units=10, wait_ms=60_000)
    wait = ask(ledger, "small", wait_ms=60_000)
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


def test_what_it_keeps_of_its_past_is_bounded() -> None:
    ledger = make(max_active=1)
    for nth in range(MAX_RESOLVED_KEPT + 100):
        ask(ledger, f"a{nth}")
        ask(ledger, f"b{nth}")
        ledger.release(f"a{nth}", NOW_MS)
    assert len(ledger.record.resolved) == MAX_RESOLVED_KEPT
    assert len(ledger.record.denials) == MAX_DENIALS_KEPT
    assert next(iter(ledger.record.resolved)) == "a100"


def test_an_id_that_comes_back_after_it_was_forgotten_harms_nothing() -> None:
    ledger = make(max_active=1, max_hold_ms=1_000)
    for _ in range(2):
        ask(ledger, "held")
        ask(ledger, "waits", wait_ms=500)
        ledger.release("waits", NOW_MS)
        ledger.release("held", NOW_MS)
        ledger.record.resolved.clear()
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
