"""What operators do to a ledger: overrides, throttles, pauses, releases; and reservations."""

from typing import Any

import pytest
from pydantic import ValidationError

from headgate.model.contract import LAST_MS
from headgate.model.ledger import CommandReply, LedgerCommand, LedgerView
from headgate.model.pool import Allocation
from headgate.model.quota import Throttle
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger
from headgate.quota.operator import MAX_COMMANDS_KEPT
from tests.unit.ledgers import (
    DENIED,
    GRANTED,
    NOW_MS,
    RECORD,
    WAITING,
    again,
    ask,
    code,
    come_and_go,
    make,
    quotas,
)  # fmt: skip

LATER_MS = NOW_MS + 10_000


def say(
    ledger: Ledger, id: str, action: dict[str, Any], *, now_ms: int = NOW_MS, **more: Any
) -> CommandReply:
    command = LedgerCommand.model_validate(
        {"id": id, "actor": "ann", "reason": "the night shift", "action": action, **more}
    )
    reply = ledger.operate(command, now_ms)
    ledger.check_conservation()
    return reply


def override(ends_at_ms: int = LATER_MS, begins_at_ms: int | None = None, **changes: Any) -> Any:
    return {
        "kind": "override",
        "resource": "scan",
        "changes": changes,
        "begins_at_ms": begins_at_ms,
        "ends_at_ms": ends_at_ms,
    }


def throttle(share: float, until_ms: int | None = None, resource: str = "scan") -> Any:
    return {"kind": "throttle", "resource": resource, "share": share, "until_ms": until_ms}


def test_an_override_holds_for_its_time_and_ends_by_itself() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    reply = say(ledger, "o", override(max_active=2))
    assert reply.accepted
    assert (reply.before, reply.after["changes"]) == ({"max_active": 1}, {"max_active": 2})
    assert set(ledger.record.permits) == {"a", "b"}
    assert ledger.next_deadline() == LATER_MS
    ledger = again(ledger)
    ledger.advance(LATER_MS)
    assert ledger.record.overrides == {}
    assert ask(ledger, "c", now_ms=LATER_MS).outcome is DENIED
    audit = ledger.record.audit
    assert [(one.actor, one.action, one.at_ms) for one in audit] == [
        ("ann", "override", NOW_MS),
        ("headgate", "override_ended", LATER_MS),
    ]
    assert audit[0].target == "ledger/acme/scan"
    ledger.audited(audit[:1])
    assert [one.action for one in ledger.record.audit] == ["override_ended"]


def test_who_waits_is_told_who_has_overridden_the_quota_and_when_that_ends() -> None:
    ledger = make(max_active=9, per_hour=9)
    ask(ledger, "a", units=2)
    say(ledger, "o", override(max_active=2))
    wait = ask(ledger, "b", wait_ms=60_000)
    assert wait.reason is not None
    assert wait.reason.message.startswith(
        "2 of 2 scan of tenant acme in use (set by ann: the night shift)"
    )
    assert (wait.retry_at_ms, wait.reason.endless) == (LATER_MS, False)
    say(ledger, "o2", override(max_active=2, per_hour=1), allow_below_usage=True)
    used_up = ask(ledger, "c", units=1, wait_ms=9_000_000)
    window = ledger.record.meters["scan"].windows["per_hour"]
    assert code(used_up) is ReasonCode.WINDOW
    assert used_up.retry_at_ms == window.ends_at_ms + 3_600_000, "b takes the next hour's one"


def test_what_is_held_beyond_a_lowered_limit_has_to_come_back_before_anybody_is_served() -> None:
    ledger = make(max_active=6)
    come_and_go(ledger, after_ms=60_000)
    now_ms = NOW_MS + 60_000
    for id in "abcdef":
        ask(ledger, id, now_ms=now_ms)
    changes = override(ends_at_ms=now_ms + 9_000_000, max_active=4)
    say(ledger, "o", changes, now_ms=now_ms, allow_below_usage=True)
    wait = ask(ledger, "g", wait_ms=900_000, now_ms=now_ms)
    assert wait.retry_at_ms == now_ms + 60_000 * 3 // 6, "three of the six"


def test_how_long_an_override_holds_counts_from_when_it_begins() -> None:
    ledger = make(max_active=1)
    say(ledger, "o", {**override(max_active=2), "for_ms": 500}, now_ms=NOW_MS + 30)
    later = {**override(begins_at_ms=NOW_MS + 90, max_active=3), "for_ms": 500}
    say(ledger, "p", later, now_ms=NOW_MS + 60)
    found = ledger.record.overrides
    assert (found["o"].begins_at_ms, found["o"].ends_at_ms) == (NOW_MS + 30, NOW_MS + 530)
    assert (found["p"].begins_at_ms, found["p"].ends_at_ms) == (NOW_MS + 90, NOW_MS + 590)
    forever = {**override(LAST_MS, LAST_MS - 1, max_active=4), "for_ms": LAST_MS}
    assert say(ledger, "q", forever).after["ends_at_ms"] == LAST_MS


def test_who_sets_the_same_once_more_has_one_override_as_it_was_said_last() -> None:
    ledger = make(max_active=1)
    say(ledger, "o", override(max_active=2))
    now_ms = NOW_MS + 50
    trial = say(ledger, "t", override(LATER_MS + 50, max_active=2), now_ms=now_ms, dry_run=True)
    assert trial.message.endswith("in place of o, by which ann set the same")
    assert list(ledger.record.overrides) == ["o"]
    longer = say(ledger, "p", override(LATER_MS + 50, max_active=2), now_ms=now_ms)
    assert (longer.before["id"], longer.before["ends_at_ms"]) == ("o", LATER_MS)
    assert say(ledger, "q", override(NOW_MS + 99, max_active=2), now_ms=now_ms).accepted
    assert [(one.id, one.ends_at_ms) for one in again(ledger).record.overrides.values()] == [
        ("q", NOW_MS + 99)
    ]
    assert say(ledger, "o", override(max_active=2), now_ms=now_ms).id == "o", "as it was answered"
    assert list(ledger.record.overrides) == ["q"]
    say(ledger, "later", override(begins_at_ms=NOW_MS + 70, max_active=2), now_ms=now_ms)
    say(ledger, "more", override(max_active=2, per_hour=9), now_ms=now_ms)
    say(ledger, "bob's", override(max_active=2), now_ms=now_ms, actor="bob")
    assert {*ledger.record.overrides} == {"q", "later", "more", "bob's"}, "none says the same"
    say(ledger, "moved", override(LATER_MS + 1, NOW_MS + 70, max_active=2), now_ms=now_ms)
    assert {*ledger.record.overrides} == {"q", "moved", "more", "bob's"}


def test_a_run_that_stacked_what_was_said_twice_does_so_still() -> None:
    ledger = make(max_active=1)
    for id in "op":
        command = LedgerCommand.model_validate(
            {"id": id, "actor": "ann", "reason": "a drill", "action": override(max_active=2)}
        )
        assert ledger.sets_again(command, NOW_MS) == (id == "p")
        ledger.operate(command, NOW_MS, stacks=True)
    assert list(ledger.record.overrides) == ["o", "p"]


def test_the_audit_says_what_holds_again_when_an_override_is_lifted_or_over() -> None:
    ledger = make(max_active=4)
    say(ledger, "o", override(max_active=8, per_hour=9))
    say(ledger, "p", override(LATER_MS + 1, per_hour=20))
    lift = {"kind": "lift", "id": "p"}
    trial = say(ledger, "t", lift, dry_run=True)
    assert trial.after == {"changes": {"per_hour": 9}}, "what the other says"
    ledger.advance(LATER_MS + 1)
    ended = [one for one in ledger.record.audit if one.action == "override_ended"]
    assert [one.after["changes"] for one in ended] == [
        {"max_active": 4, "per_hour": 20},
        {"per_hour": None},
    ]
    ledger = make(max_active=4)
    say(ledger, "o", override(begins_at_ms=NOW_MS + 1, max_active=8))
    say(ledger, "p", override(begins_at_ms=NOW_MS + 2, ends_at_ms=LATER_MS, max_active=9))
    assert say(ledger, "l", {"kind": "lift", "id": "p"}).accepted
    line = ledger.record.audit[-1]
    assert (line.before["changes"], line.after) == (
        {"max_active": 9},
        {"changes": {"max_active": 8}},
    ), "as it is when it would have begun"
    say(ledger, "z", throttle(0.5))
    assert say(ledger, "m", {"kind": "lift", "id": "z"}).after == {}


def test_an_override_to_come_serves_those_who_wait_when_it_begins() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    say(ledger, "o", override(begins_at_ms=NOW_MS + 100, max_active=2))
    assert ledger.next_deadline() == NOW_MS + 100
    ledger.advance(NOW_MS + 100)
    assert set(ledger.record.wakes) == {"b"}


def test_overlapping_overrides_apply_in_the_order_in_which_they_begin() -> None:
    ledger = make(max_active=1, rate="10/s")
    say(ledger, "late", override(begins_at_ms=NOW_MS + 20, max_active=7))
    say(ledger, "early", override(NOW_MS + 50, NOW_MS + 10, max_active=5, rate="20/s"))
    seen = []
    for at_ms in (0, 10, 20, 50, 10_000):
        ledger.advance(NOW_MS + at_ms)
        scan = ledger.view().limits["scan"]
        seen.append((scan.max_active, str(scan.rate)))
    assert seen == [(1, "10/s"), (5, "20/s"), (7, "20/s"), (7, "10/s"), (1, "10/s")]


def test_what_only_an_override_lets_pass_may_wait_for_it_and_no_longer() -> None:
    ledger = make(max_active=2)
    assert code(ask(ledger, "never", units=5, wait_ms=60_000)) is ReasonCode.CAN_NEVER_FIT
    say(ledger, "o", override(begins_at_ms=NOW_MS + 100, max_active=5))
    ask(ledger, "a", wait_ms=60_000)
    assert ask(ledger, "big", units=5, wait_ms=60_000).outcome is WAITING
    ledger.advance(LATER_MS)
    assert code(ask(ledger, "big", now_ms=LATER_MS)) is ReasonCode.CAN_NEVER_FIT


def test_a_limit_is_not_lowered_below_what_is_held_unless_said_so() -> None:
    ledger = make(max_active=5, per_hour=9)
    ask(ledger, "a", units=4)
    reply = say(ledger, "o", override(max_active=2, per_hour=3))
    assert (reply.accepted, reply.refused) == (False, "below_usage")
    of = f"scan of {ledger.record.tenant}"
    assert f"max_active of {of} would be 2, but 4 are held" in reply.message
    assert f"per_hour of {of} would be 3, but 4 are granted already" in reply.message
    # A window gets nothing back: it ends.
    assert "under it nothing would be granted until it ends at 23:00 UTC" in reply.message
    assert reply.message.endswith(". Nothing would be taken back: say so with allow_below_usage")
    assert ledger.record.overrides == {}
    assert ledger.record.audit == []
    assert say(ledger, "o2", override(max_active=2), allow_below_usage=True).accepted
    assert "a" in ledger.record.permits
    assert ask(ledger, "b").outcome is DENIED


def test_an_override_to_come_is_not_judged_by_windows_that_are_over_by_then() -> None:
    ledger = make(max_active=20, per_hour=20, per_day=20)
    ask(ledger, "a", units=10)
    soon = {"begins_at_ms": NOW_MS + 1_000, "ends_at_ms": NOW_MS + 40 * 86_400_000}
    later = soon | {"begins_at_ms": NOW_MS + 30 * 86_400_000}
    assert say(ledger, "o1", override(**soon, per_day=5)).refused == "below_usage"
    assert say(ledger, "o2", override(**later, max_active=5)).refused == "below_usage"
    assert say(ledger, "o3", override(**later, per_day=5, per_hour=5)).accepted


def test_the_same_command_is_done_once_and_answered_the_same() -> None:
    ledger = make(max_active=1)
    first = say(ledger, "o", override(max_active=2))
    ledger = again(ledger)
    assert say(ledger, "o", override(max_active=9), now_ms=NOW_MS + 5) == first
    assert ledger.record.overrides["o"].changes.max_active == 2
    assert len(ledger.record.audit) == 1
    for nth in range(MAX_COMMANDS_KEPT + 10):
        say(ledger, f"x{nth}", {"kind": "lift", "id": "nothing"})
    assert len(ledger.record.commands) == MAX_COMMANDS_KEPT


def test_a_dry_run_changes_nothing() -> None:
    ledger = make(max_active=1)
    before = RECORD.dump_json(ledger.record)
    reply = say(ledger, "o", override(max_active=2), dry_run=True)
    assert (reply.accepted, reply.dry_run, reply.before) == (True, True, {"max_active": 1})
    assert RECORD.dump_json(ledger.record) == before
    assert say(ledger, "o", override(max_active=2)).dry_run is False


@pytest.mark.parametrize(
    ("action", "refused", "said"),
    [
        (override(NOW_MS, max_active=2), "invalid", "passed already"),
        (override(burst=3), "invalid", "burst without rate"),
        (override(guaranteed=3), "invalid", "guaranteed is 3, but max_active is 1"),
        ({**override(max_active=2), "resource": "sign"}, "not_found", "no quota for sign"),
        (throttle(0.5, NOW_MS), "invalid", "passed already"),
        (throttle(0.5, resource="sign"), "not_found", "no quota for sign"),
        ({"kind": "resume", "resource": "*"}, "not_found", "no throttle is set for all"),
        ({"kind": "lift", "id": "x"}, "not_found", "no override or throttle x"),
        ({"kind": "release", "permit": "x"}, "not_found", "nobody holds or waits for x"),
    ],
)
def test_what_makes_no_sense_is_refused_with_why(action: Any, refused: str, said: str) -> None:
    ledger = make(max_active=1)
    reply = say(ledger, "c", action)
    assert (reply.accepted, reply.refused) == (False, refused)
    assert said in reply.message
    assert ledger.record.audit == []


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (override(max_activ=2), "max_activ"),
        (override(), "names no field"),
        (override(time_zone="UTC"), "time_zone cannot be overridden"),
        (override(max_active=-1), "greater than or equal to 0"),
        (override(5, 6, max_active=2), "not after begins_at_ms"),
        (throttle(1.0), "less than 1"),
        (throttle(float("nan")), "finite"),
        ({"kind": "explode"}, "kind"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(action: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        say(make(), "c", action)


def test_a_throttle_cuts_every_number_but_leaves_one() -> None:
    ledger = make(max_active=5, rate="9/s", burst=3, per_hour=10, per_day=1)
    say(ledger, "t", throttle(0.5, LATER_MS))
    scan = ledger.view().limits["scan"]
    assert (scan.max_active, str(scan.rate)) == (2, "4/s")
    assert {kind: window.limit for kind, window in scan.windows.items()} == {
        "per_hour": 5,
        "per_day": 1,
    }
    ledger.advance(LATER_MS)
    assert ledger.view().limits["scan"].max_active == 5
    assert [one.action for one in ledger.record.audit] == ["throttle", "throttle_ended"]


def test_what_a_cut_leaves_no_room_for_may_wait_for_its_end() -> None:
    ledger = make(max_active=5, rate="9/s", burst=4)
    say(ledger, "t", throttle(0.5, LATER_MS))
    assert ask(ledger, "a", units=3).retry_at_ms == LATER_MS
    assert ask(ledger, "b", units=3, wait_ms=60_000).retry_at_ms == LATER_MS
    ledger.advance(LATER_MS)
    assert set(ledger.record.permits) == {"b"}


def test_a_cut_concerns_what_the_pool_gives_too() -> None:
    settings = quotas(scan={}).model_copy(update={"pools": {"scan": "p"}})
    ledger = Ledger.begin("acme", settings, 1)
    ledger.allocate(Allocation(pool="p", sequence=1, units={"scan": 9}), NOW_MS)
    say(ledger, "t", throttle(0.5))
    assert ledger.view().limits["scan"].allocated == 4


def test_the_strictest_of_several_throttles_holds() -> None:
    ledger = make(max_active=10)
    say(ledger, "all", throttle(0.8, resource="*"))
    say(ledger, "some", throttle(0.3, NOW_MS + 100))
    assert ledger.view().limits["scan"].max_active == 3
    ledger.advance(NOW_MS + 100)
    assert ledger.view().limits["scan"].max_active == 8


def test_a_pause_with_an_end_says_when_exactly() -> None:
    ledger = make(max_active=1)
    say(ledger, "t", throttle(0, LATER_MS, resource="*"))
    wait = ask(ledger, "a", wait_ms=60_000)
    assert (code(wait), wait.retry_at_ms) == (ReasonCode.SUSPENDED, LATER_MS)
    assert wait.reason is not None
    assert wait.reason.message == "tenant acme was paused by ann: the night shift"
    ledger.advance(LATER_MS)
    assert "a" in ledger.record.permits


def test_resume_ends_what_was_set_for_exactly_that() -> None:
    ledger = make(max_active=2)
    ask(ledger, "a", wait_ms=60_000)
    say(ledger, "p1", {"kind": "pause", "resource": "*"})
    say(ledger, "p2", {"kind": "pause", "resource": "scan"})
    ask(ledger, "b", wait_ms=60_000)
    assert say(ledger, "r1", {"kind": "resume", "resource": "*"}).accepted
    assert "b" in ledger.record.waiters
    assert say(ledger, "r2", {"kind": "resume", "resource": "scan"}).accepted
    assert set(ledger.record.permits) == {"a", "b"}


def test_one_override_or_throttle_is_lifted_by_its_id() -> None:
    ledger = make(max_active=1)
    say(ledger, "o", override(max_active=3))
    say(ledger, "t", throttle(0.5))
    assert say(ledger, "l1", {"kind": "lift", "id": "t"}).accepted
    assert ledger.view().limits["scan"].max_active == 3
    reply = say(ledger, "l2", {"kind": "lift", "id": "o"})
    assert reply.before["changes"] == {"max_active": 3}
    assert ledger.view().limits["scan"].max_active == 1
    assert ledger.next_deadline() is None


def test_a_permit_is_released_by_people_and_passed_on() -> None:
    ledger = make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    reply = say(ledger, "r", {"kind": "release", "permit": "a"})
    assert reply.before == {"workflow_id": "job-a", "units": {"scan": 1}}
    assert set(ledger.record.permits) == {"b"}
    assert ledger.record.audit[-1].target == "ledger/acme/a"


def test_what_was_spent_of_a_rate_is_kept_through_an_override_however_late_it_is_noticed() -> None:
    ledger = make(rate="10/s", burst=10)
    ask(ledger, "a", units=10)
    say(ledger, "o", override(NOW_MS + 200, NOW_MS + 100, rate="20/s"))
    # 100 ms at 10/s, 100 ms at 20/s, 100 ms at 10/s: 1 + 2 + 1 of the 10 units are back.
    assert ask(ledger, "b", units=4, now_ms=NOW_MS + 299).outcome is DENIED
    assert ask(ledger, "c", units=4, now_ms=NOW_MS + 300).outcome is GRANTED


def test_a_throttle_of_all_tenants_comes_with_the_settings() -> None:
    settings = quotas(scan={"max_active": 4})
    cut = Throttle(id="g", resource="scan", share=0.5, until_ms=LATER_MS, actor="ops", reason="hot")
    ledger = Ledger.begin("acme", settings, 1)
    ledger.configure(settings.model_copy(update={"resource_throttles": [cut]}), NOW_MS)
    ask(ledger, "a", units=2)
    denial = ask(ledger, "b")
    assert denial.reason is not None
    assert "2 of 2 scan of tenant acme in use (cut to 50% by ops: hot)" in denial.reason.message
    assert ledger.next_deadline() == LATER_MS
    ledger.advance(LATER_MS)
    assert ask(ledger, "c", now_ms=LATER_MS).outcome is GRANTED
    assert ledger.view().throttles == []


# Reservations ------------------------------------------------------------------------------------

EVENING = {"begin": "22:30", "end": "22:40", "max_active": 3}  # NOW_MS is 22:13:20
BEGIN_MS = NOW_MS + 1_000_000


def reserved(**quota: Any) -> Ledger:
    return make(max_active=1, reservations=[{**EVENING, **quota}])


def test_a_reservation_serves_those_who_wait_when_it_begins_and_ends_by_itself() -> None:
    ledger = reserved()
    ask(ledger, "a")
    assert ledger.next_deadline() == NOW_MS + 3_600_000, "nobody waits: nothing to get up for"
    ask(ledger, "b", wait_ms=86_400_000)
    assert ledger.next_deadline() == BEGIN_MS
    ledger = again(ledger)
    ledger.advance(BEGIN_MS)
    assert set(ledger.record.permits) == {"a", "b"}
    assert ask(ledger, "c", now_ms=BEGIN_MS).outcome is GRANTED
    end_ms = BEGIN_MS + 600_000
    for id in "ab":
        ledger.release(id, BEGIN_MS)
    assert ask(ledger, "d", now_ms=end_ms).outcome is DENIED


def test_a_reservation_that_was_slept_through_counts_when_the_next_job_comes() -> None:
    ledger = reserved()
    assert ask(ledger, "a", units=3, now_ms=BEGIN_MS + 5).outcome is GRANTED


def test_more_than_the_quota_may_wait_for_a_reservation() -> None:
    assert ask(reserved(), "a", units=3, wait_ms=86_400_000).outcome is WAITING
    assert ask(reserved(), "a", units=4, wait_ms=86_400_000).outcome is DENIED


def test_an_override_lies_over_a_reservation() -> None:
    ledger = reserved()
    say(ledger, "o", override(BEGIN_MS + 100, max_active=2))
    ledger.advance(BEGIN_MS)
    assert ledger.view().limits["scan"].max_active == 2
    ledger.advance(BEGIN_MS + 100)
    assert ledger.view().limits["scan"].max_active == 3


def test_a_governor_is_told_of_a_reserved_guarantee() -> None:
    settings = quotas(scan={"reservations": [{**EVENING, "guaranteed": 2}]})
    settings = settings.model_copy(update={"pools": {"scan": "p"}})
    ledger = Ledger.begin("acme", settings, 1)
    assert ledger.next_deadline() is None
    ask(ledger, "a", wait_ms=86_400_000)
    ledger.demands_sent(ledger.demands())
    ledger.release("a", NOW_MS)
    ledger.demands_sent(ledger.demands())
    assert ledger.next_deadline() == BEGIN_MS
    ledger.advance(BEGIN_MS)
    assert ledger.demands_due()
    assert ledger.demands()[0].claims["scan"].share.guaranteed == 2


def test_all_of_it_survives_json() -> None:
    ledger = reserved()
    say(ledger, "o", override(max_active=None, rate="5/s", paused=None))
    say(ledger, "t", throttle(0.5))
    ask(ledger, "a")
    assert RECORD.validate_json(RECORD.dump_json(ledger.record)) == ledger.record
    assert again(ledger).view() == ledger.view()
    view = ledger.view()
    assert LedgerView.model_validate_json(view.model_dump_json()) == view
    assert b'"changes":{"max_active":null,"rate":"5/s","paused":null}' in RECORD.dump_json(
        ledger.record
    )
    assert (
        LedgerSettings.model_validate_json(
            LedgerSettings(quotas=ledger.record.quotas).model_dump_json()
        ).quotas
        == ledger.record.quotas
    )
