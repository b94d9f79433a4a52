"""A pool whose capacity follows the limit of a downstream, and the breaker that tells it."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from headgate.allocation.governor import Governor
from headgate.allocation.operator import obey
from headgate.breaker import Breaker, BreakerRecord
from headgate.model.breaker import Report
from headgate.model.limits import CallSummary, CapacityNews, ConcurrencyPolicy, LimitPolicy
from headgate.model.pool import PoolCommand
from headgate.model.quota import Quota
from headgate.model.settings import BreakerSettings
from tests.unit.pools import GOVERNOR, NOW_MS, PoolOfLedgers

BREAKER = TypeAdapter(BreakerRecord)
TWO = {"acme": Quota(guaranteed=4), "globex": Quota(guaranteed=2)}


def pool(**settings: Any) -> PoolOfLedgers:
    return PoolOfLedgers(10, TWO, follows="scanner", **settings)


def news(limit: int | None, revision: int = 1, downstream: str = "scanner") -> CapacityNews:
    return CapacityNews(downstream=downstream, limit=limit, revision=revision)


def follow(site: PoolOfLedgers, message: CapacityNews) -> None:
    site.governor.follow(message, site.now_ms)
    site.wait(3_000)


def test_the_lower_of_capacity_and_limit_holds_and_what_is_held_comes_back_first() -> None:
    site = pool()
    site.ask("acme", 8)
    site.ask("globex", 8)
    site.wait(1_000)
    assert site.held("acme") + site.held("globex") == 10
    follow(site, news(6))
    assert site.governor.capacity() == {"scan": 6}
    # Nothing is revoked, and nothing is granted until enough has come back.
    assert site.held("acme") + site.held("globex") == 10
    for _ in range(8):
        site.give_back("acme")
        site.give_back("globex")
        site.wait(500)
        record = site.governor.record
        may_hold = sum(site.governor.ceiling(name, "scan") for name in record.members)
        assert may_hold >= site.held("acme") + site.held("globex")
    assert site.held("acme") + site.held("globex") <= 6
    follow(site, news(50, 2))
    assert site.governor.capacity() == {"scan": 10}
    follow(site, news(None, 3))
    assert site.governor.capacity() == {"scan": 10}


def test_old_news_and_news_of_others_change_nothing() -> None:
    site = pool()
    follow(site, news(6, 5))
    for message in (news(9, 5), news(9, 4), news(1, 9, downstream="attestor")):
        follow(site, message)
        assert site.governor.capacity() == {"scan": 6}
    view = site.governor.view()
    assert view.follows is not None
    since_ms = view.follows.since_ms
    follow(site, news(6, 8))
    view = site.governor.view()
    assert view.follows is not None
    assert (view.follows.revision, view.follows.since_ms) == (8, since_ms)


def test_operators_and_the_limit_hold_together() -> None:
    site = pool()
    follow(site, news(6))
    for action, capacity, has in (("set_capacity", 4, 4), ("set_capacity", 9, 6)):
        command = PoolCommand(
            id=f"{capacity}", action=action, capacity={"scan": capacity}, actor="a", reason="test"
        )
        obey(site.governor, command, site.now_ms)
        assert site.governor.capacity() == {"scan": has}
    # The audit says what people did, whatever the limit is.
    assert [entry.after["capacity"] for entry in site.governor.record.audit] == [
        {"scan": 4},
        {"scan": 9},
    ]


def test_a_job_that_is_larger_than_the_limit_may_wait_until_it_rises() -> None:
    site = pool()
    site.ask("acme", 1)
    follow(site, news(2))
    message = site.governor.allocation_of("acme")
    assert (message.capacity, message.whole) == ({"scan": 2}, {"scan": 10})


def test_the_limit_is_kept_across_runs_and_asked_for_anew_after_a_crash() -> None:
    site = pool()
    assert site.governor.asks_for_limit() == "scanner"
    site.governor.asked_for_limit("scanner")
    assert site.governor.asks_for_limit() is None
    follow(site, news(6, 7))
    site.again()
    assert site.governor.capacity() == {"scan": 6}
    assert site.governor.asks_for_limit() is None
    record = GOVERNOR.validate_json(GOVERNOR.dump_json(site.governor.record))
    restored = Governor.restore(record, 2)
    assert restored.capacity() == {"scan": 6}
    assert restored.asks_for_limit() == "scanner"


def test_whom_a_pool_follows_is_forgotten_with_its_name() -> None:
    site = pool()
    follow(site, news(6, 7))
    other = site.settings.model_copy(update={"follows": "attestor"})
    site.governor.configure(other, site.now_ms)
    assert site.governor.capacity() == {"scan": 10}
    assert site.governor.asks_for_limit() == "attestor"
    site.governor.configure(site.settings.model_copy(update={"follows": None}), site.now_ms)
    assert site.governor.asks_for_limit() is None
    assert site.governor.view().follows is None


# The breaker's side


def breaker(limit: LimitPolicy | None, pools: list[str]) -> Breaker:
    return Breaker.begin("scanner", BreakerSettings(limit=limit, pools=pools), 1, NOW_MS)


def report(of: Breaker, seq: int, now_ms: int, overloads: int = 0) -> None:
    epoch = 0 if of.record.fleet is None else of.record.fleet.of.epoch
    calls = CallSummary(
        gate="g", seq=seq, epoch=epoch, calls=20, duration_ms=2_000, overloads=overloads
    )
    of.report(Report(gate="g", seq=seq, task_queue="q", calls=calls), now_ms)


ADAPTS = LimitPolicy(concurrency=ConcurrencyPolicy(initial=20, max=40))


def test_a_breaker_tells_every_pool_whenever_its_limit_is_another() -> None:
    scanner = breaker(ADAPTS, ["p", "q"])
    assert scanner.untold_pools() == ["p", "q"]
    scanner.record.told_pools |= {"p": None, "q": None}
    assert scanner.untold_pools() == []
    report(scanner, 1, NOW_MS)
    assert scanner.fleet_limit == 20
    assert scanner.untold_pools() == ["p", "q"]
    scanner.record.told_pools["p"] = 20
    scanner = Breaker(BREAKER.validate_json(BREAKER.dump_json(scanner.record)))
    assert scanner.untold_pools() == ["q"]
    scanner.record.told_pools["q"] = 20
    seq = 1
    while scanner.fleet_limit == 20:
        seq += 1
        report(scanner, seq, NOW_MS + seq * 1_000, overloads=5)
    assert scanner.fleet_limit == 18
    assert scanner.untold_pools() == ["p", "q"]


@pytest.mark.parametrize("limit", [None, LimitPolicy(max_in_flight=5)])
def test_it_tells_them_when_it_has_no_limit_any_more(limit: LimitPolicy | None) -> None:
    scanner = breaker(ADAPTS, ["p", "q"])
    report(scanner, 1, NOW_MS)
    scanner.record.told_pools |= {"p": 20, "q": 20}
    scanner.configure(BreakerSettings(limit=limit, pools=["p"]), NOW_MS)
    assert scanner.fleet_limit is None
    assert scanner.untold_pools() == ["p"]
    assert scanner.record.told_pools == {"p": 20}


def test_a_restored_breaker_tells_them_again() -> None:
    scanner = breaker(ADAPTS, ["p"])
    report(scanner, 1, NOW_MS)
    scanner.record.told_pools["p"] = 20
    restored = Breaker.restore(scanner.record, 2, NOW_MS)
    assert restored.untold_pools() == ["p"]
    assert restored.fleet_limit == 20
