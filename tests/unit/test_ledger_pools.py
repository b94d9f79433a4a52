"""A ledger and the governors of its pools."""

from collections.abc import Callable
from typing import Any

import pytest

from headgate.model.ledger import Acquire, Exchange, Holder, Outcome
from headgate.model.pool import Allocation, Claim
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger
from headgate.quota.demand import REFUSED_COUNTS_MS
from headgate.quota.ways import Ways
from tests.unit.ledgers import DENIED, GRANTED, NOW_MS, WAITING, again, ask, code, quotas


def pooled(**quota: Any) -> LedgerSettings:
    settings = quotas(scan={"max_active": 10, **quota}, sign={"max_active": 5})
    return settings.model_copy(update={"pools": {"scan": "scanners"}})


def make(**quota: Any) -> Ledger:
    return Ledger.begin("acme", pooled(**quota), 1, check_every_ms=1_000)


def allocation(units: int, sequence: int = 1, **more: Any) -> Allocation:
    return Allocation(pool="scanners", sequence=sequence, units={"scan": units}, **more)


def tell(ledger: Ledger) -> Claim:
    """Do as the workflow does; return what the governor is told of scan."""
    demands = ledger.demands()
    ledger.demands_sent(demands)
    assert not ledger.demands_due()
    [demand] = demands
    return demand.claims["scan"]


def started(units: int, jobs: int = 0, **quota: Any) -> Ledger:
    """Return a ledger with an allocation, jobs that hold, and a governor that knows."""
    ledger = make(**quota)
    for nth in range(jobs):
        ask(ledger, str(nth), wait_ms=600_000)
    tell(ledger)
    ledger.allocate(allocation(units), NOW_MS)
    tell(ledger)
    return ledger


def test_nothing_of_a_pool_is_granted_before_its_governor_has_spoken() -> None:
    ledger = make()
    wait = ask(ledger, "a", wait_ms=60_000)
    assert code(wait) is ReasonCode.POOL_USED_UP
    assert wait.reason is not None
    assert "waits for the governor of pool scanners" in wait.reason.message
    assert ask(ledger, "b", resource="sign").outcome is GRANTED
    ledger.allocate(allocation(1), NOW_MS)
    assert set(ledger.record.permits) == {"a", "b"}
    assert ledger.record.wakes == {"a": NOW_MS}


def test_the_smaller_of_max_active_and_allocation_counts_and_is_named() -> None:
    ledger = make(max_active=2)
    ledger.allocate(
        allocation(1, capacity={"scan": 9}, allocated={"scan": 7}, why="by weight"), NOW_MS
    )
    assert [ask(ledger, id).outcome for id in "ab"] == [GRANTED, DENIED]
    reason = ask(ledger, "b").reason
    assert reason is not None
    assert (reason.code, reason.limit, reason.used) == (ReasonCode.POOL_USED_UP, 1, 1)
    assert reason.message.endswith(
        "its part of pool scanners (when its governor last spoke: 7 of 9 given out, by weight)"
    )
    # People are told how the pool is now, by those who ask its governor.
    ask(ledger, "waits", wait_ms=60_000)
    view = ledger.why("waits", NOW_MS)
    assert view is not None and view.reason is not None
    assert view.reason.message.endswith(
        "1 of 1 scan of tenant acme in use, its part of pool scanners"
    )
    ledger.release("waits", NOW_MS)
    ledger.allocate(allocation(5, 2), NOW_MS)
    assert [ask(ledger, id).outcome for id in "cd"] == [GRANTED, DENIED]
    assert code(ask(ledger, "d")) is ReasonCode.QUOTA_USED_UP


def test_a_cut_takes_nothing_back_and_grants_nothing_until_enough_has_come_back() -> None:
    ledger = started(3, jobs=5)
    assert len(ledger.record.permits) == 3
    ledger.allocate(allocation(1, 2), NOW_MS)
    assert len(ledger.record.permits) == 3
    for id in "01":
        ledger.release(id, NOW_MS)
    assert set(ledger.record.permits) == {"2"}
    ledger.release("2", NOW_MS)
    assert set(ledger.record.permits) == {"3"}


def test_old_allocations_and_those_for_others_are_left_aside() -> None:
    ledger = make()
    ledger.allocate(allocation(5, sequence=4), NOW_MS)
    revision = ledger.record.revision
    ledger.allocate(allocation(9, sequence=4), NOW_MS)
    ledger.allocate(allocation(9, sequence=3), NOW_MS)
    ledger.allocate(allocation(9, sequence=5, incarnation=2), NOW_MS)
    assert ledger.view().limits["scan"].allocated == 5
    assert ledger.record.revision == revision
    ledger.allocate(allocation(6, sequence=5, incarnation=1), NOW_MS)
    assert ledger.view().limits["scan"].allocated == 6


def test_a_pool_that_only_observes_limits_nothing() -> None:
    ledger = make()
    ledger.allocate(allocation(0, enforced=False), NOW_MS)
    assert ask(ledger, "a").outcome is GRANTED
    assert ledger.view().limits["scan"].allocated is None


def test_an_allocation_is_kept_until_the_settings_name_its_pool() -> None:
    ledger = Ledger.begin("acme", quotas(scan={}), 1)
    ledger.allocate(allocation(1), NOW_MS)
    assert [ask(ledger, id).outcome for id in "ab"] == [GRANTED, GRANTED]
    ledger.configure(pooled(), NOW_MS)
    assert ask(ledger, "c").outcome is DENIED
    ledger.configure(quotas(scan={}), NOW_MS)
    assert ask(ledger, "d").outcome is GRANTED


def test_a_restored_ledger_waits_for_a_new_word_and_says_who_it_is() -> None:
    ledger = started(3, jobs=1)
    restored = Ledger.restore(ledger.record, 2, NOW_MS)
    restored.configure(pooled(), NOW_MS)
    assert restored.demands_due()
    [demand] = restored.demands()
    assert (demand.incarnation, demand.sequence, demand.claims["scan"].held) == (2, 0, 1)
    assert ask(restored, "x").outcome is DENIED
    restored.allocate(allocation(9, sequence=5, incarnation=1), NOW_MS)
    assert ask(restored, "y").outcome is DENIED
    restored.allocate(allocation(3, sequence=1, incarnation=2), NOW_MS)
    assert ask(restored, "z").outcome is GRANTED


def test_what_could_never_be_had_of_a_pool_is_refused_at_once() -> None:
    ledger = make(guaranteed=2, borrow_limit=3)
    ledger.allocate(allocation(2, guarantees=True), NOW_MS)
    assert code(ask(ledger, "a", units=6, wait_ms=60_000)) is ReasonCode.CAN_NEVER_FIT
    assert ask(ledger, "b", units=5, wait_ms=60_000).outcome is WAITING
    other = make()
    other.allocate(allocation(2, capacity={"scan": 4}), NOW_MS)
    assert code(ask(other, "a", units=5, wait_ms=60_000)) is ReasonCode.CAN_NEVER_FIT
    assert ask(other, "b", units=4, wait_ms=60_000).outcome is WAITING
    other.allocate(allocation(2, 2, capacity={"scan": 3}), NOW_MS)
    assert "b" in other.record.waiters, "a pool that has shrunk may grow again"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({}, id="by_weight_only"),
        pytest.param({"guarantees": True, "enforced": False}, id="only_observes"),
    ],
)
def test_a_borrow_limit_turns_nobody_away_where_it_does_not_hold(said: dict[str, Any]) -> None:
    ledger = make(guaranteed=2, borrow_limit=3)
    ledger.allocate(allocation(9, **said), NOW_MS)
    assert ask(ledger, "a", units=6).outcome is GRANTED


def test_who_waits_keeps_the_place_until_the_governor_says_that_a_borrow_limit_holds() -> None:
    ledger = make(guaranteed=2, borrow_limit=3)
    assert ask(ledger, "large", units=6, wait_ms=60_000).outcome is WAITING
    assert ask(ledger, "small", units=5, wait_ms=60_000).outcome is WAITING
    restored = Ledger.restore(again(ledger).record, 2, NOW_MS)
    restored.configure(pooled(guaranteed=2, borrow_limit=3), NOW_MS)
    assert set(restored.record.waiters) == {"large", "small"}, "the pool may only observe"
    restored.allocate(allocation(5, incarnation=2, guarantees=True), NOW_MS)
    assert [*restored.record.permits] == ["small"]
    away = restored.record.turned_away["large"].decision
    assert (away.outcome, code(away)) == (DENIED, ReasonCode.CAN_NEVER_FIT)


def test_a_run_that_began_before_decides_as_it_did() -> None:
    ledger = Ledger.begin(
        "acme", pooled(guaranteed=2, borrow_limit=3), 1, ways=Ways(as_before=True)
    )
    assert code(ask(ledger, "a", units=6, wait_ms=60_000)) is ReasonCode.CAN_NEVER_FIT


def test_when_a_pool_gives_more_than_it_gives_now_nobody_knows() -> None:
    ledger = started(2, jobs=2, max_active=9)
    ledger.release("1", NOW_MS)
    ask(ledger, "2")
    wait = ask(ledger, "large", units=3, wait_ms=600_000)
    assert wait.reason is not None
    assert (wait.reason.code, wait.reason.endless) == (ReasonCode.POOL_USED_UP, True)
    assert "to go" not in wait.reason.message
    behind = ask(ledger, "behind", wait_ms=600_000)
    assert behind.reason is not None
    assert (behind.reason.code, behind.reason.endless) == (ReasonCode.POOL_USED_UP, False)
    refused = ask(ledger, "refused", units=3)
    assert refused.retry_at_ms == NOW_MS + 1_000, "as long as it asks, the governor hears of it"


# What the governor is told -----------------------------------------------------------------------


def test_an_idle_ledger_has_nothing_to_say() -> None:
    ledger = make()
    assert not ledger.demands_due()
    assert ledger.demands_due_at_ms() is None
    assert ledger.next_deadline() is None
    [demand] = ledger.demands()
    applied = pooled().quotas
    assert applied is not None
    assert demand.claims == {"scan": Claim(tiers=[], share=applied["scan"].share)}


def test_demand_is_what_it_would_hold_if_the_pool_had_no_end() -> None:
    ledger = make(max_active=4, guaranteed=2, weight=3)
    for nth in range(6):
        ask(ledger, str(nth), wait_ms=60_000)
    assert ledger.demands_due()
    claim = tell(ledger)
    assert (claim.held, claim.wanted, claim.share.guaranteed, claim.share.maximum) == (0, 4, 2, 4)
    ledger.allocate(allocation(1), NOW_MS)
    assert ledger.demands_due(), "an allocation is acknowledged"
    assert ledger.demands()[0].sequence == 1
    claim = tell(ledger)
    assert (claim.held, claim.wanted) == (1, 4)


def test_a_pause_wants_nothing_more() -> None:
    ledger = started(2, jobs=4)
    paused = pooled(paused="audit")
    ledger.configure(paused, NOW_MS)
    assert ledger.demands()[0].claims["scan"].wanted == 2


def test_a_used_window_wants_nothing_more() -> None:
    ledger = started(5, jobs=0, per_hour=2)
    for id in "abc":
        ask(ledger, id, wait_ms=86_400_000)
    assert ledger.demands()[0].claims["scan"].wanted == 2


def test_more_than_the_allocation_is_told_at_once_and_less_after_a_second() -> None:
    ledger = started(2, jobs=2)
    ask(ledger, "x", wait_ms=60_000)
    assert ledger.demands_due()
    assert tell(ledger).wanted == 3
    ledger.release("x", NOW_MS + 10)
    assert not ledger.demands_due()
    assert ledger.demands_due_at_ms() == NOW_MS + 1_010
    ledger.release("0", NOW_MS + 500)
    assert ledger.demands_due_at_ms() == NOW_MS + 1_010
    assert again(ledger).demands_due_at_ms() == NOW_MS + 1_010
    assert tell(ledger).wanted == 1
    assert ledger.demands_due_at_ms() is None


def test_what_comes_and_goes_within_the_allocation_is_not_told() -> None:
    ledger = started(4, jobs=2)
    for nth in range(20):
        ask(ledger, f"x{nth}", now_ms=NOW_MS + nth)
        assert not ledger.demands_due()
        ledger.release(f"x{nth}", NOW_MS + nth)
        assert not ledger.demands_due()
    assert ledger.demands_due_at_ms() is None


def test_what_comes_back_after_a_cut_is_told_at_once() -> None:
    ledger = started(3, jobs=3)
    ledger.allocate(allocation(1, 2), NOW_MS)
    tell(ledger)
    ledger.release("0", NOW_MS)
    assert ledger.demands_due()
    assert tell(ledger).held == 2


def test_a_new_share_is_told_at_once() -> None:
    ledger = started(3, jobs=1)
    ledger.configure(pooled(weight=2), NOW_MS)
    assert ledger.demands_due()


def test_jobs_that_do_not_wait_are_demand_too_for_a_while() -> None:
    ledger = make()
    assert [ask(ledger, id).outcome for id in "abc"] == [DENIED] * 3
    assert ledger.demands_due()
    assert tell(ledger).wanted == 3
    deadline = NOW_MS + REFUSED_COUNTS_MS
    assert ledger.next_deadline() == deadline
    ledger = again(ledger)
    ledger.advance(deadline)
    assert ledger.next_deadline() is None
    assert ledger.demands_due_at_ms() == deadline + 1_000
    assert tell(ledger).wanted == 0


def test_a_job_that_asks_again_and_again_is_not_counted_each_time() -> None:
    ledger = make()
    for nth in range(10):
        ask(ledger, f"try{nth}", now_ms=NOW_MS + nth * 1_000)
        assert ledger.demands()[0].claims["scan"].wanted == 1


def test_every_message_is_later_than_the_one_before() -> None:
    ledger = make(per_hour=1)
    last = -1
    steps: list[Callable[[], object]] = [
        lambda: ask(ledger, "a", wait_ms=86_400_000),
        lambda: ledger.allocate(allocation(1), NOW_MS),
        lambda: ask(ledger, "b", wait_ms=86_400_000),
        lambda: ledger.release("a", NOW_MS),
        lambda: ledger.configure(pooled(per_hour=2), NOW_MS),
    ]
    for step in steps:
        step()
        for demand in ledger.demands():
            if ledger.demands_due() or ledger.demands_due_at_ms() is not None:
                assert demand.revision > last
                last = demand.revision
        ledger.demands_sent(ledger.demands())


def test_a_resource_that_left_its_pool_is_held_of_it_until_it_has_come_back() -> None:
    ledger = started(3, jobs=2)
    ledger.configure(quotas(scan={"max_active": 9}), NOW_MS)
    assert ledger.demands_due()
    assert tell(ledger).held == 2
    # Also when the governor has lowered it meanwhile: its jobs hold what they hold.
    ledger.allocate(Allocation(pool="scanners", sequence=2), NOW_MS)
    assert tell(ledger).held == 2
    for number, left in enumerate((1, 0)):
        ledger.release(str(number), NOW_MS)
        assert ledger.demands_due()
        assert tell(ledger).held == left
    ask(ledger, "other")  # this is of no pool
    [demand] = ledger.demands()
    assert demand.claims == {}
    ledger.demands_sent([demand])
    assert ledger.demands() == []
    assert not ledger.demands_due()


def test_what_was_lowered_below_what_is_held_before_it_leaves_is_of_the_pool_too() -> None:
    """Else its governor gave to others what is not back yet: found by the stateful tests."""
    for notes_left in (True, False):
        ledger = started(3, jobs=2)
        ledger.ways.notes_left = notes_left
        ledger.allocate(Allocation(pool="scanners", sequence=2, units={"scan": 0}), NOW_MS)
        tell(ledger)
        ledger.configure(quotas(scan={"max_active": 9}), NOW_MS)
        claims = ledger.demands()[0].claims
        assert [one.held for one in claims.values()] == ([2] if notes_left else [])


def test_needs_of_two_pools_are_told_to_both() -> None:
    settings = quotas(scan={}, sign={}).model_copy(update={"pools": {"scan": "p", "sign": "q"}})
    ledger = Ledger.begin("acme", settings, 1)
    ask(ledger, "a", also={"sign": 3}, wait_ms=60_000)
    demands = ledger.demands()
    assert [(one.pool, {n: c.wanted for n, c in one.claims.items()}) for one in demands] == [
        ("p", {"scan": 1}),
        ("q", {"sign": 3}),
    ]
    ledger.allocate(Allocation(pool="p", sequence=1, units={"scan": 1}), NOW_MS)
    assert ledger.record.permits == {}
    ledger.allocate(Allocation(pool="q", sequence=1, units={"sign": 3}), NOW_MS)
    assert ask(ledger, "a").outcome is Outcome.GRANTED


def test_a_pool_that_is_gone_before_it_was_told_leaves_nothing_to_tell() -> None:
    settings = LedgerSettings(
        quotas={"scan": Quota(max_active=3)}, pools={"scan": "slots"}, source="listed"
    )
    ledger = Ledger.begin("acme", settings, 1)
    wants = Acquire(
        id="a", holder=Holder(workflow_id="w"), resource="scan", wait_until_ms=NOW_MS + 60_000
    )
    ledger.exchange(Exchange(gate="g", acquires=[wants]), NOW_MS)
    assert ledger.demands_due()
    ledger.configure(settings.model_copy(update={"pools": {}}), NOW_MS + 1)
    assert ledger.demands() == []
    assert not ledger.demands_due()


def test_what_a_governor_is_told_of_before_it_leaves_lowers_nothing_of_what_it_left_with() -> None:
    """The message was composed while there was less, and arrives when more has been taken."""
    ledger = started(3, jobs=2)
    under_way = ledger.demands()
    ask(ledger, "third")
    ledger.configure(quotas(scan={"max_active": 9}), NOW_MS)
    ledger.demands_sent(under_way)
    assert ledger.demands()[0].claims["scan"].held == 3
