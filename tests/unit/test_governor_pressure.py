"""How full a pool is, who is told, and who is turned away: a governor and real ledgers."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headgate.model.ledger import Decision, Exchange, Outcome
from headgate.model.limits import (
    BackpressurePolicy,
    CapacityNews,
    PressureLevel,
    PressureView,
    SheddingPolicy,
    SlotUse,
    Steps,
)
from headgate.model.pool import Strategy
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.quota.workers import KNOWN_MS
from tests.unit.pools import ROUND_MS, PoolOfLedgers

NORMAL, ELEVATED, SATURATED, EMERGENCY = PressureLevel
BACKPRESSURE = BackpressurePolicy(
    queue_age_ms=Steps(elevated=5_000, saturated=20_000),
    waiting=Steps(elevated=8, saturated=16, emergency=32),
    hold_ms=2_000,
    retry_after_ms=1_000,
)
SHEDDING = SheddingPolicy(elevated=2, saturated=1.5, emergency=1, usage_half_life_ms=60_000)
TWO = {"acme": Quota(guaranteed=2), "globex": Quota()}


def pool(capacity: int = 4, quotas: dict[str, Quota] = TWO, **more: Any) -> PoolOfLedgers:
    return PoolOfLedgers(capacity, quotas, **{"backpressure": BACKPRESSURE, **more})


def level(site: PoolOfLedgers) -> PressureLevel:
    return site.governor.pressure().level


def heard(site: PoolOfLedgers, tenant: str) -> PressureLevel:
    return site.ledgers[tenant].view().pressure["p"].level


def test_a_pool_in_which_nobody_waits_is_normal_however_full() -> None:
    site = pool()
    site.ask("acme", 4)
    site.wait(60_000)
    assert site.held("acme") == 4
    assert site.governor.pressure() == PressureView()
    assert site.governor.next_deadline() is None


def test_the_level_rises_at_once_with_those_who_wait_and_every_ledger_hears_of_it() -> None:
    site = pool()
    site.ask("globex", 1)
    site.wait(500)
    site.ask("acme", 20)
    site.wait(500)
    view = site.governor.pressure()
    assert (view.level, view.cause) == (SATURATED, "17 jobs wait")
    assert view.retry_after_ms == 2_000
    assert heard(site, "acme") == heard(site, "globex") == SATURATED
    assert site.governor.view().members["acme"].waiting == {"scan": 17}


def test_the_level_rises_by_age_without_a_message_and_falls_by_a_timer() -> None:
    site = pool()
    site.ask("acme", 5)
    site.wait(4_000)
    assert level(site) is NORMAL
    began_ms = site.now_ms - 4_000
    assert site.governor.next_deadline() == began_ms + 5_000
    site.wait(1_000)
    assert (level(site), heard(site, "acme")) == (ELEVATED, ELEVATED)
    assert site.governor.pressure().cause == "the oldest job has waited 5.0 s"
    site.give_back("acme")
    site.wait(1_500)
    assert level(site) is ELEVATED  # for the hold time
    site.wait(2_500)
    assert (level(site), heard(site, "acme")) == (NORMAL, NORMAL)
    assert site.governor.next_deadline() is None


def test_a_line_that_moves_is_not_taken_for_one_that_stands() -> None:
    site = pool()
    site.ask("acme", 8)
    for _ in range(60):
        site.give_back("acme", 1)
        site.ask("acme", 1)
        site.wait(500)
        # Each of the four in line waits for two seconds, a minute long.
        assert level(site) is NORMAL


def test_a_limit_that_falls_below_what_is_held_is_pressure() -> None:
    site = pool(10)
    site.ask("acme", 10)
    site.wait(500)
    smaller = site.settings.model_copy(update={"capacity": {"scan": 6}})
    site.governor.configure(smaller, site.now_ms)
    site.wait(500)
    assert site.governor.pressure().cause == "10 units are held, 6 may be"
    assert level(site) is SATURATED


def test_the_level_is_carried_along_and_what_may_wait_as_well() -> None:
    site = pool(shedding=SHEDDING)
    site.ask("acme", 20)
    site.wait(1_500)
    before = site.governor.view()
    assert before.pressure.level is not NORMAL
    assert before.members["acme"].may_wait
    site.again()
    assert site.governor.view() == before
    assert site.governor.next_deadline() is not None
    site.wait(60_000)


def test_a_ledger_that_is_idle_costs_no_message() -> None:
    site = pool(4, {f"t{n:03}": Quota() for n in range(50)})
    site.wait(1_000)
    site.told.clear()
    site.ask("t000", 20)
    site.wait(500)
    assert level(site) is SATURATED
    assert set(site.told) == {"t000"}


# Load shedding


def shed(decisions: list[Decision]) -> list[str]:
    """Return who was turned away, each told why and when to ask again."""
    found = []
    for decision in decisions:
        if decision.reason is not None and decision.reason.code is ReasonCode.SHED:
            assert decision.outcome is Outcome.DENIED
            assert decision.retry_at_ms is not None
            found.append(decision.id)
    return found


def turned_away(site: PoolOfLedgers, tenant: str) -> list[str]:
    return shed([one.decision for one in site.ledgers[tenant].record.turned_away.values()])


def waiting(site: PoolOfLedgers, tenant: str) -> list[str]:
    return sorted(site.ledgers[tenant].record.waiters)


def test_without_a_policy_nobody_is_turned_away() -> None:
    site = pool()
    site.ask("globex", 50)
    site.wait(3_000)
    assert level(site) is EMERGENCY
    assert site.waiting("globex") == 46


def test_the_youngest_of_the_lowest_priority_go_first_and_are_told_why() -> None:
    site = pool(shedding=SHEDDING)
    site.ask("globex", 4)
    site.wait(500)
    high = [one.id for one in site.ask("globex", 6, priority=5)]
    low = [one.id for one in site.ask("globex", 7)]
    site.wait(2_000)
    # 13 wait: elevated, and twice the capacity of 4 may; one of the low ones by the minimum flow.
    assert waiting(site, "globex") == sorted([*high, *low[:2]])
    assert turned_away(site, "globex") == low[:1:-1]
    one = site.ledgers["globex"].record.turned_away[low[-1]].decision
    assert one.reason is not None
    assert one.retry_at_ms is not None
    assert 0 < one.retry_at_ms - site.now_ms + 2_000 <= 3_000
    assert (one.reason.limit, one.reason.used, one.reason.needed) == (8, 13, 1)
    assert one.reason.message == (
        "13 units of scan waited for pool p, of which 8 may while its pressure is elevated: refused"
        " at priority 0, tenant globex having held 0.0 lately and holding 4 of 0 guaranteed; ask "
        "again after 1 s"
    )
    # A newcomer hears of it at once; of higher priority, it may wait.
    assert len(shed(site.ask("globex", 1))) == 1
    assert site.ask("globex", 1, priority=6)[0].outcome is Outcome.WAITING


def test_within_a_priority_who_used_most_lately_goes_first() -> None:
    site = pool(
        4, {"busy": Quota(), "calm": Quota()}, strategy=Strategy.MAX_LIMIT, shedding=SHEDDING
    )
    site.ask("busy", 4)
    site.wait(30_000)
    site.ask("busy", 8)
    site.ask("calm", 5)
    site.wait(2_000)
    assert not turned_away(site, "calm")
    assert turned_away(site, "busy")
    assert site.waiting("calm") + site.waiting("busy") <= 8


def test_what_is_guaranteed_may_wait_whatever_the_pressure() -> None:
    site = pool(
        4,
        {"acme": Quota(guaranteed=3), "flood": Quota(guaranteed=1)},
        follows="scanner",
        shedding=SheddingPolicy(elevated=0, saturated=0, emergency=0, min_flow=0),
    )
    site.governor.follow(CapacityNews(downstream="scanner", limit=0, revision=1), site.now_ms)
    site.wait(500)
    site.ask("acme", 5, priority=-9)
    site.ask("flood", 40, priority=9)
    site.wait(2_000)
    assert (site.waiting("acme"), site.waiting("flood")) == (3, 1)
    assert len(turned_away(site, "acme")) == 2


def test_low_priorities_do_not_starve() -> None:
    site = pool(4, {"acme": Quota()}, shedding=SHEDDING)
    site.ask("acme", 4)
    site.wait(500)
    served = 0
    for _ in range(120):
        site.ask("acme", 8, priority=5)
        served += bool(site.ask("acme", 1)[0].outcome is Outcome.WAITING)
        site.give_back("acme", 4)
        site.wait(500)
    # A minute: those who are refused may come back, and some of them may wait.
    assert served >= 6
    assert site.waiting("acme") <= 3 * 8


def test_everybody_may_wait_again_when_the_pressure_is_over() -> None:
    site = pool(shedding=SHEDDING)
    site.ask("globex", 60)
    site.wait(3_000)
    assert site.ledgers["globex"].record.accounts["p"].allocation is not None
    while site.held("globex"):
        site.give_back("globex", 4)
        site.wait(500)
    site.wait(10_000)
    assert level(site) is NORMAL
    assert not site.governor.view().members["globex"].may_wait
    assert not shed(site.ask("globex", 7))


def test_a_pool_that_only_observes_turns_nobody_away() -> None:
    site = pool(shedding=SHEDDING, enforced=False)
    site.ask("globex", 60)
    site.wait(3_000)
    assert not turned_away(site, "globex")
    assert site.held("globex") == 60


NAMES = ["a", "b", "c"]


class UnderPressure(RuleBasedStateMachine):
    """Whatever is asked for and given back: guarantees are kept, the order as well."""

    @initialize(
        capacity=st.integers(0, 6),
        guarantees=st.tuples(*(st.integers(0, 3) for _ in NAMES)),
        min_flow=st.sampled_from([0.0, 0.1, 0.5]),
        strategy=st.sampled_from([Strategy.RESERVED, Strategy.PROPORTIONAL, Strategy.PRIORITY]),
    )
    def begin(
        self, capacity: int, guarantees: tuple[int, ...], min_flow: float, strategy: Strategy
    ) -> None:
        self.guaranteed = dict(zip(NAMES, guarantees, strict=True))
        self.site = pool(
            capacity,
            {name: Quota(guaranteed=units) for name, units in self.guaranteed.items()},
            strategy=strategy,
            follows="scanner",
            shedding=SHEDDING.model_copy(update={"min_flow": min_flow}),
        )
        self.priorities: dict[str, int] = {}
        self.heard: dict[str, set[str]] = {name: set() for name in NAMES}
        self.most = capacity
        self.revision = 0

    @rule(name=st.sampled_from(NAMES), jobs=st.integers(1, 12), priority=st.integers(-1, 1))
    def ask(self, name: str, jobs: int, priority: int) -> None:
        has = self.site.held(name) + self.site.waiting(name)
        decisions = self.site.ask(name, jobs, priority)
        self.priorities |= dict.fromkeys((one.id for one in decisions), priority)
        gone = set(shed(decisions)) | set(turned_away(self.site, name)) - self.heard[name]
        self.is_fair(name, has + jobs, gone)

    @rule(name=st.sampled_from(NAMES), jobs=st.integers(1, 6))
    def give_back(self, name: str, jobs: int) -> None:
        self.site.give_back(name, jobs)

    @rule(ms=st.sampled_from([100, 500, 1_000, 6_000]))
    def wait(self, ms: int) -> None:
        for _ in range(ms // 100):
            has = {name: self.site.held(name) + self.site.waiting(name) for name in NAMES}
            self.site.wait(100)
            for name in NAMES:
                gone = set(turned_away(self.site, name)) - self.heard[name]
                self.is_fair(name, has[name], gone)

    @rule(limit=st.none() | st.integers(0, 8))
    def follow(self, limit: int | None) -> None:
        self.revision += 1
        self.site.governor.follow(
            CapacityNews(downstream="scanner", limit=limit, revision=self.revision),
            self.site.now_ms,
        )
        self.most = max(self.most, self.site.governor.capacity()["scan"])

    @rule()
    def continue_as_new(self) -> None:
        self.site.again()

    def is_fair(self, name: str, had: int, gone: set[str]) -> None:
        """No guarantee is touched; of one priority, the youngest go."""
        self.heard[name] |= gone
        if gone:
            left = self.site.held(name) + self.site.waiting(name)
            assert left >= min(had, self.guaranteed[name])
            for id in gone:
                same = [
                    other
                    for other in waiting(self.site, name)
                    if self.priorities[other] == self.priorities[id]
                ]
                assert all(other < id for other in same)

    @invariant()
    def no_more_than_there_is(self) -> None:
        assert sum(self.site.held(name) for name in NAMES) <= self.most

    def teardown(self) -> None:
        """When nobody asks any more, all that waits is served, and the pool is calm."""
        if not hasattr(self, "site"):
            return
        self.follow(None)
        if self.site.governor.capacity()["scan"] == 0:
            return
        for _ in range(200):
            for name in NAMES:
                self.site.give_back(name, 100)
            self.site.wait(500)
            if not any(self.site.waiting(name) for name in NAMES):
                break
        for name in NAMES:
            assert self.site.waiting(name) == 0
            self.site.give_back(name, 100)
        self.site.wait(10_000)
        assert level(self.site) is NORMAL
        assert not any(one.may_wait for one in self.site.governor.view().members.values())
        assert self.site.governor.next_deadline() is None


UnderPressure.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestUnderPressure = UnderPressure.TestCase


def say(site: PoolOfLedgers, tenant: str, number: int, used: int, gate: str = "w") -> None:
    slots = SlotUse(used=used, of=10)
    message = Exchange(gate=gate, number=number, slots=slots)
    site.ledgers[tenant].exchange(message, site.now_ms)


def test_workers_that_are_busy_to_the_last_slot_are_pressure_and_for_no_longer_than_that() -> None:
    site = pool(capacity=100)
    site.ask("acme", 1)
    site.wait(500)
    say(site, "acme", 1, used=8)
    site.wait(2_000)
    assert level(site) is NORMAL
    say(site, "acme", 2, used=10)
    site.wait(2_000)
    view = site.governor.pressure()
    assert (view.level, view.cause) == (SATURATED, "10 of 10 worker slots are in use")
    say(site, "acme", 3, used=8, gate="another")
    site.wait(2_000)
    assert level(site) is SATURATED  # 18 of 20; it falls below 0.8 of what began it
    say(site, "acme", 3, used=1)
    site.wait(1_000 + BACKPRESSURE.hold_ms + 2 * ROUND_MS)
    assert level(site) is NORMAL


def test_workers_that_are_heard_no_more_are_forgotten() -> None:
    site = pool(capacity=100)
    site.ask("acme", 1)
    site.wait(500)
    say(site, "acme", 1, used=10)
    said_ms = site.now_ms
    site.wait(2_000)
    assert level(site) is SATURATED
    assert site.ledgers["acme"].next_deadline() == said_ms + KNOWN_MS
    site.wait(KNOWN_MS)
    site.wait(BACKPRESSURE.hold_ms)
    assert level(site) is NORMAL
    site.again()
    assert level(site) is NORMAL


def test_who_makes_no_use_of_a_pool_says_nothing_of_workers() -> None:
    site = pool(capacity=100)
    site.ask("acme", 1)
    site.ask("globex", 1)
    site.wait(500)
    say(site, "acme", 1, used=10)
    site.wait(2_000)
    site.give_back("acme")
    site.wait(1_000 + BACKPRESSURE.hold_ms + 2 * ROUND_MS)
    assert level(site) is NORMAL
