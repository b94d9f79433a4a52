"""Who leaves a pool and comes back, in whatever order governor and ledger hear of it."""

import pytest

from headgate.allocation.governor import Governor
from headgate.model.ledger import Outcome
from headgate.model.pool import Allocation
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger
from headgate.quota.ways import Ways
from tests.unit.ledgers import NOW_MS, ask
from tests.unit.pools import GOVERNOR, PoolOfLedgers


class Shared(PoolOfLedgers):
    """A pool of 8 units and two tenants, of whom ``a`` leaves and comes back."""

    def __init__(self) -> None:
        super().__init__(8, {"a": Quota(), "b": Quota()})
        self.ask("a", 6)
        self.wait(1_000)
        assert self.held("a") == 6

    def tell_ledger(self, pools: dict[str, str]) -> None:
        settings = LedgerSettings(quotas={"scan": Quota()}, pools=pools, source="listed")
        self.ledgers["a"].configure(settings, self.now_ms)

    def tell_governor(self, *tenants: str) -> None:
        settings = self.settings.model_copy(update={"tenants": dict.fromkeys(tenants)})
        self.governor.configure(settings, self.now_ms)

    def crash(self, at: str) -> None:
        """Restore the governor from a record in JSON, and let nothing travel yet."""
        incarnation = self.governor.record.incarnation + 1
        self.governor = Governor.restore(GOVERNOR.validate_json(at), incarnation)

    def record(self) -> str:
        return GOVERNOR.dump_json(self.governor.record).decode()

    def leave(self) -> None:
        self.tell_ledger({})
        self.tell_governor("b")
        self.wait(1_000)
        self.give_back("a", 6)
        self.ask("b", 8)
        self.wait(3_000)
        assert self.held("b") == 8


def test_what_it_was_given_before_it_left_is_others_when_it_comes_back() -> None:
    pool = Shared()
    pool.leave()
    pool.tell_ledger({"scan": "p"})
    assert [one.outcome for one in pool.ask("a", 6)] == [Outcome.WAITING] * 6
    pool.tell_governor("a", "b")
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (0, 8)
    pool.give_back("b", 6)
    pool.wait(3_000)
    assert pool.held("a") == 6


def test_it_is_the_same_when_the_governor_hears_first() -> None:
    pool = Shared()
    pool.leave()
    pool.tell_governor("a", "b")
    pool.wait(1_000)
    pool.tell_ledger({"scan": "p"})
    assert [one.outcome for one in pool.ask("a", 6)] == [Outcome.WAITING] * 6
    pool.give_back("b", 6)
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (6, 2)


@pytest.mark.parametrize("ledger_first", [True, False])
def test_what_it_was_given_and_does_not_hold_is_others_whoever_hears_first(
    ledger_first: bool,
) -> None:
    pool = Shared()
    pool.give_back("a", 1)  # five are held of the six that it was given, or more
    if ledger_first:
        pool.tell_ledger({})
        pool.settle()
        pool.tell_governor("b")
    else:
        pool.tell_governor("b")
        pool.tell_ledger({})
    pool.ask("b", 8)
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (5, 3)


@pytest.mark.parametrize("ledger_knows", ["long ago", "before", "after"])
def test_a_restored_governor_asks_who_leaves_before_it_has_spoken(ledger_knows: str) -> None:
    pool = Shared()
    pool.give_back("a", 4)
    pool.tell_governor("a", "b")
    pool.wait(1_000)
    old = pool.record()  # two are held; of the four that are given now, Postgres never hears
    pool.ask("a", 4)
    pool.wait(1_000)
    if ledger_knows == "long ago":
        pool.tell_ledger({})
        pool.wait(1_000)
    pool.ask("b", 8)
    pool.wait(1_000)
    assert (pool.held("a"), pool.held("b")) == (6, 2)
    pool.crash(old)
    if ledger_knows == "before":
        pool.tell_ledger({})
    pool.tell_governor("b")
    said = [one.message for one in pool.governor.view().conditions]
    assert said == ["a shares the pool no more, and has yet to say what it holds"]
    if ledger_knows == "after":
        pool.wait(1_000)
        pool.tell_ledger({})
    pool.wait(1_000)
    assert (pool.held("a"), pool.held("b")) == (6, 2)
    assert pool.governor.view().conditions[0].message.endswith("and may still hold 6 scan")
    pool.give_back("a", 6)
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (0, 8)
    assert not pool.governor.view().conditions


def test_a_restored_governor_asks_who_had_left_before() -> None:
    pool = Shared()
    pool.tell_ledger({})
    pool.tell_governor("b")
    pool.give_back("a", 5)
    pool.wait(1_000)
    old = pool.record()  # one is held, of a pool that was left
    pool.tell_governor("a", "b")
    pool.tell_ledger({"scan": "p"})
    pool.ask("a", 5)
    pool.wait(1_000)
    assert pool.held("a") == 6
    pool.ask("b", 8)
    pool.wait(1_000)
    pool.tell_ledger({})
    pool.crash(old)
    pool.tell_governor("b")
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (6, 2)


def test_one_that_has_brought_all_back_answers_too() -> None:
    pool = Shared()
    pool.give_back("a", 5)
    pool.tell_ledger({})
    pool.tell_governor("b")
    pool.wait(1_000)
    old = pool.record()  # one is held
    pool.give_back("a")
    pool.wait(1_000)
    pool.crash(old)
    pool.ask("b", 8)
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (0, 8)


def test_one_that_never_was_in_the_pool_answers_too() -> None:
    pool = PoolOfLedgers(8, {"b": Quota()})
    settings = LedgerSettings(quotas={"scan": Quota()}, source="listed")
    pool.ledgers["a"] = Ledger.begin("a", settings, 1)
    for tenants in (["a", "b"], ["b"]):  # applied, and taken back before its ledger was told
        pool.governor.configure(
            pool.settings.model_copy(update={"tenants": dict.fromkeys(tenants)}), pool.now_ms
        )
    pool.ask("b", 8)
    pool.wait(3_000)
    assert pool.held("b") == 8


def test_a_ledger_that_does_not_run_answers_for_nothing_more_than_is_known() -> None:
    pool = Shared()
    pool.crash(pool.record())
    pool.tell_governor("b")
    ledger = pool.ledgers.pop("a")  # terminated by hand
    pool.ask("b", 8)
    for name in pool.governor.to_tell():
        sequence = pool.governor.allocation_of(name).sequence
        if name == "a":
            pool.governor.told(name, sequence, False)
    pool.wait(3_000)
    assert pool.held("b") == 2
    assert pool.governor.view().conditions[0].message.endswith("and may still hold 6 scan")
    assert pool.governor.record.members.keys() == {"b"}
    pool.ledgers["a"] = ledger


def test_who_comes_back_before_it_has_spoken_is_a_member_as_ever() -> None:
    pool = Shared()
    pool.crash(pool.record())
    pool.tell_governor("b")
    pool.tell_governor("a", "b")
    pool.ask("b", 8)
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (6, 2)
    pool.give_back("a", 6)
    pool.ask("a", 2)
    pool.wait(3_000)
    assert (pool.held("a"), pool.held("b")) == (2, 6)


def test_a_ledger_of_which_the_governor_never_heard_that_it_left_goes_on() -> None:
    pool = Shared()
    pool.tell_ledger({})
    pool.tell_ledger({"scan": "p"})
    pool.give_back("a", 6)
    assert [one.outcome for one in pool.ask("a", 6)] == [Outcome.WAITING] * 6
    pool.wait(3_000)
    assert pool.held("a") == 6


def ledger(*, hears_anew: bool = True) -> Ledger:
    settings = LedgerSettings(quotas={"scan": Quota()}, pools={"scan": "p"}, source="listed")
    return Ledger.begin("acme", settings, 1, ways=Ways(hears_anew=hears_anew))


HEARD = Allocation(pool="p", sequence=1, units={"scan": 4}, capacity={"scan": 4})


def test_who_waits_for_more_than_there_is_of_a_pool_is_let_go_when_that_is_heard() -> None:
    book = ledger()
    ask(book, "large", units=5, wait_ms=60_000)
    ask(book, "small", units=4, wait_ms=60_000)
    book.allocate(HEARD, NOW_MS)
    reason = book.record.turned_away["large"].decision.reason
    assert reason is not None
    assert (reason.code, reason.limit) == (ReasonCode.CAN_NEVER_FIT, 4)
    assert list(book.record.permits) == ["small"]
    # Who waits already keeps its place when there is less later.
    ask(book, "next", units=4, wait_ms=60_000)
    less = HEARD.model_copy(update={"sequence": 2, "capacity": {"scan": 3}})
    book.allocate(less, NOW_MS)
    assert list(book.record.waiters) == ["next"]


@pytest.mark.parametrize("pools", [{"scan": "p"}, {}])
def test_runs_that_began_before_go_on_as_they_did(pools: dict[str, str]) -> None:
    book = ledger(hears_anew=False)
    ask(book, "large", units=5, wait_ms=60_000)
    book.allocate(HEARD, NOW_MS)
    assert list(book.record.waiters) == ["large"]
    for now in (pools, {"scan": "p"}):
        settings = LedgerSettings(quotas={"scan": Quota()}, pools=now, source="listed")
        book.configure(settings, NOW_MS)
    assert book.record.accounts["p"].allocation is not None
