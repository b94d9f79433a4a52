"""The ledger against a naive model: plain lists, exact fractions, nothing kept that can be told."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import TypeAdapter

from headgate.model.ledger import (
    Acquire,
    CommandReply,
    Decision,
    Exchange,
    Holder,
    LedgerCommand,
    Outcome,
)
from headgate.model.pool import Allocation
from headgate.model.quota import Quota, QuotaOverride, Rate, Throttle
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger, LedgerRecord
from headgate.quota.past import REMEMBERED_MS, fingerprint

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
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
        sbom={"per_hour": 4, "max_active": 5},
    ),
    configured(
        scan={"max_active": 4, "rate": {"limit": 3, "period_ms": 700}, "burst": 4},
        sign={"max_active": 1, "max_hold_ms": 100, "per_hour": 3},
        sbom={"max_active": 0},
    ),
    configured(scan={"max_active": 4}, rest={"max_active": 5, "per_hour": 5}).model_copy(
        update={"pools": {"scan": "machines", "sbom": "machines"}}
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
    st.sampled_from([{}, {}, {"sign": 1}, {"scan": 2}, {"sbom": 1, "scan": 1}]),
    st.sampled_from([None, 0, 1, 300, 2_000, 60_000, 60_000, 60_000]),
    st.sampled_from([0, 0, 0, 1, -1]),
)
Asked = tuple[tuple[str, int], str, int, dict[str, int], int | None, int]
seldom = st.sampled_from([False, False, False, True])
overrides = st.tuples(
    resources,
    st.sampled_from([{"max_active": 1}, {"max_active": 7}, {"rate": "5/s"}, {"per_hour": 2}]),
    st.sampled_from([0, 100, 700]),
    st.sampled_from([1, 333, 3_000]),
)
throttles = st.tuples(
    st.sampled_from(["scan", "sign", "*"]),
    st.sampled_from([0.0, 0.4, 0.75]),
    st.sampled_from([None, 50, 1_000, 5_000]),
)


@dataclass
class Held:
    needs: dict[str, int]
    expires_at_ms: int


@dataclass
class Waiting:
    id: str
    needs: dict[str, int]
    priority: int
    until_ms: int


@dataclass
class NaiveLedger:
    """One line of all who wait in order of arrival; who is next is looked up each time."""

    settings: LedgerSettings
    now_ms: int = START_MS
    held: dict[str, Held] = field(default_factory=dict)
    line: list[Waiting] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    over_ms: dict[str, int] = field(default_factory=dict)
    to_wake: set[str] = field(default_factory=set)
    arrival_ms: dict[str, Fraction] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    hours: dict[str, tuple[int, int]] = field(default_factory=dict)
    granted: Counter[str] = field(default_factory=Counter)
    resolved: Counter[tuple[str, str]] = field(default_factory=Counter)
    overrides: list[QuotaOverride] = field(default_factory=list)
    throttles: list[Throttle] = field(default_factory=list)
    allocation: dict[str, int] | None = None

    def base(self, resource: str) -> Quota | None:
        quotas = self.settings.quotas or {}
        return quotas.get(resource, quotas.get("*"))

    def quota(self, resource: str) -> Quota | None:
        """Return what holds now, throttles included; pauses apart."""
        base = self.base(resource)
        if base is None:
            return None
        for one in sorted(self.overrides, key=lambda one: (one.begins_at_ms, one.id)):
            if one.resource == resource and one.begins_at_ms <= self.now_ms < one.ends_at_ms:
                base = base.model_copy(update=one.changes.values)
        share = self.share(resource)
        if share == 0:
            return base

        def cut(units: int | None) -> int | None:
            return None if units is None else max(min(1, units), int(units * share))

        rate = base.rate
        return base.model_copy(
            update={
                "max_active": cut(base.max_active),
                "per_hour": cut(base.per_hour),
                "burst": cut(base.effective_burst) if rate else None,
                "rate": rate and rate.model_copy(update={"limit": cut(rate.limit)}),
            }
        )

    def share(self, resource: str) -> float:
        in_force = [
            one.share
            for one in self.throttles
            if one.resource in (resource, "*")
            and (one.until_ms is None or self.now_ms < one.until_ms)
        ]
        return min([1.0, *in_force])

    def allocated(self, resource: str) -> int | None:
        if resource not in self.settings.pools:
            return None
        units = (self.allocation or {}).get(resource, 0)
        share = self.share(resource)
        return units if share == 0 else max(min(1, units), int(units * share))

    def units(self, resource: str) -> int:
        return sum(held.needs.get(resource, 0) for held in self.held.values())

    def can_ever(self, needs: dict[str, int]) -> bool:
        return all(self.can_ever_have(resource, units) for resource, units in needs.items())

    def can_ever_have(self, resource: str, units: int) -> bool:
        base = self.base(resource)
        if base is None:
            return False
        planned = [one for one in self.overrides if one.resource == resource]
        variants = [base, *(base.model_copy(update=one.changes.values) for one in planned)]
        limits: list[Callable[[Quota], int | None]] = [
            lambda quota: quota.max_active,
            lambda quota: quota.per_hour,
            lambda quota: quota.effective_burst if quota.rate else None,
        ]
        return all(
            any((most := limit(quota)) is None or units <= most for quota in variants)
            for limit in limits
        )

    def fits(self, one: Waiting) -> bool:
        return all(self.fits_in(resource, units) for resource, units in one.needs.items())

    def fits_in(self, resource: str, units: int) -> bool:
        quota, held = self.quota(resource), self.units(resource)
        if quota is None or self.share(resource) == 0:
            return False
        for room in (quota.max_active, self.allocated(resource)):
            if room is not None and held + units > room:
                return False
        if quota.per_hour is not None and self.used(resource) + units > quota.per_hour:
            return False
        if quota.rate is None:
            return True
        each_ms = Fraction(quota.rate.period_ms, quota.rate.limit)
        arrival_ms = max(self.arrival_ms.get(resource, Fraction(0)), Fraction(self.now_ms))
        return arrival_ms + units * each_ms - self.now_ms <= quota.effective_burst * each_ms

    def used(self, resource: str) -> int:
        hour, used = self.hours.get(resource, (0, 0))
        return used if hour == self.now_ms // HOUR_MS else 0

    def spend(self, one: Waiting) -> None:
        for resource, units in one.needs.items():
            quota = self.quota(resource)
            assert quota is not None
            hour = self.now_ms // HOUR_MS
            # An hour counts on while it lasts, also when its limit is taken away meanwhile. Of what
            # a quota names it counts in any case, so that a limit that is set finds what was used.
            counts = quota.per_hour is not None or resource in (self.settings.quotas or {})
            if counts or self.hours.get(resource, (0, 0))[0] == hour:
                self.hours[resource] = (hour, self.used(resource) + units)
            if quota.rate is not None:
                each_ms = Fraction(quota.rate.period_ms, quota.rate.limit)
                arrival_ms = max(self.arrival_ms.get(resource, Fraction(0)), Fraction(self.now_ms))
                self.arrival_ms[resource] = arrival_ms + units * each_ms
                self.rates[resource] = quota.rate
            self.granted[resource] += 1

    def serve(self, told: str | None = None) -> None:
        while True:
            taken: set[str] = set()
            for one in sorted(self.line, key=lambda one: -one.priority):
                if not taken & one.needs.keys() and self.fits(one):
                    break
                taken |= one.needs.keys()
            else:
                return
            self.line.remove(one)
            self.spend(one)
            quotas = [self.quota(resource) for resource in one.needs]
            hold_ms = min(quota.max_hold_ms for quota in quotas if quota is not None)
            self.held[one.id] = Held(one.needs, self.now_ms + hold_ms)
            if one.id != told:
                self.to_wake.add(one.id)

    def end(self, id: str, how: str) -> None:
        held = self.held.pop(id)
        self.to_wake.discard(id)
        self.be_over(id, how)
        for resource in held.needs:
            self.resolved[resource, how] += 1

    def be_over(self, id: str, how: str, now_ms: int | None = None) -> None:
        self.ended[id] = how
        self.over_ms.setdefault(id, self.now_ms if now_ms is None else now_ms)

    def be_denied(self, id: str) -> None:
        self.denied.add(id)
        self.over_ms.setdefault(id, self.now_ms)

    def is_remembered(self, id: str) -> bool:
        """Whether the ledger has to know what became of it."""
        return self.now_ms - self.over_ms.get(id, self.now_ms) < REMEMBERED_MS

    def lapse(self, now_ms: int) -> None:
        for one in [one for one in self.line if one.until_ms <= now_ms]:
            self.line.remove(one)
            self.be_over(one.id, "expired", now_ms)
        times = [at for one in self.overrides for at in (one.begins_at_ms, one.ends_at_ms)]
        times += [one.until_ms for one in self.throttles if one.until_ms is not None]
        for at_ms in sorted({at for at in times if self.now_ms < at <= now_ms}):
            self.now_ms = at_ms
            self.limits_change()
        self.now_ms = now_ms

    def limits_change(self) -> None:
        now_ms = self.now_ms
        self.overrides = [one for one in self.overrides if one.ends_at_ms > now_ms]
        self.throttles = [
            one for one in self.throttles if one.until_ms is None or one.until_ms > now_ms
        ]
        for resource, old_rate in list(self.rates.items()):
            new = self.quota(resource)
            if new is not None and new.rate is not None and new.rate != old_rate:
                self.arrival_ms[resource] = self.same_debt(resource, old_rate, new.rate, now_ms)
                self.rates[resource] = new.rate
        for one in [one for one in self.line if not self.can_ever(one.needs)]:
            self.line.remove(one)
            self.be_denied(one.id)

    def advance(self, now_ms: int) -> None:
        self.lapse(now_ms)
        for id in [id for id, held in self.held.items() if held.expires_at_ms <= now_ms]:
            self.end(id, "expired")
        self.serve()

    def release(self, id: str) -> None:
        if id in self.held:
            self.end(id, "released")
        else:
            self.line = [one for one in self.line if one.id != id]
            self.be_over(id, self.ended.get(id, "released"))
        self.serve()

    def override(self, new: QuotaOverride, now_ms: int) -> None:
        """Who says the same once more has one that holds as long as was said last."""
        for one in self.overrides:
            same = (one.actor, one.resource, one.changes) == (new.actor, new.resource, new.changes)
            if same and max(now_ms, one.begins_at_ms) == new.begins_at_ms:
                self.overrides.remove(one)
                break
        self.overrides.append(new)

    def acquire(self, request: Acquire) -> Outcome:
        id = request.id
        if id in self.held:
            self.to_wake.discard(id)
            return Outcome.GRANTED
        if any(one.id == id for one in self.line):
            return Outcome.WAITING
        if id in self.ended or id in self.denied:
            return Outcome.DENIED
        needs = {request.resource: request.units, **request.also}
        if self.can_ever(needs):
            until_ms = self.now_ms if request.wait_until_ms is None else request.wait_until_ms
            one = Waiting(id, needs, request.priority, until_ms)
            self.line.append(one)
            self.serve(told=id)
            if id in self.held:
                return Outcome.GRANTED
            if until_ms > self.now_ms:
                return Outcome.WAITING
            self.line.remove(one)
        self.be_denied(id)
        return Outcome.DENIED

    def configure(self, settings: LedgerSettings, now_ms: int) -> None:
        self.lapse(now_ms)
        if {*settings.pools.values()} - {*self.settings.pools.values()}:
            self.allocation = None  # of before it joined: given to others since
        self.settings = settings
        self.limits_change()
        self.advance(now_ms)

    def same_debt(self, resource: str, old: Rate, new: Rate, now_ms: int) -> Fraction:
        debt_ms = max(Fraction(0), self.arrival_ms[resource] - now_ms)
        units = debt_ms * old.limit / old.period_ms
        return now_ms + Fraction(ceil(units * new.period_ms), new.limit)


class LedgerAgainstModel(RuleBasedStateMachine):
    """Jobs that ask, wait, repeat themselves, give up, vanish; an operator; a server that fails."""

    @initialize(settings=st.sampled_from(SETTINGS[:5]))
    def begin(self, settings: LedgerSettings) -> None:
        self.now_ms = START_MS
        self.ledger = Ledger.begin("acme", settings, 1, check_every_ms=1_000)
        self.model = NaiveLedger(settings)
        self.steady = True
        self.sequence = 0
        self.first_answers: dict[str, Decision] = {}
        self.ids = 0
        self.sent: list[tuple[int, Exchange]] = []
        self.places: dict[str, tuple[int, int]] = {}
        self.known_held: set[str] = set()
        self.passed: dict[str, list[tuple[int, int]]] = {}
        self.last_revision = 0

    def pick(self, whom: tuple[str, int]) -> str:
        """Return the id of somebody who holds, waits, once asked, or has yet to ask."""
        kind, number = whom
        record = self.ledger.record
        known = {"held": sorted(record.permits), "waits": sorted(record.waiters)}.get(
            kind, [id for id in sorted(self.places) if self.model.is_remembered(id)]
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
                also={name: some for name, some in also.items() if name != resource},
                wait_until_ms=None if wait_ms is None else self.now_ms + wait_ms,
                priority=priority,
            )
            for whom, resource, units, also, wait_ms, priority in asked
        ]
        for request in requests:
            # An id is asked for in earnest once; whatever became of it is the answer for good.
            self.places.setdefault(request.id, (-request.priority, len(self.places)))
        number = len(self.sent)
        message = Exchange(gate="g", number=number, acquires=requests, releases=releases)
        self.sent.append((self.now_ms, message))
        reply = self.ledger.exchange(message, self.now_ms)
        self.model.advance(self.now_ms)
        for id in releases:
            self.model.release(id)
        expected = [self.model.acquire(request) for request in requests]
        assert [decision.outcome for decision in reply.decisions] == expected
        assert reply.revision == self.ledger.record.revision
        for decision in reply.decisions:
            self.check_answer(decision)

    @rule(back=st.integers(0, 5))
    def an_exchange_comes_again(self, back: int) -> None:
        at_ms, message = self.sent[-1 - back] if back < len(self.sent) else (0, None)
        if message is None or self.now_ms - at_ms >= REMEMBERED_MS:
            return
        reply = self.ledger.exchange(message, self.now_ms)
        self.model.advance(self.now_ms)
        for id in message.releases:
            self.model.release(id)
        for request, decision in zip(message.acquires, reply.decisions, strict=True):
            known = request.id in self.model.held or any(
                one.id == request.id for one in self.model.line
            )
            assert decision.outcome is (self.model.acquire(request) if known else Outcome.DENIED)

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
            never = decision.reason.code in NEVER or "asked for, but" in decision.reason.message
            assert (decision.retry_at_ms is None) == never
        known = self.ledger.record.denied.get(decision.id)
        if first.outcome is Outcome.DENIED and known is not None:
            over = decision.reason.code is ReasonCode.WAITED_TOO_LONG
            assert over or decision == first

    @rule(whom=picks)
    def job_releases(self, whom: tuple[str, int]) -> None:
        self.release(self.pick(whom))

    def release(self, id: str) -> None:
        self.ledger.release(id, self.now_ms)
        self.model.advance(self.now_ms)
        self.model.release(id)

    @rule(whom=picks)
    def holder_has_closed(self, whom: tuple[str, int]) -> None:
        id = self.pick(whom)
        self.ledger.reclaim(id, self.now_ms)
        self.model.advance(self.now_ms)
        if id in self.model.held:
            self.model.end(id, "reclaimed")
            self.model.serve()
        elif any(one.id == id for one in self.model.line):
            self.model.release(id)

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
            record = self.ledger.record
            for id, _, _ in found:
                of = record.permits.get(id) or record.waiters[id]
                assert of.check_at_ms > self.now_ms

    @rule(asked=overrides, sure=seldom)
    def operator_overrides(self, asked: tuple[str, dict[str, Any], int, int], sure: bool) -> None:
        resource, changes, begins_in_ms, lasts_ms = asked
        begins_at_ms = self.now_ms + begins_in_ms
        reply = self.operate(
            {
                "kind": "override",
                "resource": resource,
                "changes": changes,
                "begins_at_ms": begins_at_ms,
                "ends_at_ms": begins_at_ms + lasts_ms,
            },
            sure,
        )
        base = self.model.base(resource)
        assert (reply.refused == "not_found") == (base is None)
        if reply.refused == "below_usage":
            assert not sure
            used = {"max_active": self.model.units(resource), "per_hour": self.model.used(resource)}
            assert all(used[name] > limit for name, limit in changes.items())
        if reply.accepted:
            self.model.override(self.ledger.record.overrides[reply.id], self.now_ms)
            self.limits_changed()

    @rule(asked=throttles)
    def operator_throttles(self, asked: tuple[str, float, int | None]) -> None:
        resource, share, lasts_ms = asked
        until_ms = None if lasts_ms is None else self.now_ms + lasts_ms
        reply = self.operate(
            {"kind": "throttle", "resource": resource, "share": share, "until_ms": until_ms}
        )
        if reply.accepted:
            self.model.throttles.append(self.ledger.record.throttles[reply.id])
            self.limits_changed()

    @rule(resource=st.sampled_from(["scan", "sign", "*"]))
    def operator_resumes(self, resource: str) -> None:
        reply = self.operate({"kind": "resume", "resource": resource})
        before = self.model.throttles
        self.model.throttles = [one for one in before if one.resource != resource]
        assert reply.accepted == (self.model.throttles != before)
        if reply.accepted:
            self.limits_changed()

    def operate(self, action: dict[str, Any], sure: bool = False) -> CommandReply:
        self.ids += 1
        command = LedgerCommand.model_validate(
            {
                "id": f"c{self.ids:03}",
                "actor": "ann",
                "reason": "because",
                "action": action,
                "allow_below_usage": sure,
            }
        )
        reply = self.ledger.operate(command, self.now_ms)
        self.model.advance(self.now_ms)
        assert self.ledger.operate(command, self.now_ms) == reply
        return reply

    def limits_changed(self) -> None:
        self.steady = False
        self.model.limits_change()
        self.model.advance(self.now_ms)

    @rule(units=st.integers(0, 6), late=seldom, old=seldom)
    def governor_allocates(self, units: int, late: bool, old: bool) -> None:
        record = self.ledger.record
        self.sequence += not late
        allocation = Allocation(
            pool="machines",
            sequence=max(1, self.sequence),
            incarnation=record.incarnation + 7 if old else record.incarnation,
            units={"scan": units, "sbom": max(0, units - 2)},
        )
        # A restored ledger takes the last one once more: it has forgotten it.
        known = record.accounts.get("machines")
        is_news = not old and allocation.sequence > (known.sequence if known else 0)
        self.ledger.allocate(allocation, self.now_ms)
        self.model.advance(self.now_ms)
        if is_news:
            self.model.allocation = dict(allocation.units)
            self.model.serve()
        self.governor_is_told()

    @rule()
    def governor_is_told(self) -> None:
        demands = self.ledger.demands()
        for demand in demands:
            account = self.ledger.record.accounts.get(demand.pool)
            if account is not None and account.told is not None and self.ledger.demands_due():
                assert demand.revision >= account.told.revision
            for resource, claim in demand.claims.items():
                assert claim.wanted >= min(claim.held, claim.wanted)
                if resource in self.model.settings.pools:
                    assert claim.held == self.model.units(resource)
                    assert claim.wanted >= claim.held
        self.ledger.demands_sent(demands)
        assert not self.ledger.demands_due()
        assert self.ledger.demands_due_at_ms() is None

    @rule(pause_ms=st.sampled_from([1, 50, 143, 333, 500, 1_000, 5_000, 400_000, 2_000_000]))
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
        before = RECORD.dump_json(self.ledger.record)
        self.now_ms = deadline
        self.ledger.advance(deadline)
        self.model.advance(deadline)
        assert RECORD.dump_json(self.ledger.record) != before, "nothing was due"

    @rule(settings=st.sampled_from(SETTINGS), now=seldom)
    def operator_applies(self, settings: LedgerSettings, now: bool) -> None:
        if not now:
            return
        self.ledger.configure(settings, self.now_ms)
        self.model.configure(settings, self.now_ms)
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
            settings = self.model.settings
        else:
            self.passed.clear()
        self.ledger = Ledger.restore(record, record.incarnation + 1, self.now_ms, 1_000)
        self.model.allocation = None
        self.ledger.configure(settings, self.now_ms)
        self.model.configure(settings, self.now_ms)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        record, model = self.ledger.record, self.model
        assert {
            id: Held(dict(one.needs), one.expires_at_ms) for id, one in record.permits.items()
        } == model.held
        assert set(record.waiters) == {one.id for one in model.line}
        assert set(record.wakes) == model.to_wake
        remembered = record.ended.before | record.ended.recent
        ended = {fingerprint(id): how for id, how in model.ended.items()}
        assert remembered.items() <= ended.items()
        assert {fingerprint(id) for id in model.ended if model.is_remembered(id)} <= set(remembered)

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
            for resource, units in permit.needs:
                quota, held = self.model.quota(resource), record.meters[resource].units
                assert quota is not None
                assert self.model.share(resource) > 0 or permit.granted_at_ms < self.now_ms
                for room in (quota.max_active, self.model.allocated(resource)):
                    assert room is None or held <= room
                if quota.per_hour is not None:
                    assert self.model.used(resource) <= quota.per_hour
                for other, waiter in record.waiters.items():
                    if resource in dict(waiter.needs):
                        came_earlier = self.places[other][1] < self.places[id][1]
                        assert not came_earlier or waiter.priority < -self.places[id][0]
                if quota.rate is not None and permit.granted_at_ms == self.now_ms:
                    self.passed.setdefault(resource, []).append((self.now_ms, units))
        for resource, grants in self.passed.items():
            quota = self.model.quota(resource)
            if quota is None or quota.rate is None or not self.steady:
                continue
            units = 0
            for at_ms, some in reversed(grants):
                units += some
                earned = Fraction((self.now_ms - at_ms) * quota.rate.limit, quota.rate.period_ms)
                assert units <= quota.effective_burst + earned

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        taken: set[str] = set()
        waiters = self.ledger.record.waiters
        for id in sorted(waiters, key=lambda id: self.places[id]):
            needs = dict(waiters[id].needs)
            is_first = not taken & needs.keys()
            taken |= needs.keys()
            assert not is_first or not self.model.fits(Waiting(id, needs, 0, 0))

    @invariant()
    def whoever_waits_is_told_why_and_asking_changes_nothing(self) -> None:
        record = self.ledger.record
        before = record.revision, len(record.meters)
        for id in list(record.waiters)[:2]:
            view = self.ledger.why(id, self.now_ms)
            assert view is not None
            assert view.reason is not None
            assert view.reason.endless == (view.retry_at_ms is None)
            assert view.retry_at_ms is None or view.retry_at_ms > self.now_ms
            assert view.reason.endless <= ("(estimate)" not in view.reason.message)
            assert "None" not in view.reason.message
            assert (view.position == 1) == (not view.ahead)
        assert (record.revision, len(record.meters)) == before

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
