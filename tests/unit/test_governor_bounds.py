"""What could never be held is refused, and nothing else is."""

from typing import Any

import pytest

from headgate.allocation import bounds
from headgate.allocation.governor import Governor
from headgate.allocation.most import Most
from headgate.allocation.ways import Ways
from headgate.model.ledger import Decision, LedgerCommand, Outcome, SetOverride, SetThrottle
from headgate.model.limits import CapacityNews
from headgate.model.pool import Allocation, CapacityOverride, Claim, GroupShare, Strategy
from headgate.model.quota import Quota, QuotaChanges, Reservation
from headgate.model.reason import ReasonCode
from tests.unit.pools import PoolOfLedgers

KEEPER = Quota(guaranteed=60, lend_limit=0)
RESERVED = Strategy.RESERVED


def heard(pool: PoolOfLedgers) -> PoolOfLedgers:
    """Let everybody have had a job, so that the governor knows of all."""
    for tenant in pool.ledgers:
        pool.ask(tenant, wait_ms=500)
    pool.wait(1_000)
    for tenant in pool.ledgers:
        pool.give_back(tenant)
    pool.wait(1_000)
    return pool


def turned_away(pool: PoolOfLedgers, tenant: str = "a") -> list[Decision]:
    return [one.decision for one in pool.ledgers[tenant].record.turned_away.values()]


def asked(pool: PoolOfLedgers, units: int, tenant: str = "a") -> Decision:
    """Ask for units, and return the answer or, of one that waits, how that ends."""
    (decision,) = pool.ask(tenant, units=units)
    pool.wait(2_000)
    if decision.id in pool.ledgers[tenant].record.permits:
        return decision.model_copy(update={"outcome": Outcome.GRANTED})
    return next((one for one in turned_away(pool, tenant) if one.id == decision.id), decision)


def override(pool: PoolOfLedgers, tenant: str, for_ms: int, **changes: Any) -> None:
    command = LedgerCommand(
        id=f"override-{tenant}",
        actor="ann",
        reason="tonight",
        action=SetOverride(
            resource="scan",
            changes=QuotaChanges(**changes),
            begins_at_ms=pool.now_ms,
            ends_at_ms=pool.now_ms + for_ms,
        ),
    )
    assert pool.ledgers[tenant].operate(command, pool.now_ms).accepted
    pool.wait(1_000)


@pytest.mark.parametrize(
    ("quotas", "strategy", "limit", "why"),
    [
        ({"a": Quota(weight=0)}, RESERVED, 0, "its weight is 0, so it gets nothing"),
        ({"a": Quota(weight=0)}, Strategy.EQUAL, 0, "its weight is 0, so it gets nothing"),
        ({"a": Quota(), "b": KEEPER}, RESERVED, 40, "60 of what is guaranteed to others is not"),
        ({"in": Quota()}, RESERVED, 30, "group g may have 30"),
        ({"in": Quota()}, Strategy.PROPORTIONAL, 50, "group g may have 50"),
    ],
)
def test_what_could_never_be_held_is_refused_waiting_and_new(
    quotas: dict[str, Quota], strategy: Strategy, limit: int, why: str
) -> None:
    tenant = next(iter(quotas))
    groups = {"g": GroupShare(guaranteed=10, borrow_limit=20, maximum=50)}
    pool = heard(
        PoolOfLedgers(100, quotas, {"in": "g"}, groups=groups, strategy=strategy),
    )
    first = asked(pool, limit + 1, tenant)
    for decision in (first, pool.ask(tenant, units=limit + 1)[0]):
        assert decision.outcome is Outcome.DENIED
        assert decision.retry_at_ms is None
        assert decision.reason is not None
        assert (decision.reason.code, decision.reason.limit, decision.reason.needed) == (
            ReasonCode.CAN_NEVER_FIT,
            limit,
            limit + 1,
        )
        assert f"tenant {tenant} can hold at most {limit} of pool p: {why}" in (
            decision.reason.message
        )
    if limit:
        pool.ask(tenant, units=limit)
        pool.wait(5_000)
        assert pool.held(tenant) == limit


def test_several_resources_of_which_one_without_weight_gets_none() -> None:
    pool = PoolOfLedgers(10, {"a": Quota(weight=0), "b": Quota()}, strategy=Strategy.PROPORTIONAL)
    pool.governor.configure(
        pool.settings.model_copy(update={"capacity": {"scan": 10, "slots": 10}}), pool.now_ms
    )
    heard(pool)
    assert asked(pool, 1).outcome is Outcome.DENIED
    assert asked(pool, 10, "b").outcome is Outcome.GRANTED


def test_jobs_that_do_not_wait_are_told_so_too() -> None:
    pool = PoolOfLedgers(100, {"a": Quota(weight=0)})
    (decision,) = pool.ask("a", wait_ms=0)
    assert decision.reason is not None
    assert decision.reason.code is ReasonCode.POOL_USED_UP
    pool.wait(1_000)
    (decision,) = pool.ask("a", wait_ms=0)
    assert decision.reason is not None
    assert decision.reason.code is ReasonCode.CAN_NEVER_FIT


def test_a_capacity_that_is_less_for_a_time_refuses_nobody() -> None:
    pool = heard(PoolOfLedgers(100, {"a": Quota(), "b": KEEPER}, follows="scanner"))
    pool.governor.follow(CapacityNews(downstream="scanner", limit=50, revision=1), pool.now_ms)
    cut = CapacityOverride(share=0.7, actor="ann", reason="move", since_ms=pool.now_ms)
    pool.governor.set_capacity(cut)
    assert asked(pool, 40).outcome is Outcome.WAITING
    assert not turned_away(pool)
    pool.governor.set_capacity(None)
    pool.governor.follow(CapacityNews(downstream="scanner", limit=None, revision=2), pool.now_ms)
    pool.wait(2_000)
    assert pool.held("a") == 40


def test_what_others_keep_for_a_time_refuses_nobody() -> None:
    # The time of the pool is in the reservation; else 30 are guaranteed and lent.
    reservation = Reservation(days=["tue"], begin="00:00", end="23:59", guaranteed=60)
    sometimes = Quota(guaranteed=30, lend_limit=30, reservations=[reservation])
    pool = heard(PoolOfLedgers(100, {"a": Quota(), "b": sometimes}))
    assert asked(pool, 80).outcome is Outcome.WAITING
    assert (pool.held("a"), pool.waiting("a")) == (0, 1)
    override(pool, "b", 3_600_000, lend_limit=0)
    assert pool.waiting("a") == 1
    # What is lent for a time is there, too.
    pool = heard(PoolOfLedgers(100, {"a": Quota(), "b": KEEPER}))
    assert asked(pool, 80).outcome is Outcome.DENIED
    override(pool, "b", 3_600_000, lend_limit=None)
    assert asked(pool, 80).outcome is Outcome.GRANTED


def test_guarantees_that_fit_only_at_times_refuse_nobody() -> None:
    # This day 90 more are guaranteed than usual, so that those of a count as 60 and not as 90.
    reservation = Reservation(days=["tue"], begin="00:00", end="23:59", guaranteed=90)
    quotas = {"a": Quota(weight=0, guaranteed=90), "b": Quota(reservations=[reservation])}
    assert asked(heard(PoolOfLedgers(120, quotas)), 70).outcome is Outcome.WAITING
    always = {**quotas, "b": Quota(guaranteed=90)}
    assert asked(heard(PoolOfLedgers(120, always)), 70).outcome is Outcome.DENIED


def test_an_own_override_lets_a_job_wait_for_it() -> None:
    pool = heard(PoolOfLedgers(100, {"a": Quota(weight=0), "b": Quota()}))
    assert asked(pool, 5).outcome is Outcome.DENIED
    override(pool, "a", 60_000, weight=1.0)
    assert asked(pool, 5).outcome is Outcome.GRANTED
    pool.give_back("a")
    pool.wait(61_000)
    # What it still has, it may use: nobody else wants it.
    assert asked(pool, 20).outcome is Outcome.DENIED


def test_a_throttle_refuses_nobody_for_good() -> None:
    pool = heard(PoolOfLedgers(100, {"a": Quota(weight=0, guaranteed=50, max_active=60)}))
    cut = SetThrottle(resource="scan", share=0.1)
    command = LedgerCommand(id="cut", actor="ann", reason="calm", action=cut)
    assert pool.ledgers["a"].operate(command, pool.now_ms).accepted
    pool.wait(1_000)
    assert asked(pool, 51).outcome is Outcome.DENIED
    assert asked(pool, 50).outcome is Outcome.WAITING


def test_new_settings_are_told_to_those_who_were_told_less() -> None:
    groups = {"g": GroupShare(maximum=30)}
    pool = heard(PoolOfLedgers(100, {"a": Quota(), "b": Quota()}, {"a": "g"}, groups=groups))
    assert asked(pool, 31).outcome is Outcome.DENIED
    pool.told.clear()
    more = pool.settings.model_copy(update={"groups": {"g": GroupShare(maximum=40)}})
    pool.governor.configure(more, pool.now_ms)
    pool.wait(1_000)
    assert pool.told == ["a"]
    assert asked(pool, 31).outcome is Outcome.GRANTED
    without = more.model_copy(update={"strategy": Strategy.UNLIMITED, "groups": {}, "tenants": {}})
    without = without.model_copy(update={"tenants": {"a": None, "b": None}})
    pool.governor.configure(without, pool.now_ms)
    pool.wait(1_000)
    assert asked(pool, 500).outcome is Outcome.GRANTED


def test_what_is_known_is_carried_along_and_found_again() -> None:
    pool = heard(PoolOfLedgers(100, {"a": Quota(weight=0), "b": Quota()}))
    assert asked(pool, 5).outcome is Outcome.DENIED
    pool.again()
    pool.told.clear()
    pool.wait(1_000)
    assert pool.told == []
    assert pool.ask("a", units=5)[0].outcome is Outcome.DENIED


def test_ledgers_are_not_told_what_is_of_no_use_to_them() -> None:
    quotas = {f"t{number}": Quota(guaranteed=2, lend_limit=0) for number in range(20)}
    pool = heard(PoolOfLedgers(100, quotas))
    pool.told.clear()
    for tenant in list(quotas)[:3]:
        override(pool, tenant, 600_000, guaranteed=3)
    # Each is told that it was heard; the others may hold one unit less, and do not need to know.
    assert set(pool.told) <= set(list(quotas)[:3])


def test_the_pool_is_laid_out_only_when_something_else_is_guaranteed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laid_out = 0

    class Counted(Most):
        def __init__(self, *args: Any) -> None:
            nonlocal laid_out
            laid_out += 1
            super().__init__(*args)

    monkeypatch.setattr(bounds, "Most", Counted)
    pool = heard(PoolOfLedgers(100, {"a": Quota(), "b": KEEPER}))
    assert laid_out > 0
    laid_out, rounds = 0, pool.governor.record.rounds
    for _ in range(5):
        heard(pool)
    assert pool.governor.record.rounds > rounds
    assert laid_out == 0


def test_who_waits_for_more_than_it_may_ever_hold_beside_what_it_holds_is_told_why() -> None:
    quota = Quota(guaranteed=1, borrow_limit=1)
    pool = heard(PoolOfLedgers(10, {"a": quota, "b": Quota()}, strategy=Strategy.RESERVED))
    pool.ask("a", jobs=3)
    pool.wait(3_000)
    waiting = next(iter(pool.ledgers["a"].record.waiters))
    view = pool.ledgers["a"].why(waiting, pool.now_ms)
    assert view is not None
    assert view.reason is not None
    assert view.reason.code is ReasonCode.POOL_USED_UP
    said = "it can hold at most 2 of it, as it may borrow 1 beyond its guarantee of 1"
    assert said in view.reason.message


def test_runs_that_began_without_say_nothing() -> None:
    pool = PoolOfLedgers(100, {"a": Quota(weight=0)})
    pool.governor = Governor(pool.governor.record, Ways(knows_most=False))
    assert asked(pool, 5).outcome is Outcome.WAITING
    assert pool.waiting("a") == 1


def test_old_messages_can_be_read() -> None:
    assert Allocation.model_validate({"pool": "p", "sequence": 1}).at_most == {}
    claim = Claim.model_validate({"share": {"guaranteed": 3}})
    assert claim.ever == claim.share


def test_turns_do_not_take_what_is_not_lent() -> None:
    # Two that would like 30 each, of the 40 that are lent: one after the other.
    pool = heard(PoolOfLedgers(100, {"a": Quota(), "b": KEEPER, "c": Quota()}))
    pool.ask("a", jobs=2, units=30)
    pool.ask("c", jobs=2, units=30)
    for _ in range(4):
        pool.wait(3_000)
        holds = [tenant for tenant in "ac" if pool.held(tenant)]
        assert [pool.held(tenant) for tenant in holds] == [30]
        pool.give_back(holds[0])
    pool.wait(3_000)
    assert (pool.waiting("a"), pool.waiting("c")) == (0, 0)
