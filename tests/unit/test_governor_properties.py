"""A governor and its ledgers with messages that are late, repeated and lost, and with crashes.

Once with ledgers that are as simple as can be, which hold what their allocation allows, and once
with the real ones. What all of them hold together must never be more than the pool has, whatever
happens to the messages.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import TypeAdapter

from headgate.allocation.governor import Governor
from headgate.allocation.governor_record import GovernorRecord
from headgate.model.ledger import Acquire, Exchange, Holder
from headgate.model.limits import BackpressurePolicy, CapacityNews, SheddingPolicy, Steps
from headgate.model.pool import (
    GUARANTEEING,
    Allocation,
    Claim,
    Damping,
    Demand,
    PoolSettings,
    Share,
    Strategy,
)
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord

START_MS = 1_700_000_000_000
RECORD = TypeAdapter(GovernorRecord)
LEDGER_RECORD = TypeAdapter(LedgerRecord)
NAMES = ["a", "b", "c"]
SHARES = {
    "a": Share(guaranteed=4, weight=2),
    "b": Share(guaranteed=2, borrow_limit=3, lend_limit=1, priority=1),
    "c": Share(maximum=6),
}
strategies = st.sampled_from([s for s in Strategy if s is not Strategy.UNLIMITED])


@dataclass
class PlainLedger:
    """Holds up to its allocation; knows nothing else."""

    tenant: str
    incarnation: int = 1
    revision: int = 0
    sequence: int = 0
    allocated: int = 0
    held: int = 0
    waiting: int = 0
    is_out: bool = False
    goes_by: int = 0

    def demand(self) -> Demand:
        share = Share(weight=0, maximum=0) if self.is_out else SHARES[self.tenant]
        claim = Claim(held=self.held, wanted=self.held + self.waiting, share=share)
        return Demand(
            pool="p",
            tenant=self.tenant,
            incarnation=self.incarnation,
            revision=self.revision,
            sequence=self.goes_by,
            claims={"r": claim},
        )

    def allocate(self, message: Allocation, now_ms: int) -> None:
        if message.sequence > self.sequence and message.incarnation in (0, self.incarnation):
            self.sequence = self.goes_by = message.sequence
            self.allocated = message.units.get("r", 0)
            self.serve()

    def configure(self, shares: bool, now_ms: int) -> None:
        """Share the pool, or no more: then it asks for nothing of it, and has no part in it."""
        if not shares and not self.is_out:
            self.goes_by = self.allocated = self.waiting = 0
        self.is_out = not shares
        self.revision += 1

    def serve(self) -> None:
        self.revision += 1
        granted = max(0, min(self.waiting, self.allocated - self.held))
        self.waiting -= granted
        self.held += granted

    def ask(self, units: int, now_ms: int) -> None:
        if not self.is_out:
            self.waiting += units
            self.serve()

    def give_back(self, units: int, now_ms: int) -> None:
        self.held = max(0, self.held - units)
        self.serve()

    def restored(self, now_ms: int) -> "PlainLedger":
        """From a snapshot that is up to date, as after a reset by people."""
        return PlainLedger(
            self.tenant,
            incarnation=self.incarnation + 1,
            revision=(self.incarnation + 1) * 1_000,
            held=self.held,
            waiting=self.waiting,
            is_out=self.is_out,
        )


class RealLedger:
    """The real one, seen like the plain one."""

    def __init__(self, tenant: str, ledger: Ledger | None = None) -> None:
        self.tenant = tenant
        self._ledger = ledger or Ledger.begin(tenant, settings_of(tenant), 1)
        self._is_out = not self._ledger.record.pools
        self._numbers = count()

    @property
    def incarnation(self) -> int:
        return self._ledger.record.incarnation

    @property
    def allocated(self) -> int:
        limit = self._ledger.view().limits.get("r")
        return 0 if limit is None else limit.allocated or 0

    @property
    def held(self) -> int:
        return self._ledger.view().units_held.get("r", 0)

    @property
    def waiting(self) -> int:
        return self._ledger.view().waiting.get("r", 0)

    def demand(self) -> Demand | None:
        """What it says of the pool; nothing, while it has nothing to do with it."""
        demands = self._ledger.demands()
        self._ledger.demands_sent(demands)
        return demands[0] if demands else None

    def allocate(self, message: Allocation, now_ms: int) -> None:
        self._ledger.allocate(message, now_ms)
        self._ledger.check_conservation()

    def ask(self, units: int, now_ms: int) -> None:
        """In permits of one unit, which wait as long as it takes."""
        if self._is_out:
            return  # it would not be of the pool
        message = Exchange(
            gate="g",
            acquires=[
                Acquire(
                    id=f"{self.tenant}-{self.incarnation}-{next(self._numbers)}",
                    holder=Holder(workflow_id="w"),
                    resource="r",
                    wait_until_ms=now_ms + 10**9,
                )
                for _ in range(units)
            ],
        )
        self._ledger.exchange(message, now_ms)
        self._ledger.check_conservation()

    def give_back(self, units: int, now_ms: int) -> None:
        held = list(self._ledger.record.permits)[:units]
        self._ledger.exchange(Exchange(gate="g", releases=held), now_ms)
        self._ledger.check_conservation()

    def configure(self, shares: bool, now_ms: int) -> None:
        """Share the pool, or no more: then nobody waits for it."""
        if not shares:
            waiting = list(self._ledger.record.waiters)
            self._ledger.exchange(Exchange(gate="g", releases=waiting), now_ms)
        self._is_out = not shares
        self._ledger.configure(settings_of(self.tenant, shares), now_ms)

    def restored(self, now_ms: int) -> "RealLedger":
        record = LEDGER_RECORD.validate_json(LEDGER_RECORD.dump_json(self._ledger.record))
        ledger = Ledger.restore(record, self.incarnation + 1, now_ms)
        ledger.configure(settings_of(self.tenant, not self._is_out), now_ms)
        return RealLedger(self.tenant, ledger)


def settings_of(tenant: str, shares: bool = True) -> LedgerSettings:
    share = SHARES[tenant]
    quota = Quota(
        max_active=share.maximum,
        max_hold_ms=30 * 86_400_000,
        **share.model_dump(exclude={"maximum"}),
    )
    pools = {"r": "p"} if shares else {}
    return LedgerSettings(quotas={"r": quota}, pools=pools, source="listed")


def pool(capacity: int, strategy: Strategy, out: frozenset[str] = frozenset()) -> PoolSettings:
    return PoolSettings(
        capacity={"r": capacity},
        strategy=strategy,
        tenants=dict.fromkeys(name for name in NAMES if name not in out),
        damping=Damping(round_ms=100, min_hold_ms=300, demand_half_life_ms=500),
        source="listed",
        follows="scanner",
        backpressure=BackpressurePolicy(
            queue_age_ms=Steps(elevated=1_000), waiting=Steps(elevated=4, emergency=9), hold_ms=500
        ),
        shedding=SheddingPolicy(elevated=2, saturated=2, emergency=1),
        unlent={"b": 1} if "b" not in out and strategy in GUARANTEEING else {},
    )


class Pooled(RuleBasedStateMachine):
    ledger: type[PlainLedger] | type[RealLedger] = PlainLedger

    @initialize(capacity=st.integers(0, 20), strategy=strategies)
    def begin(self, capacity: int, strategy: Strategy) -> None:
        self.now_ms = START_MS
        self.capacity = self.most = capacity
        self.limits = 0
        self.out: frozenset[str] = frozenset()
        self.strategy = strategy
        self.governor = Governor.begin("p", pool(capacity, strategy), 1)
        self.saved = copy.deepcopy(self.governor.record)
        self.ledgers: dict[str, Any] = {name: self.ledger(name) for name in NAMES}
        self.up: list[Demand] = []
        self.down: list[tuple[str, Allocation]] = []

    # What tenants do

    @rule(name=st.sampled_from(NAMES), units=st.integers(1, 8))
    def ask(self, name: str, units: int) -> None:
        ledger = self.ledgers[name]
        ledger.ask(units, self.now_ms)
        self._post(name)

    @rule(name=st.sampled_from(NAMES), units=st.integers(1, 8))
    def give_back(self, name: str, units: int) -> None:
        ledger = self.ledgers[name]
        ledger.give_back(units, self.now_ms)
        self._post(name)

    # What becomes of messages

    def _post(self, name: str) -> None:
        demand = self.ledgers[name].demand()
        if demand is not None:
            self.up.append(demand)

    def _hear(self, name: str) -> None:
        demand = self.ledgers[name].demand()
        if demand is not None:
            self.governor.demand(demand, self.now_ms)

    @rule(index=st.integers(0, 100), twice=st.booleans())
    def hear(self, index: int, twice: bool) -> None:
        if self.up:
            message = self.up[index % len(self.up)]
            if not twice:
                self.up.remove(message)
            self.governor.demand(message, self.now_ms)

    @rule(index=st.integers(0, 100), twice=st.booleans())
    def tell(self, index: int, twice: bool) -> None:
        if self.down:
            name, message = self.down[index % len(self.down)]
            if not twice:
                self.down.remove((name, message))
            self.ledgers[name].allocate(message, self.now_ms)
            self._post(name)

    @rule()
    def send(self) -> None:
        for name in self.governor.to_tell():
            message = self.governor.allocation_of(name)
            self.down.append((name, message))
            self.governor.told(name, message.sequence, True)

    @rule(index=st.integers(0, 100))
    def lose(self, index: int) -> None:
        if self.up:
            del self.up[index % len(self.up)]

    # Time, crashes, operators

    @rule(ms=st.sampled_from([1, 50, 150, 1_000, 10_000]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        self.governor.advance(self.now_ms)
        deadline = self.governor.next_deadline()
        assert deadline is None or deadline > self.now_ms

    @rule(rounds=st.integers(1, 3))
    def all_goes_well(self, rounds: int) -> None:
        """Else hardly anything is ever given."""
        for _ in range(rounds):
            self._all_arrives()
            self.now_ms += 100
            self.governor.advance(self.now_ms)

    def _all_arrives(self) -> None:
        for name in NAMES:
            self._hear(name)
        for name in self.governor.to_tell():
            message = self.governor.allocation_of(name)
            self.governor.told(name, message.sequence, True)
            self.ledgers[name].allocate(message, self.now_ms)
            self._hear(name)

    @rule()
    def save(self) -> None:
        self.saved = RECORD.validate_json(RECORD.dump_json(self.governor.record))

    @rule()
    def continue_as_new(self) -> None:
        self.governor = Governor(RECORD.validate_json(RECORD.dump_json(self.governor.record)))

    @rule()
    def crash_of_the_governor(self) -> None:
        incarnation = self.governor.record.incarnation + 1
        record = RECORD.validate_json(RECORD.dump_json(self.saved))
        self.governor = Governor.restore(record, incarnation)
        self.governor.configure(pool(self.capacity, self.strategy, self.out), self.now_ms)
        self.most = max(self.most, self.now_there_is)

    @rule(limit=st.none() | st.integers(0, 20), late=st.booleans())
    def follow(self, limit: int | None, late: bool) -> None:
        self.limits += not late
        news = CapacityNews(downstream="scanner", limit=limit, revision=self.limits)
        self.governor.follow(news, self.now_ms)
        self.most = max(self.most, self.now_there_is)

    @property
    def now_there_is(self) -> int:
        return self.governor.capacity()["r"]

    @rule(name=st.sampled_from(NAMES))
    def crash_of_a_ledger(self, name: str) -> None:
        self.ledgers[name] = self.ledgers[name].restored(self.now_ms)
        self._post(name)

    @rule(capacity=st.integers(0, 20))
    def resize(self, capacity: int) -> None:
        self.capacity = capacity
        self.governor.configure(pool(capacity, self.strategy, self.out), self.now_ms)
        self.most = max(self.most, self.now_there_is)

    @rule(name=st.sampled_from(NAMES), governor_first=st.booleans(), heard=st.booleans())
    def leave_or_come_back(self, name: str, governor_first: bool, heard: bool) -> None:
        self.out ^= {name}
        # What was on its way arrives before people change their mind once more.
        self.down = [one for one in self.down if one[0] != name]
        self.up = [message for message in self.up if message.tenant != name]
        steps: list[Callable[[], None]] = [self._configure, partial(self._tell_ledger, name)]
        for step in steps if governor_first else reversed(steps):
            step()
            if heard:
                self._hear(name)
        self._post(name)

    def _tell_ledger(self, name: str) -> None:
        self.ledgers[name].configure(name not in self.out, self.now_ms)

    def _configure(self) -> None:
        self.governor.configure(pool(self.capacity, self.strategy, self.out), self.now_ms)

    # What must always hold

    @invariant()
    def no_more_than_there_is(self) -> None:
        held = sum(ledger.held for ledger in self.ledgers.values())
        assert held <= self.most
        # What ledgers were told before a cut holds until they have heard of it.
        record = self.governor.record
        may_hold = sum(self.governor.ceiling(name, "r") for name in record.members)
        may_hold += sum(left.units.get("r", 0) for left in record.left.values())
        if not record.unheard and may_hold <= self.now_there_is:
            self.most = self.now_there_is

    @invariant()
    def the_governor_knows_the_most_that_can_be_held(self) -> None:
        if self.governor.record.unheard:
            return
        for name, ledger in self.ledgers.items():
            if name in self.governor.record.members:
                known = self.governor.record.members[name]
                if known.incarnation == ledger.incarnation:
                    assert max(ledger.allocated, 0) <= max(self.governor.ceiling(name, "r"), 0)

    def teardown(self) -> None:
        """With messages that arrive, the pool comes to rest, and idles nothing that is wanted."""
        if not hasattr(self, "governor"):
            return
        for name, message in self.down:
            self.ledgers[name].allocate(message, self.now_ms)
        for name in self.out:
            self.ledgers[name].configure(True, self.now_ms)
        if self.out:
            self.out = frozenset()
            self._configure()
        for _ in range(400):
            self._all_arrives()
            for ledger in self.ledgers.values():
                ledger.give_back(max(0, ledger.held - ledger.allocated), self.now_ms)
            self.now_ms += 100
            self.governor.advance(self.now_ms)
        assert not self.governor.record.unheard
        held = {name: ledger.held for name, ledger in self.ledgers.items()}
        capacity = self.now_there_is
        assert sum(held.values()) <= capacity
        for name, ledger in self.ledgers.items():
            share = SHARES[name]
            if self.strategy in GUARANTEEING:
                if share.borrow_limit is not None:
                    assert ledger.allocated <= share.guaranteed + share.borrow_limit
                if share.lend_limit is not None and capacity >= 6:
                    used = min(share.guaranteed, ledger.held + ledger.waiting)
                    kept = max(0, share.guaranteed - used - share.lend_limit)
                    others = sum(ledger.allocated for ledger in self.ledgers.values())
                    assert others - ledger.allocated <= capacity - kept - used
            if not ledger.waiting:
                continue
            if self.strategy in (Strategy.EQUAL, Strategy.PROPORTIONAL):
                limit = share.maximum
                assert (limit and ledger.held >= limit) or sum(held.values()) == capacity
            if self.strategy in GUARANTEEING and capacity >= 6:
                assert ledger.held >= share.guaranteed


class PooledForReal(Pooled):
    ledger = RealLedger


Pooled.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
PooledForReal.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestPooled = Pooled.TestCase
TestPooledForReal = PooledForReal.TestCase
