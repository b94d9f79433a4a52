"""What a governor tells people: guarantees that are not honoured, a set capacity that ends."""

from typing import Any

from headgate.allocation.governor import Governor
from headgate.allocation.operator import obey
from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules
from headgate.model.pool import PoolCommand, PoolSettings, Strategy
from headgate.model.quota import Quota
from tests.unit.pools import NOW_MS, PoolOfLedgers

MINUTE, HOUR = 60_000, 3_600_000
SHARES = {"a": Quota(guaranteed=6), "b": Quota(guaranteed=4)}
RULES = AlertRules(guarantee_ms=10_000, calm_ms=5_000)


def pool_of(strategy: Strategy = Strategy.RESERVED) -> PoolOfLedgers:
    return PoolOfLedgers(10, SHARES, alerts=RULES, strategy=strategy)


def hog(pool: PoolOfLedgers) -> None:
    """Let b borrow all, and hold it when a wants its guarantee."""
    pool.ask("b", 10)
    pool.wait(5_000)
    assert pool.held("b") == 10
    pool.ask("a", 6)
    pool.wait(9_000)


def test_a_guarantee_that_is_not_honoured_for_long_is_told_of_with_numbers() -> None:
    pool = pool_of()
    hog(pool)
    assert pool.governor.record.alerts == []
    pool.wait(3_000)
    [alert] = pool.governor.record.alerts
    assert (alert.kind, alert.tenant, alert.severity) == ("guarantee.unmet", "a", "critical")
    assert alert.key == "guarantee.unmet/tenant/a/scan/p"
    assert alert.title == "a: guarantee of scan not honoured for 10 s"
    assert alert.text.startswith("It has 0, wants 6, and 6 are guaranteed (pool p, since ")
    assert alert.advice.startswith("See who holds it: headgate pool show p.")
    pool.give_back("b", 6)
    pool.wait(12_000)
    resolved = pool.governor.record.alerts[-1]
    assert (resolved.status, resolved.key, resolved.tenant) == ("resolved", alert.key, "a")
    assert resolved.text.startswith("It has 6, wants 6, and 6 are guaranteed. It lasted 1")
    assert pool.governor.record.episodes == {}


def test_it_goes_on_after_continue_as_new() -> None:
    pool = pool_of()
    hog(pool)
    pool.again()
    pool.wait(3_000)
    assert [alert.kind for alert in pool.governor.record.alerts] == ["guarantee.unmet"]


def test_who_gives_up_has_nothing_to_complain_about() -> None:
    pool = pool_of()
    hog(pool)
    pool.give_back("b", 10)
    pool.wait(30_000)
    assert pool.governor.record.alerts == []
    assert pool.governor.record.episodes == {}


def test_a_pool_without_guarantees_tells_of_none() -> None:
    pool = pool_of(Strategy.EQUAL)
    hog(pool)
    pool.wait(30_000)
    assert pool.governor.record.alerts == []


def test_a_capacity_that_people_have_set_is_told_of_before_it_ends() -> None:
    pool = pool_of()
    governor = pool.governor
    command = PoolCommand(
        id="1",
        action="set_capacity",
        actor="ann",
        reason="ticket 7",
        capacity={"scan": 20},
        for_ms=2 * HOUR,
    )
    obey(governor, command, NOW_MS)
    while (at_ms := governor.next_deadline()) is not None and at_ms <= NOW_MS + 3 * HOUR:
        governor.advance(at_ms)
    [alert] = governor.record.alerts
    assert alert.at_ms == NOW_MS + 2 * HOUR - 15 * MINUTE
    assert alert.title == "pool p: the capacity that was set ends in 15 min"
    assert alert.text.startswith(
        "What ann set (scan=20: ticket 7) ends at 00:13 on Wed 15 Nov UTC;"
    )
    assert 'headgate pool set-capacity p scan=20 --for 2h --reason "..."' in alert.advice
    assert governor.record.episodes == {}


def set_capacity(governor: Governor, now_ms: int, for_ms: int | None, **what: Any) -> None:
    action = "throttle" if "share" in what else "set_capacity"
    id = f"c-{len(governor.record.commands)}"
    command = PoolCommand(
        id=id, action=action, actor="ada", reason="a drill", for_ms=for_ms, **what
    )
    obey(governor, command, now_ms)


def all_told(governor: Governor, until_ms: int) -> list[Alert]:
    while (at_ms := governor.next_deadline()) is not None and at_ms <= until_ms:
        governor.advance(at_ms)
    return governor.record.alerts


def test_of_capacities_one_over_the_other_each_end_is_told_of_and_what_holds_then() -> None:
    settings = PoolSettings(capacity={"p": 10, "q": 10}, source="listed", alerts=RULES)
    governor = Governor.begin("p", settings, 1)
    set_capacity(governor, NOW_MS, 2 * HOUR, share=0.5)
    set_capacity(governor, NOW_MS, 4 * HOUR, capacity={"p": 8})
    first, second = all_told(governor, NOW_MS + 5 * HOUR)
    assert (first.at_ms, second.at_ms) == (
        NOW_MS + 2 * HOUR - 15 * MINUTE,
        NOW_MS + 4 * HOUR - 15 * MINUTE,
    )
    assert first.text == (
        "What ada set (50% of its capacity: a drill) ends at 00:13 on Wed 15 Nov UTC; what lies "
        "over it goes on: what ada set at 22:13 UTC (p: 8 until 02:13 on Wed 15 Nov UTC): a drill."
    )
    assert second.text.startswith("What ada set (p=8: a drill) ends at 02:13")
    assert second.text.endswith("; then the configured capacity holds again.")
    assert governor.record.episodes == {}


def test_what_is_back_when_a_set_capacity_ends_is_named() -> None:
    settings = PoolSettings(capacity={"p": 10}, source="listed", alerts=RULES)
    governor = Governor.begin("p", settings, 1)
    set_capacity(governor, NOW_MS, None, capacity={"p": 30})
    set_capacity(governor, NOW_MS, 2 * HOUR, capacity={"p": 8})
    [alert] = all_told(governor, NOW_MS + 3 * HOUR)
    assert alert.text.endswith("(p: 30 until resume): a drill holds again.")


def test_what_has_ended_by_then_is_not_named_as_what_holds_again() -> None:
    settings = PoolSettings(capacity={"p": 10, "q": 10}, source="listed", alerts=RULES)
    governor = Governor.begin("p", settings, 1)
    set_capacity(governor, NOW_MS, 2 * HOUR - 5 * MINUTE, share=0.5)
    set_capacity(governor, NOW_MS, 2 * HOUR, capacity={"p": 8})
    [cut, number] = all_told(governor, NOW_MS + 3 * HOUR)
    assert "; what lies over it goes on: what ada set" in cut.text
    assert number.at_ms < NOW_MS + 2 * HOUR - 5 * MINUTE, "while the cut holds"
    assert number.text.endswith("; then the configured capacity holds again.")


def test_what_a_governor_of_before_has_told_it_does_not_tell_again() -> None:
    settings = PoolSettings(capacity={"p": 10}, source="listed", alerts=RULES)
    governor = Governor.begin("p", settings, 1)
    set_capacity(governor, NOW_MS, 2 * HOUR, capacity={"p": 8})
    [told] = all_told(governor, NOW_MS + 2 * HOUR - 15 * MINUTE)
    record = governor.record
    [(_, episode)] = record.episodes.items()
    record.episodes = {"override.expiring/pool/p": episode}
    again = Governor(record)
    again.advance(NOW_MS + 2 * HOUR - 14 * MINUTE)
    assert record.alerts == [told]
    assert len(record.episodes) == 1
    assert all_told(again, NOW_MS + 3 * HOUR) == [told]
    assert record.episodes == {}
