"""The ledger against a naive model: plain lists, exact fractions, nothing kept that can be told."""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import TypeAdapter

from headgate.model.ledger import Acquire, Decision, Exchange, Holder, Outcome
from headgate.model.quota import Quota, Rate
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord, gcra

START_MS = 1_700_000_000_000
RECORD = TypeAdapter(LedgerRecord)
NEVER = {ReasonCode.UNKNOWN_TENANT, ReasonCode.UNKNOWN_RESOURCE, ReasonCode.CAN_NEVER_FIT}


def configured(**by_resource: dict[str, Any]) -> LedgerSettings:
    quotas = {name: Quota.model_validate(quota) for name, quota in by_resource.items()}
    if "rest" in quotas:
        quotas["*"] = quotas.pop("rest")
    return LedgerSettings(quotas=quotas, source="listed")


SETTINGS = [
    configured(scan={"max_active": 3, "max_hold_ms": 5_000}, rest={"max_active": 2}),
    configured(scan={"max_active": 6, "max_hold_ms": 700}, rest={"rate": "3/s", "burst": 4}),
    configured(
        scan={"rate": "7/s", "burst": 3, "max_hold_ms": 2_000},
        sign={"max_active": 4, "rate": "30/m", "burst": 2, "max_hold_ms": 3_000},
    ),
    configured(
        scan={"max_active": 4, "rate": {"limit": 3, "period_ms": 700}, "burst": 4},
        sign={"max_active": 1, "max_hold_ms": 100},
        sbom={"max_active": 0},
    ),
    configured(rest={"max_hold_ms": 1_000}),
    LedgerSettings(),
]

picks = st.tuples(st.sampled_from(["held", "held", "waits", "any", "new"]), st.integers(0, 1_000))
resources = st.sampled_from(["scan", "scan", "sign", "sbom"])
acquires = st.tuples(
    st.one_of(st.just(("new", 0)), st.just(("new", 0)), picks),
    resources,
    st.integers(1, 4),
    st.sampled_from([None, 0, 1, 300, 2_000, 60_000, 60_000, 60_000]),
    st.sampled_from([0, 0, 0, 1, -1]),
)
Asked = tuple[tuple[str, int], str, int, int | None, int]
seldom = st.sampled_from([False, False, False, True])


@dataclass
class Held:
    resource: str
    units: int
    expires_at_ms: int


@dataclass
class Waiting:
    id: str
    resource: str
    units: int
    priority: int
    until_ms: int


@dataclass
class NaiveLedger:
    """One line of all who wait in order of arrival; who is next is looked up each time."""

    quotas: dict[str, Quota] | None
    held: dict[str, Held] = field(default_factory=dict)
    line: list[Waiting] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    to_wake: set[str] = field(default_factory=set)
    arrival_ms: dict[str, Fraction] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    granted: Counter[str] = field(default_factory=Counter)
    resolved: Counter[tuple[str, str]] = field(default_factory=Counter)

    def quota(self, resource: str) -> Quota | None:
        quotas = self.quotas or {}
        return quotas.get(resource, quotas.get("*"))

    def units(self, resource: str) -> int:
        return sum(held.units for held in self.held.values() if held.resource == resource)

    def can_ever(self, resource: str, units: int) -> bool:
        quota = self.quota(resource)
        return (
            quota is not None
            and (quota.max_active is None or units <= quota.max_active)
            and (quota.rate is None or units <= quota.effective_burst)
        )

    def can_now(self, one: Waiting, now_ms: int) -> bool:
        quota = self.quota(one.resource)
        assert quota is not None
        room = None if quota.max_active is None else quota.max_active - self.units(one.resource)
        if room is not None and one.units > room:
            return False
        if quota.rate is None:
            return True
        each_ms = Fraction(quota.rate.period_ms, quota.rate.limit)
        arrival_ms = max(self.arrival_ms.get(one.resource, Fraction(0)), Fraction(now_ms))
        if arrival_ms + one.units * each_ms - now_ms > quota.effective_burst * each_ms:
            return False
        self.arrival_ms[one.resource] = arrival_ms + one.units * each_ms
        self.rates[one.resource] = quota.rate
        return True

    def serve(self, now_ms: int, told: str | None = None) -> None:
        for resource in {one.resource for one in self.line}:
            while line := [one for one in self.line if one.resource == resource]:
                first = max(line, key=lambda one: one.priority)
                if not self.can_now(first, now_ms):
                    break
                self.line.remove(first)
                quota = self.quota(resource)
                assert quota is not None
                self.held[first.id] = Held(resource, first.units, now_ms + quota.max_hold_ms)
                self.granted[resource] += 1
                if first.id != told:
                    self.to_wake.add(first.id)

    def end(self, id: str, how: str) -> None:
        held = self.held.pop(id)
        self.to_wake.discard(id)
        self.ended[id] = how
        self.resolved[held.resource, how] += 1

    def advance(self, now_ms: int) -> None:
        for one in [one for one in self.line if one.until_ms <= now_ms]:
            self.line.remove(one)
            self.ended[one.id] = "expired"
        for id in [id for id, held in self.held.items() if held.expires_at_ms <= now_ms]:
            self.end(id, "expired")
        self.serve(now_ms)

    def release(self, id: str, now_ms: int) -> None:
        if id in self.held:
            self.end(id, "released")
        else:
            self.line = [one for one in self.line if one.id != id]
            self.ended.setdefault(id, "released")
        self.serve(now_ms)

    def acquire(self, request: Acquire, now_ms: int) -> Outcome:
        id = request.id
        if id in self.held:
            self.to_wake.discard(id)
            return Outcome.GRANTED
        if any(one.id == id for one in self.line):
            return Outcome.WAITING
        if id in self.ended or id in self.denied:
            return Outcome.DENIED
        if self.can_ever(request.resource, request.units):
            until_ms = now_ms if request.wait_until_ms is None else request.wait_until_ms
            one = Waiting(id, request.resource, request.units, request.priority, until_ms)
            self.line.append(one)
            self.serve(now_ms, told=id)
            if id in self.held:
                return Outcome.GRANTED
            if until_ms > now_ms:
                return Outcome.WAITING
            self.line.remove(one)
        self.denied.add(id)
        return Outcome.DENIED

    def configure(self, quotas: dict[str, Quota] | None, now_ms: int) -> None:
        for one in [one for one in self.line if one.until_ms <= now_ms]:
            self.line.remove(one)
            self.ended[one.id] = "expired"
        self.quotas = quotas
        for resource, old_rate in list(self.rates.items()):
            new = self.quota(resource)
            if new is not None and new.rate is not None and new.rate != old_rate:
                self.arrival_ms[resource] = self.same_debt(resource, old_rate, new.rate, now_ms)
                self.rates[resource] = new.rate
        for one in [one for one in self.line if not self.can_ever(one.resource, one.units)]:
            self.line.remove(one)
            self.denied.add(one.id)
        self.advance(now_ms)

    def same_debt(self, resource: str, old: Rate, new: Rate, now_ms: int) -> Fraction:
        debt_ms = max(Fraction(0), self.arrival_ms[resource] - now_ms)
        units = debt_ms * old.limit / old.period_ms
        return now_ms + Fraction(ceil(units * new.period_ms), new.limit)


class LedgerAgainstModel(RuleBasedStateMachine):
    """Jobs that ask, wait, repeat themselves, give up, vanish; an operator; a server that fails."""

    @initialize(settings=st.sampled_from(SETTINGS[:4]))
    def begin(self, settings: LedgerSettings) -> None:
        self.now_ms = START_MS
        self.ledger = Ledger.begin("acme", settings, 1, check_every_ms=1_000)
        self.model = NaiveLedger(settings.quotas)
        self.first_answers: dict[str, Decision] = {}
        self.ids = 0
        self.places: dict[str, tuple[int, int]] = {}
        self.known_held: set[str] = set()
        self.passed: dict[str, list[tuple[int, int]]] = {}
        self.last_revision = 0

    def pick(self, whom: tuple[str, int]) -> str:
        """Return the id of somebody who holds, waits, once asked, or has yet to ask."""
        kind, number = whom
        record = self.ledger.record
        known = {"held": sorted(record.permits), "waits": sorted(record.waiters)}.get(
            kind, sorted(self.places)
        )
        if kind != "new" and known:
            return known[number % len(known)]
        self.ids += 1
        return f"p{self.ids:03}"

    @rule(asked=st.lists(acquires, min_size=1, max_size=4))
    def gate_asks(self, asked: list[Asked]) -> None:
        self.gate_exchanges(asked, [])

    @rule(asked=st.lists(acquires, max_size=4), released=st.lists(picks, max_size=3))
    def gate_exchanges(self, asked: list[Asked], released: list[tuple[str, int]]) -> None:
        releases = [self.pick(whom) for whom in released]
        requests = [
            Acquire(
                id=(id := self.pick(whom)),
                holder=Holder(workflow_id=f"job-{id}"),
                resource=resource,
                units=units,
                wait_until_ms=None if wait_ms is None else self.now_ms + wait_ms,
                priority=priority,
            )
            for whom, resource, units, wait_ms, priority in asked
        ]
        for request in requests:
            # An id is asked for in earnest once; whatever became of it is the answer for good.
            self.places.setdefault(request.id, (-request.priority, len(self.places)))
        message = Exchange(gate="g", acquires=requests, releases=releases)
        reply = self.ledger.exchange(message, self.now_ms)
        self.model.advance(self.now_ms)
        for id in releases:
            self.model.release(id, self.now_ms)
        expected = [self.model.acquire(request, self.now_ms) for request in requests]
        assert [decision.outcome for decision in reply.decisions] == expected
        assert reply.revision == self.ledger.record.revision
        for decision in reply.decisions:
            self.check_answer(decision)

    def check_answer(self, decision: Decision) -> None:
        first = self.first_answers.setdefault(decision.id, decision)
        if decision.outcome is Outcome.GRANTED:
            assert decision.expires_at_ms == self.model.held[decision.id].expires_at_ms
            return
        assert decision.reason is not None
        assert "None" not in decision.reason.message
        if decision.outcome is Outcome.WAITING:
            assert decision.retry_at_ms is not None
            assert decision.retry_at_ms > self.now_ms
        elif decision is first and decision.reason.code is not ReasonCode.WAITED_TOO_LONG:
            assert (decision.retry_at_ms is None) == (decision.reason.code in NEVER)
        if first.outcome is Outcome.DENIED and decision.id in self.ledger.record.denials:
            over = decision.reason.code is ReasonCode.WAITED_TOO_LONG
            assert over or decision == first

    @rule(whom=picks)
    def job_releases(self, whom: tuple[str, int]) -> None:
        self.release(self.pick(whom))

    def release(self, id: str) -> None:
        self.ledger.release(id, self.now_ms)
        self.model.advance(self.now_ms)
        self.model.release(id, self.now_ms)

    @rule(whom=picks)
    def holder_has_closed(self, whom: tuple[str, int]) -> None:
        id = self.pick(whom)
        self.ledger.reclaim(id, self.now_ms)
        self.model.advance(self.now_ms)
        if id in self.model.held:
            self.model.end(id, "reclaimed")
            self.model.serve(self.now_ms)

    @rule()
    @precondition(lambda self: self.ledger.record.wakes)
    def waiter_is_told(self) -> None:
        id = next(iter(self.ledger.record.wakes))
        permit, grant = self.ledger.grant_of(id)
        assert (permit.workflow_id, grant.id) == (f"job-{id}", id)
        self.ledger.woken(id)
        self.model.to_wake.discard(id)

    @rule()
    @precondition(lambda self: self.ledger.next_check() is not None)
    def holders_are_looked_after(self) -> None:
        at_ms = self.ledger.next_check()
        assert at_ms is not None
        if at_ms <= self.now_ms:
            found = self.ledger.holders_to_check(self.now_ms, 2)
            assert 1 <= len(found) <= 2
            assert all(id in self.ledger.record.permits for id, _, _ in found)
            for id, _, _ in found:
                assert self.ledger.record.permits[id].check_at_ms > self.now_ms

    @rule(pause_ms=st.sampled_from([1, 50, 143, 333, 500, 1_000, 5_000, 400_000]))
    def time_passes(self, pause_ms: int) -> None:
        self.now_ms += pause_ms
        self.ledger.advance(self.now_ms)
        self.model.advance(self.now_ms)

    @rule(pause_ms=st.sampled_from([1, 300, 2_000]))
    def time_passes_unnoticed(self, pause_ms: int) -> None:
        """The next message comes before the timer does."""
        self.now_ms += pause_ms
        self.release("nobody")

    @rule()
    @precondition(lambda self: self.ledger.next_deadline() is not None)
    def deadline_is_met(self) -> None:
        deadline = self.ledger.next_deadline()
        assert deadline is not None
        before = len(self.ledger.record.permits), len(self.ledger.record.waiters)
        self.now_ms = deadline
        self.ledger.advance(deadline)
        self.model.advance(deadline)
        after = len(self.ledger.record.permits), len(self.ledger.record.waiters)
        granted_and_expired = self.known_held != set(self.ledger.record.permits)
        assert after != before or granted_and_expired, "a deadline at which nothing was due"

    @rule(settings=st.sampled_from(SETTINGS), now=seldom)
    def operator_applies(self, settings: LedgerSettings, now: bool) -> None:
        if not now:
            return
        self.ledger.configure(settings, self.now_ms)
        self.model.configure(settings.quotas, self.now_ms)
        self.passed.clear()

    @rule()
    def workflow_continues_as_new(self) -> None:
        self.ledger = Ledger(RECORD.validate_json(RECORD.dump_json(self.ledger.record)), 1_000)

    @rule(settings=st.one_of(st.none(), st.sampled_from(SETTINGS)), now=seldom)
    def workflow_is_restored(self, settings: LedgerSettings | None, now: bool) -> None:
        if not now:
            return
        record = RECORD.validate_json(RECORD.dump_json(self.ledger.record))
        if settings is None:
            settings = LedgerSettings(quotas=record.quotas, source=record.quota_source)
        else:
            self.passed.clear()
        self.ledger = Ledger.restore(record, record.incarnation + 1, self.now_ms, 1_000)
        self.ledger.configure(settings, self.now_ms)
        self.model.configure(settings.quotas, self.now_ms)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        record, model = self.ledger.record, self.model
        assert {id: Held(one.resource, one.units, one.expires_at_ms)
                for id, one in record.permits.items()} == model.held  # fmt: skip
        assert set(record.waiters) == {one.id for one in model.line}
        assert set(record.wakes) == model.to_wake
        assert record.resolved == model.ended

    @invariant()
    def every_permit_is_accounted_for_and_ends_once(self) -> None:
        self.ledger.check_conservation()
        for resource, meter in self.ledger.record.meters.items():
            assert meter.granted == self.model.granted[resource]
            assert meter.units == self.model.units(resource)
            assert meter.released == self.model.resolved[resource, "released"]
            assert meter.expired == self.model.resolved[resource, "expired"]
            assert meter.reclaimed == self.model.resolved[resource, "reclaimed"]

    @invariant()
    def a_grant_is_within_every_limit_and_overtakes_nobody(self) -> None:
        record = self.ledger.record
        fresh = sorted(set(record.permits) - self.known_held)
        self.known_held = set(record.permits)
        for id in fresh:
            permit = record.permits[id]
            quota = self.model.quota(permit.resource)
            assert quota is not None
            if quota.max_active is not None:
                assert record.meters[permit.resource].units <= quota.max_active
            for other, waiter in record.waiters.items():
                if waiter.resource == permit.resource:
                    came_earlier = self.places[other][1] < self.places[id][1]
                    assert not came_earlier or waiter.priority < -self.places[id][0]
            if quota.rate is not None and permit.granted_at_ms == self.now_ms:
                self.passed.setdefault(permit.resource, []).append((self.now_ms, permit.units))
        for resource, grants in self.passed.items():
            quota = self.model.quota(resource)
            if quota is None or quota.rate is None:
                continue
            units = 0
            for at_ms, some in reversed(grants):
                units += some
                earned = Fraction((self.now_ms - at_ms) * quota.rate.limit, quota.rate.period_ms)
                assert units <= quota.effective_burst + earned

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        record = self.ledger.record
        for resource in {waiter.resource for waiter in record.waiters.values()}:
            line = [id for id, waiter in record.waiters.items() if waiter.resource == resource]
            first = record.waiters[min(line, key=lambda id: self.places[id])]
            quota, meter = self.model.quota(resource), record.meters[resource]
            assert quota is not None
            if quota.max_active is not None and meter.units + first.units > quota.max_active:
                continue
            assert quota.rate is not None
            at_ms = gcra.earliest(meter.tat, quota.rate, quota.effective_burst, first.units)
            assert at_ms is not None
            assert at_ms > self.now_ms

    @invariant()
    def time_has_nothing_left_to_do(self) -> None:
        deadline = self.ledger.next_deadline()
        assert deadline is None or deadline > self.now_ms

    @invariant()
    def the_revision_only_rises(self) -> None:
        assert self.ledger.record.revision >= self.last_revision
        self.last_revision = self.ledger.record.revision


TestLedgerAgainstModel = LedgerAgainstModel.TestCase
TestLedgerAgainstModel.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
