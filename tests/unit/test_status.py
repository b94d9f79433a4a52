"""The verdict: flowing, blocked by what, or stale; and what needs attention first."""

from typing import Any

from headgate.breaker import Breaker, affected
from headgate.breaker.operator import obey
from headgate.model.breaker import BreakerCommand, BreakerState
from headgate.model.lease import LeaseAsk
from headgate.model.ledger import Exchange, LedgerCommand, SetPause
from headgate.quota import Ledger
from headgate.view.standing import (
    BreakerStanding,
    TenantStanding,
    breaker_standing,
    tenant_standing,
)
from headgate.view.status import (
    OVERDUE_MS,
    STALE_MS,
    TURNED_AWAY_FOR_MS,
    Status,
    Totals,
    Verdict,
    status,
)
from tests.unit import ledgers
from tests.unit.ledgers import ask
from tests.unit.test_breaker import NOW_MS, Gate, make


def _breaker(outcomes: str = "", **policy: Any) -> BreakerStanding:
    breaker = make(**{"min_calls": 4, "open_ms": 60_000, "open_jitter": 0.0, **policy})
    if outcomes:
        Gate(breaker).report(outcomes)
    return breaker_standing(breaker.view(NOW_MS), NOW_MS, NOW_MS)


def _shown(breaker: Breaker, at_ms: int = NOW_MS) -> BreakerStanding:
    return breaker_standing(breaker.view(at_ms), at_ms, at_ms)


def _tenant(ledger: Ledger) -> TenantStanding:
    return tenant_standing(ledger.view(), NOW_MS, NOW_MS)


def _status(*found: BreakerStanding | TenantStanding, **other: Any) -> Status:
    breakers = [one for one in found if isinstance(one, BreakerStanding)]
    tenants = [one for one in found if isinstance(one, TenantStanding)]
    waiting = sum(one.waiting for one in tenants)
    totals = Totals(
        breakers=len(breakers),
        tenants=len(tenants),
        waiting=waiting,
        waiting_tenants=sum(one.waiting > 0 for one in tenants),
    )
    known = {"now_ms": NOW_MS, "worker_seen_ms": NOW_MS, "saved_at_ms": NOW_MS, **other}
    return status(breakers, tenants, [], totals, **known)


def test_while_all_is_well_it_flows() -> None:
    found = _status(_breaker("...."))
    assert (found.verdict, found.line) == (Verdict.FLOWING, "flowing; nobody waits")
    assert found.attention == []


def test_an_open_breaker_blocks_and_says_for_how_long() -> None:
    found = _status(_breaker("xxxx"), _tenant(_waiting()))
    assert found.verdict is Verdict.BLOCKED
    assert found.line == "blocked by breaker/scanner; 1 request of 1 tenant waits"
    first, second = found.attention
    assert first.message.startswith("OPEN: no call passes, for 60 s more: 4 of 4 calls failed")
    assert (first.severity, first.since_ms) == ("critical", NOW_MS)
    assert first.command == "headgate breaker show scanner"
    assert (second.severity, second.subject) == ("notice", "tenant/acme/scan")
    assert second.message == "1 of 1 held; 1 wait"


def test_calls_that_are_turned_away_are_told_of_though_nobody_waits_in_line() -> None:
    breaker = make(min_calls=4, open_ms=60_000, open_jitter=0.0)
    gate = Gate(breaker)
    gate.report("xxxx")
    assert _status(_shown(breaker)).line == "blocked by breaker/scanner; nobody waits in line"
    affected.count(breaker.record.affected, {"acme": 40, "bolt": 1}, NOW_MS)
    found = _status(_shown(breaker), turned_away={"scanner": 41})
    assert found.line == (
        "blocked by breaker/scanner; nobody waits in line; 41 calls to scanner were turned away "
        "in the last minute (of acme, bolt)"
    )
    assert found.attention[0].message.endswith(
        "; 41 calls turned away in the last minute; 2 tenants hit: acme (40), bolt (1)"
    )
    # Some time later their jobs still wait for the end of the open time.
    later = NOW_MS + TURNED_AWAY_FOR_MS
    found = _status(_shown(breaker, later), now_ms=later, worker_seen_ms=later)
    assert found.line == "blocked by breaker/scanner; nobody waits in line"
    assert found.attention[0].message.endswith("%); 2 tenants hit: acme (40), bolt (1)")


def test_of_several_that_turn_calls_away_all_are_counted() -> None:
    shut, cut = make(min_calls=4, open_ms=60_000), make()
    Gate(shut).report("xxxx")
    affected.count(shut.record.affected, {"acme": 2}, NOW_MS)
    cut.record.downstream = "attestor"
    found = _status(_shown(shut), _shown(cut), turned_away={"attestor": 1, "scanner": 2})
    assert found.line == (
        "blocked by breaker/scanner; nobody waits in line; 3 calls to attestor, scanner were "
        "turned away in the last minute"
    )


def test_where_some_calls_pass_those_hit_are_not_taken_for_turned_away() -> None:
    breaker = make()
    command = BreakerCommand(id="1", action="throttle", share=0.5, actor="ada", reason="a drill")
    obey(breaker, command, NOW_MS)
    affected.count(breaker.record.affected, {"acme": 1}, NOW_MS)
    found = _status(_shown(breaker), turned_away={"scanner": 1})
    assert found.line == (
        "flowing; nobody waits in line; 1 call to scanner was turned away in the last minute"
    )
    assert found.attention[0].message == (
        "cut to 50% of the calls by ada; 1 call turned away in the last minute"
    )


def test_a_forced_breaker_names_who_did_it() -> None:
    breaker = make()
    command = BreakerCommand(id="1", action="force_open", actor="ada", reason="fire drill")
    obey(breaker, command, NOW_MS)
    found = _status(breaker_standing(breaker.view(NOW_MS), NOW_MS, NOW_MS))
    assert found.attention[0].message == "FORCED_OPEN by ada: no call passes: fire drill"


def test_a_breaker_that_is_close_to_opening_is_told_of_before() -> None:
    found = _status(_breaker("....xxx", failure_rate=0.5))
    assert found.verdict is Verdict.FLOWING
    [item] = found.attention
    assert item.severity == "warning"
    assert item.message == "close to opening: 14% left, 1 more failure open it"


def test_a_pause_with_jobs_in_line_blocks() -> None:
    ledger = _waiting()
    command = LedgerCommand(
        id="1", actor="ada", reason="not paid", action=SetPause(resource="*"), dry_run=False
    )
    ledger.operate(command, NOW_MS)
    found = _status(_tenant(ledger))
    assert found.line == "blocked by tenant/acme/scan; 1 request of 1 tenant waits"
    assert "was paused by ada: not paid; 1 wait" in found.attention[0].message


def test_without_a_worker_nothing_is_known() -> None:
    never = _status(_breaker("xxxx"), worker_seen_ms=None)
    assert never.verdict is Verdict.STALE
    assert "headgate worker" in never.line
    silent = _status(_breaker("...."), worker_seen_ms=NOW_MS - STALE_MS - 1_000)
    assert silent.verdict is Verdict.STALE
    assert "has been seen for 21 s" in silent.line


def test_while_temporal_answers_no_worker_nothing_is_known() -> None:
    found = _status(_breaker("xxxx"), temporal_answered_ms=NOW_MS - STALE_MS - 1_000)
    assert found.verdict is Verdict.STALE
    assert found.line == (
        "Temporal has not answered the governance worker for 21 s: what is shown is from before, "
        "and nothing is decided until it does"
    )
    assert [one.subject for one in found.attention] == ["breaker/scanner"]
    just_yet = _status(_breaker("...."), temporal_answered_ms=NOW_MS - STALE_MS)
    assert just_yet.verdict is Verdict.FLOWING


def test_what_should_have_changed_long_ago_is_stale() -> None:
    late = NOW_MS + 60_000 + OVERDUE_MS + 1
    found = _status(_breaker("xxxx"), now_ms=late, worker_seen_ms=late)
    assert found.verdict is Verdict.STALE
    assert found.line == "scanner should have changed by now and has not: is Temporal well?"


def test_an_old_window_of_time_is_not_shown_as_of_now() -> None:
    breaker = make(failure_rate=0.5, min_calls=10)
    Gate(breaker).report("......xxx")
    view = breaker.view(NOW_MS)
    assert breaker_standing(view, NOW_MS, NOW_MS + 100_000).failures == 3
    later = breaker_standing(view, NOW_MS, NOW_MS + 200_000)
    assert (later.calls, later.failures, later.margin.share) == (0, 0, 1.0)
    assert later.state is BreakerState.CLOSED


def test_what_a_tenant_has_adds_up() -> None:
    ledger = ledgers.make(max_active=10, leased=True)
    block = LeaseAsk(
        resource="scan", number=1, wanted=4, ceiling=4, in_use=2, started=2, starts_ceiling=4
    )
    ledger.exchange(Exchange(gate="g", number=1, leases=[block]), NOW_MS)
    ask(ledger, "a", units=3)
    [scan] = _tenant(ledger).resources
    assert (scan.used, scan.leased, scan.free, scan.room) == (5, 2, 3, 10)
    assert (scan.borrowed, scan.guaranteed, scan.pool) == (0, 0, None)
    assert scan.usage == 0.7


def _waiting() -> Ledger:
    ledger = ledgers.make(max_active=1)
    ask(ledger, "a")
    ask(ledger, "b", wait_ms=60_000)
    return ledger


def test_what_is_held_without_a_quota_is_not_shown_as_without_a_limit() -> None:
    ledger = ledgers.make(max_active=2)
    ask(ledger, "a")
    view = ledger.view().model_copy(update={"limits": {}})
    (scan,) = tenant_standing(view, NOW_MS, NOW_MS).resources
    assert (scan.used, scan.free, scan.room) == (1, 0, 0)
