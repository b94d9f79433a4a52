"""The governor of one pool: demand in, allocations out, and never more than there is."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from headgate.alerts.desk import Desk
from headgate.allocation.claims import Claim, Division, DominantClaim, Group
from headgate.allocation.dominant import divide_dominant
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.history import adjusted_weights
from headgate.allocation.pressure import PoolPressure
from headgate.allocation.repeated import RepeatedDivision
from headgate.allocation.rounds import Place, Places, keep_limits, step
from headgate.allocation.watch import Watch
from headgate.decay import MICRO, decayed
from headgate.model.audit import AuditEntry
from headgate.model.limits import CapacityNews, PressureLevel, PressureView
from headgate.model.pool import (
    Allocation,
    CapacityOverride,
    Condition,
    Demand,
    Followed,
    MemberView,
    PoolSettings,
    PoolView,
    Share,
    Strategy,
)

REVISIONS_PER_INCARNATION: Final = 1_000_000_000

_GUARANTEEING: Final = (Strategy.RESERVED, Strategy.PRIORITY)

_BY_PARTS: Final = (Strategy.FIXED, Strategy.UNLIMITED)
"""Strategies that do not look at weights."""

_LOOK_FOR_IDLE_EVERY: Final = 8
"""Rounds; to look is not free either."""

_NO_SHARE: Final = Share(weight=0.0)
"""Of a tenant that has not said anything yet."""


class Governor:
    """Divides a pool: every decision a function of its record, a message and time.

    Times are Unix milliseconds. What the ledgers may hold together never passes the capacity: an
    allocation is raised only out of what no ledger can still use. A cut counts from the moment
    that the ledger has confirmed it, and then only as far as it has come below it.

    Attributes:
        record: All it remembers; may be stored at any time between two calls.
    """

    def __init__(self, record: GovernorRecord) -> None:
        self.record = record
        # What follows only saves work, and holds no truth of its own.
        self._divisions: dict[tuple[str, bool], RepeatedDivision] = {}
        self._shared: tuple[PoolSettings, list[Group]] | None = None
        # Who may hold or want something: a round need not look at the others. None: not known.
        self._active: set[str] | None = None
        self._in_order: list[tuple[str, Member]] | None = None
        # Whose place, and whose claim, are to be reckoned again.
        self._stale: set[str] = set()
        self._unclaimed: set[str] = set()
        self._claimed: dict[str, _Claimed] = {}
        self._placed: dict[str, tuple[object, Places, set[str]]] = {}
        # Until when a round would do nothing, unless something has been said or given since.
        self._quiet: tuple[int, int, int] = (-1, 0, 0)
        self._said = 0  # how often something has been said that matters
        self._targeted: tuple[int, int] | None = None
        self._known: dict[str, tuple[PoolSettings, int, int, Division, dict[str, int]]] = {}
        self._untold = {tenant for tenant, member in record.members.items() if member.to_tell}
        # What the last division made of each; who was left out then, and may be still.
        self._parted: dict[str, dict[str, int]] = {}
        self._left_out: set[str] = set()
        self._summed: tuple[tuple[int, int, int], dict[str, int], int] | None = None
        self._given: _Given | None = None
        self._pressure = PoolPressure(record)
        self._watch = Watch(record)
        self._pressed: tuple[tuple[object, ...], PressureView] | None = None
        self._has: _Has | None = None

    @classmethod
    def begin(cls, pool: str, settings: PoolSettings, incarnation: int) -> "Governor":
        """Return a governor without a past. Ledgers may hold units already, so all are asked."""
        base = incarnation * REVISIONS_PER_INCARNATION
        record = GovernorRecord(
            pool=pool, settings=settings, revision=base, incarnation=incarnation, sequence=base
        )
        governor = cls(record)
        governor._ask(settings.tenants)
        return governor

    @classmethod
    def restore(cls, record: GovernorRecord, incarnation: int) -> "Governor":
        """Go on from a saved record, above every sequence there may have been.

        What was allocated since the snapshot is not known, so nothing is raised until every
        ledger has confirmed what it goes by.
        """
        record.incarnation = incarnation
        record.revision = record.sequence = incarnation * REVISIONS_PER_INCARNATION
        record.asked_for_limit = False
        governor = cls(record)
        governor._ask(record.settings.tenants)
        return governor

    # What comes in ---------------------------------------------------------------------------

    def configure(self, settings: PoolSettings, now_ms: int) -> None:
        """Take new settings; who is no longer named leaves, who is new is asked what it holds."""
        record = self.record
        new = [tenant for tenant in settings.tenants if tenant not in record.settings.tenants]
        if settings.follows != record.settings.follows:
            record.followed, record.asked_for_limit = None, False
        record.settings = settings
        for tenant in [name for name in record.members if name not in settings.tenants]:
            del record.members[tenant]
        record.unheard = [tenant for tenant in record.unheard if tenant in settings.tenants]
        self._ask(new)
        self._active = self._in_order = None
        self._said += 1
        self._placed, self._claimed, self._parted, self._divisions = {}, {}, {}, {}
        self._left_out, self._given = set(), None
        self._untold &= record.members.keys()
        self._pressure = PoolPressure(record)
        record.revision += 1
        record.told_revision = record.revision
        record.unsettled = True
        self.advance(now_ms)

    def demand(self, message: Demand, now_ms: int) -> None:
        """Take in what a ledger holds and wants, and which allocation it goes by."""
        record = self.record
        if message.tenant not in record.settings.tenants:
            record.strangers += 1
            return
        member = record.members.get(message.tenant)
        if member is None:
            member = record.members[message.tenant] = Member()
        if (message.incarnation, message.revision) < (member.incarnation, member.revision):
            return
        matters = not self._changes_nothing(member, message)
        self._heard(message.tenant)
        self._smooth(member, now_ms)
        if message.incarnation != member.incarnation and message.sequence < member.sequence:
            # Restored: it goes by no allocation at all until it gets a new one.
            member.allocated, member.outstanding = {}, {}
            self._allocate(message.tenant, {})
        member.incarnation, member.revision = message.incarnation, message.revision
        for resource, claim in message.claims.items():
            if resource in member.claims and claim.held > member.claims[resource].held:
                member.left_out_ms.pop(resource, None)  # it had its turn
        member.claims = dict(sorted(message.claims.items()))
        member.slots = message.slots
        member.told_at_ms, member.stopped = now_ms, False
        for resource, claim in member.claims.items():
            member.smoothed[resource] = max(member.smoothed.get(resource, 0), claim.wanted * MICRO)
        if message.sequence == member.sequence:
            member.acknowledged, member.outstanding = True, {}
            if message.tenant in record.unheard:
                record.unheard.remove(message.tenant)
        if self._active is not None and message.tenant not in self._active:
            self._active.add(message.tenant)
            self._in_order = None
        self._pressure.heard(message.tenant, now_ms)
        if self._pressure.is_to_hear(message.tenant):
            self._allocate(message.tenant, dict(member.allocated))
        record.revision += 1
        if matters:
            self._said += 1
            record.unsettled = True
        self.advance(now_ms)

    def follow(self, news: CapacityNews, now_ms: int) -> None:
        """Take in the limit of the downstream that the pool follows; old news changes nothing."""
        record = self.record
        if news.downstream != record.settings.follows:
            return
        known = record.followed
        if known is not None and news.revision <= known.revision:
            return
        same = known is not None and known.limit == news.limit
        record.followed = Followed(
            downstream=news.downstream,
            limit=news.limit,
            since_ms=known.since_ms if known is not None and same else now_ms,
            revision=news.revision,
        )
        record.revision += 1
        if not same:
            record.unsettled = True
            self._said += 1
        self.advance(now_ms)

    def advance(self, now_ms: int) -> None:
        """Let time do what it does: end what people have set, and divide when it is time."""
        override = self.record.override
        if override is not None and override.until_ms is not None and override.until_ms <= now_ms:
            self.record.audit.append(
                AuditEntry(
                    at_ms=now_ms,
                    actor="headgate",
                    reason=override.reason,
                    action="capacity_ended",
                    target=f"governor/{self.record.pool}",
                    before={"capacity": dict(self.whole())},
                    after={"capacity": dict(self.record.settings.capacity)},
                    request_id=f"{override.since_ms}",
                )
            )
            self.set_capacity(None)
        # Before the division: what is told here may make one due.
        self._look_at_pressure(now_ms)
        if self.record.unsettled and now_ms >= self._next_round_ms():
            self._divide(now_ms)
        guarantees = self.record.settings.strategy in _GUARANTEEING and self.enforces
        looked_at = self._looked_at if guarantees else list
        if self._watch.look(looked_at, self.capacity(), now_ms):
            self.record.revision += 1

    def set_capacity(self, override: CapacityOverride | None) -> None:
        """Have another capacity than the configured one, or that one again."""
        self.record.override = override
        self.record.revision += 1
        self._said += 1
        self.record.unsettled = True

    # What goes out ---------------------------------------------------------------------------

    def to_tell(self) -> list[str]:
        """Return the tenants whose ledgers have yet to be told their allocation, cuts first."""
        if not self._untold:
            return []
        members = self.record.members
        waiting = [tenant for tenant in members if tenant in self._untold]
        return sorted(waiting, key=lambda tenant: not _loses(members[tenant]))

    def allocation_of(self, tenant: str) -> Allocation:
        """Return what to tell the ledger of ``tenant``."""
        record = self.record
        member, capacity = record.members[tenant], self.capacity()
        allocated, others = self._sums(capacity)
        return Allocation(
            pool=record.pool,
            sequence=member.sequence,
            incarnation=member.incarnation,
            units={resource: member.allocated.get(resource, 0) for resource in capacity},
            enforced=self.enforces,
            why=self._why(others),
            capacity=capacity,
            allocated=allocated,
            whole=self.whole(),
            pressure=self.pressure(),
            may_wait=member.may_wait,
        )

    def told(self, tenant: str, sequence: int, runs: bool) -> None:
        """Note that the ledger of ``tenant`` has been told, or that it does not run.

        One that does not run holds nothing more than it was known to, and speaks up when it does.
        What it was known to hold goes on counting: its jobs may still be running.
        """
        record = self.record
        member = record.members.get(tenant)
        if member is None or member.sequence != sequence:
            return
        member.to_tell, member.stopped = False, not runs
        self._untold.discard(tenant)
        if not runs:
            member.allocated, member.outstanding, member.acknowledged = {}, {}, True
            member.smoothed, member.claims = (
                {},
                {
                    resource: claim.model_copy(update={"wanted": 0, "tiers": None})
                    for resource, claim in member.claims.items()
                },
            )
            member.may_wait, member.told_level = {}, PressureLevel.NORMAL
            self._pressure.look_at(tenant)
            if tenant in record.unheard:
                record.unheard.remove(tenant)
            self._said += 1
            self._heard(tenant)
            record.unsettled = True
        record.revision += 1

    # What can be asked -----------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """Return when ``advance`` next has something to do, or None."""
        found = self._next_round_ms() if self.record.unsettled else None
        override = self.record.override
        times = (
            None if override is None else override.until_ms,
            self._pressure.next_deadline(self.capacity()),
            self.desk.next_deadline(),
        )
        for at_ms in times:
            if at_ms is not None and (found is None or at_ms < found):
                found = at_ms
        return found

    @property
    def desk(self) -> Desk:
        """Where alerts go out from."""
        return self._watch.desk

    def asks_for_limit(self) -> str | None:
        """Return the downstream whose breaker has yet to be asked for its limit, or None."""
        return None if self.record.asked_for_limit else self.record.settings.follows

    def asked_for_limit(self, downstream: str) -> None:
        """Note that the breaker of ``downstream`` has been asked."""
        if downstream == self.record.settings.follows:
            self.record.asked_for_limit = True

    @property
    def enforces(self) -> bool:
        """Whether allocations limit anybody, and are not only shown."""
        settings = self.record.settings
        return settings.enforced and settings.strategy is not Strategy.UNLIMITED

    def capacity(self) -> dict[str, int]:
        """Return the capacity by resource: what there is, or the limit that the pool follows."""
        return self._capacities().followed

    def whole(self) -> dict[str, int]:
        """Return the capacity by resource with what people have set, followed limits aside."""
        return self._capacities().whole

    def _capacities(self) -> "_Has":
        record, known = self.record, self._has
        if (
            known is None
            or known.settings is not record.settings
            or known.override is not record.override
            or known.limit is not record.followed
        ):
            whole = has = self._whole()
            if record.followed is not None and record.followed.limit is not None:
                limit = record.followed.limit
                has = {name: min(units, limit) for name, units in whole.items()}
            known = _Has(record.settings, record.override, record.followed, whole, has)
            self._has = known
        return known

    def _whole(self) -> dict[str, int]:
        configured = dict(sorted(self.record.settings.capacity.items()))
        override = self.record.override
        if override is None:
            return configured
        if override.share is not None:
            millionths = round(override.share * 1_000_000)
            return {name: units * millionths // 1_000_000 for name, units in configured.items()}
        return {name: override.capacity.get(name, units) for name, units in configured.items()}

    def pressure(self) -> PressureView:
        """Return how full the pool is."""
        state = self.record.pressure
        now = (state.level, state.since_ms, state.cause, state.retry_after_ms)
        if self._pressed is None or self._pressed[0] != now:
            view = PressureView(
                level=state.level,
                since_ms=state.since_ms,
                cause=state.cause,
                retry_after_ms=state.retry_after_ms,
            )
            self._pressed = now, view
        return self._pressed[1]

    def ceiling(self, tenant: str, resource: str) -> int:
        """Return what the ledger of ``tenant`` may hold at most, as far as can be known."""
        return _ceiling(self.record.members[tenant], resource)

    def view(self) -> PoolView:
        """Return the pool as people see it."""
        record, capacity = self.record, self.capacity()
        return PoolView(
            pool=record.pool,
            settings=record.settings,
            capacity=capacity,
            override=record.override,
            follows=record.followed,
            pressure=self.pressure(),
            malformed=record.malformed,
            members={
                tenant: MemberView(
                    held={name: claim.held for name, claim in member.claims.items()},
                    wanted={name: claim.wanted for name, claim in member.claims.items()},
                    demand=self._demands_now(member),
                    target=dict(member.target),
                    allocated=dict(member.allocated),
                    ceiling={resource: self.ceiling(tenant, resource) for resource in capacity},
                    guaranteed={n: claim.share.guaranteed for n, claim in member.claims.items()},
                    weight=_weight(member),
                    group=record.settings.tenants[tenant],
                    stopped=member.stopped,
                    waiting=_waiting(member),
                    waiting_since_ms=_waiting_since(member),
                    may_wait=member.may_wait,
                )
                for tenant, member in sorted(record.members.items())
            },
            unheard=list(record.unheard),
            conditions=list(record.conditions),
            rounds=record.rounds,
            divided_at_ms=record.divided_at_ms,
            revision=record.revision,
            incarnation=record.incarnation,
            alerts=self.desk.view(),
        )

    # Deciding --------------------------------------------------------------------------------

    def _changes_nothing(self, member: Member, message: Demand) -> bool:
        """Return whether a round after this message would do just what one without it would.

        A pool in demand is full of messages, and most of them say how much more is wanted by one
        that has less than it wants already. Its part is not limited by its demand, nothing that it
        has is unused, and its next job is the same and does not fit in yet.
        """
        settings = self.record.settings
        if settings.history_half_life_ms is not None or len(settings.capacity) > 1:
            return False  # there what one wants concerns the others
        if (message.incarnation, message.sequence) != (member.incarnation, member.sequence):
            return False
        if message.tenant in self.record.unheard or member.claims.keys() != message.claims.keys():
            return False
        for resource, new in message.claims.items():
            old = member.claims[resource]
            allocated, part = member.allocated.get(resource, 0), member.target.get(resource, 0)
            if member.outstanding.get(resource, 0) > max(allocated, old.held):
                return False  # something comes back
            enough = max(allocated, part, old.share.guaranteed)
            if old.wanted <= enough or new.wanted <= enough:
                return False
            if new.held != old.held or new.next != old.next or new.share != old.share:
                return False
            if not new.next or new.held + new.next <= allocated:
                return False
        return True

    def _heard(self, tenant: str) -> None:
        """Note that a member has or wants something else."""
        self._stale.add(tenant)
        self._unclaimed.add(tenant)
        if self._given is not None:
            self._given.stale.add(tenant)

    def _ask(self, tenants: Mapping[str, object] | list[str]) -> None:
        """Tell ledgers what they have, so that they say what they hold and go by."""
        record = self.record
        for tenant in sorted(tenants):
            member = record.members.setdefault(tenant, Member())
            if tenant not in record.unheard:
                record.unheard.append(tenant)
            # For whichever incarnation of the ledger runs: the one that was known may be gone.
            member.incarnation, member.revision = 0, -1
            self._allocate(tenant, dict(member.allocated))

    def _looked_at(self) -> list[tuple[str, Member]]:
        """Return those who may hold or want something, or hold some back, by name."""
        if self._in_order is None:
            members = self.record.members
            names = members if self._active is None else self._active
            self._in_order = [(tenant, members[tenant]) for tenant in sorted(names)]
        return self._in_order

    def _forget_idle(self, looked_at: list[tuple[str, Member]], now_ms: int) -> None:
        """Leave those out of the next rounds who have nothing and want nothing."""
        settings = self.record.settings
        if settings.history_half_life_ms is not None or len(settings.capacity) > 1:
            return  # there everybody counts for the others
        if self._active is not None and self.record.rounds % _LOOK_FOR_IDLE_EVERY:
            return
        fixed = settings.strategy is Strategy.FIXED
        kept = []
        for one in looked_at:
            member = one[1]
            if _has_nothing(member, fixed):
                self._smooth(member, now_ms)
                if not any(member.smoothed.values()):
                    continue
            kept.append(one)
        if self._active is None or len(kept) < len(looked_at):
            self._active, self._in_order = {tenant for tenant, _ in kept}, kept

    def _next_round_ms(self) -> int:
        record = self.record
        next_ms = record.divided_at_ms + record.settings.damping.round_ms
        said, sequence, until_ms = self._quiet
        if (said, sequence) == (self._said, record.sequence):
            return max(next_ms, until_ms)
        return next_ms

    def _divide(self, now_ms: int) -> None:
        record = self.record
        record.rounds += 1
        record.divided_at_ms = now_ms
        record.unsettled = False
        record.revision += 1
        looked_at = self._looked_at()
        if record.settings.history_half_life_ms is not None:
            for _, member in looked_at:
                self._smooth(member, now_ms)
        capacity = self.capacity()
        record.conditions = self._retarget(capacity, now_ms)
        if not self.enforces:
            for tenant, member in looked_at:
                self._give(tenant, dict(member.target), now_ms)
            self._forget_idle(looked_at, now_ms)
            return
        new: dict[str, dict[str, int]] = {}
        young: set[str] = set()
        for resource, units in capacity.items():
            places, lately = self._places(resource, now_ms)
            young |= lately
            taken = step(
                units,
                places,
                record.settings.damping,
                partial(self._comforts, resource, units, places, now_ms),
            )
            keep_limits(taken, places.of, self._limited_groups())
            for tenant, allocated in taken.allocated.items():
                # What the unheard hold is not known, so until then only cuts are safe.
                if not record.unheard or allocated < places.of[tenant].allocated:
                    new.setdefault(tenant, {})[resource] = allocated
            record.unsettled |= not taken.settled
        self._stale = set()
        if record.unsettled and not new and young:
            # Only what was given lately could be taken, and that is left alone for a time.
            hold_ms = record.settings.damping.min_hold_ms
            until_ms = min(record.members[tenant].raised_at_ms for tenant in young) + hold_ms
            self._quiet = (self._said, record.sequence, until_ms)
        for tenant, changed in sorted(new.items()):
            member = record.members[tenant]
            self._give(tenant, member.allocated | changed, now_ms)
        self._forget_idle(looked_at, now_ms)

    def _give(self, tenant: str, allocated: dict[str, int], now_ms: int) -> None:
        member = self.record.members[tenant]
        if allocated == member.allocated or _something(allocated) == _something(member.allocated):
            # Nothing is nothing, said or not: else one whose ledger does not run would be told of
            # it in each round for good.
            return
        if any(units > member.allocated.get(name, 0) for name, units in allocated.items()):
            member.raised_at_ms = now_ms
        self._allocate(tenant, allocated)

    def _allocate(self, tenant: str, allocated: dict[str, int]) -> None:
        record = self.record
        member = record.members[tenant]
        for resource, units in member.allocated.items():
            # What was told before holds until the ledger confirms that it goes by the new one.
            member.outstanding[resource] = max(member.outstanding.get(resource, 0), units)
        member.allocated = dict(sorted(allocated.items()))
        record.sequence += 1
        member.sequence = record.sequence
        member.acknowledged, member.to_tell = False, True
        member.told_level = record.pressure.level
        self._stale.add(tenant)
        self._untold.add(tenant)
        if self._given is not None:
            self._given.stale.add(tenant)

    def _look_at_pressure(self, now_ms: int) -> None:
        """Bring the level up to date, and have ledgers told what concerns them."""
        if self._pressure.is_off:
            return
        record, capacity = self.record, self.capacity()
        told: set[str] = set()
        if self._pressure.assess(capacity, now_ms):
            record.revision += 1
            told.update(tenant for tenant in record.members if self._pressure.is_to_hear(tenant))
        told.update(self._pressure.plan(capacity, now_ms))
        for tenant in sorted(told):
            self._allocate(tenant, dict(record.members[tenant].allocated))

    def _smooth(self, member: Member, now_ms: int) -> None:
        """Let demand fall by half in each half-life towards what is wanted, and note the usage."""
        settings = self.record.settings
        elapsed_ms = now_ms - member.smoothed_at_ms
        half_life_ms = settings.damping.demand_half_life_ms
        for resource, micro_units in member.smoothed.items():
            claim = member.claims.get(resource)
            wanted, held = (0, 0) if claim is None else (claim.wanted, claim.held)
            if micro_units != wanted * MICRO:
                member.smoothed[resource] = decayed(micro_units, wanted, elapsed_ms, half_life_ms)
            if settings.history_half_life_ms is not None:
                used = member.usage.get(resource, 0)
                member.usage[resource] = decayed(
                    used, held, elapsed_ms, settings.history_half_life_ms
                )
        member.smoothed_at_ms = now_ms

    def _demands_now(self, member: Member) -> dict[str, int]:
        """Return what is or was lately wanted of each resource, as of the last round."""
        half_life_ms = self.record.settings.damping.demand_half_life_ms
        elapsed_ms = self.record.divided_at_ms - member.smoothed_at_ms
        return {
            name: -(-decayed(units, _wanted(member, name), elapsed_ms, half_life_ms) // MICRO)
            for name, units in member.smoothed.items()
        }

    def _retarget(self, capacity: Mapping[str, int], now_ms: int) -> list[Condition]:
        """Note who should have what, and return what to know about it."""
        record = self.record
        if len(capacity) != 1:
            return self._retarget_dominant(capacity)
        now = (self._said, record.sequence)
        if self._targeted == now and record.settings.history_half_life_ms is None:
            return record.conditions
        self._targeted = now
        ((resource, units),) = capacity.items()
        left_out = self._left_out
        division, turns = self._shares(resource, units, now_ms)
        parts = dict(division.allocations)
        self._use_fragments(resource, parts, turns)
        before = self._parted.get(resource, {})
        if parts != before:
            for tenant, part in parts.items() - before.items():
                target, member = {resource: part}, record.members[tenant]
                if target != member.target:
                    member.target = target
                    self._stale.add(tenant)
            self._parted[resource] = parts
        self._stale |= left_out | self._left_out  # it matters also to be so no longer
        return [Condition(type=c.type, message=c.message) for c in division.conditions]

    def _retarget_dominant(self, capacity: Mapping[str, int]) -> list[Condition]:
        members = self._looked_at()
        claims = [
            DominantClaim(
                tenant=tenant,
                demand={name: _wanted(m, name) for name in capacity},
                weight=_weight(m),
            )
            for tenant, m in members
        ]
        targets = divide_dominant(capacity, claims).allocations if capacity else {}
        for tenant, member in members:
            target = targets.get(tenant, {})
            if target != member.target or member.left_out_ms:
                member.target = target
                self._stale.add(tenant)
        return []

    def _shares(self, resource: str, units: int, now_ms: int) -> tuple[Division, dict[str, int]]:
        """Return the division with turns, and these; as before if nothing that matters is new."""
        settings = self.record.settings
        known = self._known.get(resource)
        if (
            known is not None
            and known[0] is settings
            and known[1:3] == (self._said, units)
            and settings.history_half_life_ms is None
        ):
            return known[3], known[4]
        strategy = settings.strategy
        division = self._division(resource, units, strategy)
        turns = self._turns(resource, units, division, now_ms)
        if turns:
            left = max(0, units - sum(turns.values()))
            others = self._division(resource, left, strategy, division, turns)
            division = replace(
                division,
                allocations=others.allocations | turns,
                unallocated=others.unallocated,
                held_back=others.held_back,
            )
        self._known[resource] = settings, self._said, units, division, turns
        return division, turns

    def _turns(self, resource: str, units: int, division: Division, now_ms: int) -> dict[str, int]:
        """Return what goes to tenants whose share is too small for a single job of theirs.

        A job needs all of its units at once, so shares that are too small for it would leave the
        pool idle for good. They take turns: who was left out longest has what its next job needs,
        and the others divide the rest.
        """
        left_out: list[tuple[int, str, int]] = []
        parts = division.allocations
        above = _Above(self, resource, parts)
        for tenant, (member, held, needed) in self._claims(resource).waiting.items():
            if (
                not needed
                or parts[tenant] >= needed
                or held + needed > self._most(tenant, member, resource)
                or held + needed > units - above.of(tenant, member)
            ):
                if member.left_out_ms:
                    member.left_out_ms.pop(resource, None)
                continue
            since_ms = member.left_out_ms.setdefault(resource, now_ms)
            left_out.append((since_ms, tenant, held + needed))
        self._left_out = {tenant for _, tenant, _ in left_out}
        turns: dict[str, int] = {}
        groups: dict[str, int] = {}
        if not left_out:
            return turns
        # Guarantees come first: no turn takes what is owed to another.
        owed = self._owed(resource, division)
        left = max(0, units - sum(owed.values()))
        for _, tenant, needed in sorted(left_out):
            more = needed - owed.get(tenant, 0)
            if more > left or needed > units - sum(turns.values()):
                break  # nobody passes it, or it would never have its turn
            inside = self._groups_of(tenant)
            if any(
                limit is not None and groups.get(name, 0) + needed > limit for name, limit in inside
            ):
                continue  # others of its group are before it
            for name, _ in inside:
                groups[name] = groups.get(name, 0) + needed
            left -= max(0, more)
            turns[tenant] = needed
        return turns

    def _owed(self, resource: str, division: Division) -> dict[str, int]:
        """Return what of its guarantee each wants, where the strategy looks at guarantees."""
        if self.record.settings.strategy not in _GUARANTEEING:
            return {}
        scaled = division.scaled
        return {
            tenant: min(claim.demand, scaled.get(tenant, claim.guaranteed))
            for tenant, claim in self._claims(resource).claims.items()
            if claim.guaranteed
        }

    def _use_fragments(
        self, resource: str, parts: dict[str, int], turns: Mapping[str, int]
    ) -> None:
        """Change ``parts`` so that they are of use: a job needs all of its units at once.

        What a tenant's part has beyond what it holds is of no use to it while its next job does not
        fit in there. Put together, such fragments let some of these jobs begin: who was given
        nothing for longest comes first.
        """
        settings = self.record.settings
        by_tier = settings.strategy is Strategy.PRIORITY
        left = 0
        stuck: list[tuple[bool, int, int, str, int]] = []
        for tenant, (member, held, more) in self._claims(resource).waiting.items():
            part, needed = parts[tenant], held + more
            if needed <= part or not more or tenant in turns:
                continue
            if held < part:
                left += part - held
                parts[tenant] = held
            tier = -_share(member, resource).priority if by_tier else 0
            stuck.append((held > part, tier, member.raised_at_ms, tenant, needed))
        if not left:
            return
        limited = self._limited_groups()
        for _, _, _, tenant, needed in sorted(stuck):
            if not left:
                break
            more = needed - parts[tenant]
            if more > left or needed > self._most(tenant, self.record.members[tenant], resource):
                continue
            if any(
                tenant in inside and sum(parts.get(one, 0) for one in inside) + more > limit
                for limit, inside in limited
            ):
                continue
            left -= more
            parts[tenant] = needed

    def _priorities(self, tenant: str, member: Member, resource: str) -> list[tuple[str, int]]:
        """Return names and priorities from the top group down to the tenant."""
        settings = self.record.settings
        path = [(f"tenant {tenant}", _share(member, resource).priority)]
        for name, _ in self._groups_of(tenant):
            path.append((name, settings.groups[name].priority))
        path.reverse()
        return path

    def _groups_of(self, tenant: str) -> list[tuple[str, int | None]]:
        """Return the groups that a tenant is in, and what each may have at most, if limited."""
        settings = self.record.settings
        found: list[tuple[str, int | None]] = []
        name = settings.tenants[tenant]
        while name is not None and name in settings.groups and len(found) < len(settings.groups):
            group = settings.groups[name]
            limits = [] if group.maximum is None else [group.maximum]
            if settings.strategy in _GUARANTEEING and group.borrow_limit is not None:
                limits.append(group.guaranteed + group.borrow_limit)
            found.append((name, min(limits, default=None)))
            name = group.parent
        return found

    @staticmethod
    def _turn(member: Member, resource: str) -> int:
        """Return what a tenant whose turn it is has a right to at once, see ``_turns``."""
        if resource not in member.left_out_ms:
            return 0
        claim = member.claims[resource]
        needed = claim.held + claim.next
        return needed if member.target.get(resource, 0) >= needed else 0

    def _most(self, tenant: str, member: Member, resource: str) -> int:
        """Return what the tenant may have at most, by its own limits and those of its groups."""
        share, strategy = _share(member, resource), self.record.settings.strategy
        limits = [limit for _, limit in self._groups_of(tenant) if limit is not None]
        if share.maximum is not None:
            limits.append(share.maximum)
        if strategy in _GUARANTEEING and share.borrow_limit is not None:
            limits.append(share.guaranteed + share.borrow_limit)
        if strategy is Strategy.FIXED:
            limits.append(share.maximum or 0)
        if share.weight == 0 and strategy not in _BY_PARTS:
            limits.append(share.guaranteed if strategy in _GUARANTEEING else 0)
        return min(limits, default=self.capacity().get(resource, 0))

    def _division(
        self,
        resource: str,
        units: int,
        strategy: Strategy,
        whole: Division | None = None,
        without: Mapping[str, int] | None = None,
    ) -> Division:
        """Divide between those looked at, but for those ``without`` whom: these have a part.

        Then ``units`` are a part of the pool: guarantees count as in the division of the ``whole``.
        """
        without = without or {}
        settings = self.record.settings
        known = self._claims(resource)
        claims, rights = list(known.claims.values()), (known.version, *without)
        are_scaled = whole is not None and bool(whole.scaled or whole.scaled_groups)
        if without:
            claims = [claim for claim in claims if claim.tenant not in without]
        groups = self._groups()
        if whole is not None and are_scaled:
            scaled, of_groups = whole.scaled, whole.scaled_groups
            claims = [
                replace(one, guaranteed=scaled[one.tenant]) if one.tenant in scaled else one
                for one in claims
            ]
            groups = [
                replace(one, guaranteed=min(one.guaranteed, of_groups[one.name]))
                if one.name in of_groups
                else one
                for one in groups
            ]
        if settings.history_half_life_ms is not None:
            micro_weights = {one.tenant: round(one.weight * MICRO) for one in claims}
            usage = {t: self.record.members[t].usage.get(resource, 0) for t in micro_weights}
            adjusted = adjusted_weights(micro_weights, usage, units)
            claims = [replace(one, weight=adjusted[one.tenant] / MICRO) for one in claims]
        division = self._divisions.setdefault((resource, bool(without)), RepeatedDivision())
        if without and groups:
            groups = self._groups_less(groups, without)
        is_plain = settings.history_half_life_ms is None and not are_scaled
        return division.divide(
            units,
            strategy,
            claims,
            groups,
            scale=whole is None,
            rights=rights if is_plain else None,
        )

    def _claims(self, resource: str) -> "_Claimed":
        """Return what those looked at claim of a resource."""
        members, settings = self._looked_at(), self.record.settings
        known = self._claimed.get(resource)
        if known is None or known.members is not members or known.settings is not settings:
            version = 0 if known is None else known.version + 1
            known = self._claimed[resource] = _Claimed(members, settings, version)
            again = [tenant for tenant, _ in members]
        elif self._unclaimed:
            again = [tenant for tenant in self._unclaimed if tenant in known.claims]
        else:
            return known
        for tenant in again:
            known.renew(tenant, self.record.members[tenant], resource)
        self._unclaimed.clear()
        return known

    def _groups(self) -> list[Group]:
        """Return the groups of the settings."""
        settings = self.record.settings
        if self._shared is None or self._shared[0] is not settings:
            groups = [
                Group(
                    name=name,
                    parent=group.parent,
                    weight=group.weight,
                    guaranteed=group.guaranteed,
                    borrow_limit=group.borrow_limit,
                    lend_limit=group.lend_limit,
                    maximum=group.maximum,
                    priority=group.priority,
                )
                for name, group in sorted(settings.groups.items())
            ]
            self._shared = settings, groups
        return self._shared[1]

    def _groups_less(self, groups: list[Group], turns: Mapping[str, int]) -> list[Group]:
        """Return the groups without what some of their tenants have already."""
        taken: dict[str, int] = {}
        for tenant, units in turns.items():
            for name, _ in self._groups_of(tenant):
                taken[name] = taken.get(name, 0) + units
        return [_less(group, taken.get(group.name, 0)) for group in groups]

    def _places(self, resource: str, now_ms: int) -> tuple[Places, set[str]]:
        """Return where everybody stands, and who was given something lately."""
        members = self._looked_at()
        hold_ms = self.record.settings.damping.min_hold_ms
        known, again = self._placed.get(resource), members
        if known is None or known[0] is not members:
            known = self._placed[resource] = members, Places(), set()
        else:
            again = [(t, self.record.members[t]) for t in self._stale if t in known[1].of]
        _, places, young = known
        for tenant in [t for t in young if now_ms - places.of[t].raised_at_ms >= hold_ms]:
            young.discard(tenant)
            places.of[tenant] = places.of[tenant]._replace(may_cut=True)
        for tenant, member in again:
            target, allocated = member.target.get(resource, 0), member.allocated.get(resource, 0)
            ceiling = max(allocated, member.outstanding.get(resource, 0))
            wanted = owed = first = held = 0
            claim = member.claims.get(resource)
            if claim is not None:
                wanted, held = claim.wanted, claim.held
                ceiling = max(ceiling, held)
                owed = min(wanted, claim.share.guaranteed)
                if claim.next:
                    first = held + claim.next
                    if target < first:
                        wanted = max(held, target)  # more is of no use to it now
                    if member.left_out_ms:
                        owed = max(owed, self._turn(member, resource))
            raised_at_ms = member.raised_at_ms
            may_cut = now_ms - raised_at_ms >= hold_ms
            if not may_cut:
                young.add(tenant)
            place = Place(
                wanted, target, allocated, ceiling, owed, may_cut, first, raised_at_ms, held
            )
            places.put(tenant, place)
        return places, young

    def _comforts(self, resource: str, units: int, places: Places, now_ms: int) -> dict[str, int]:
        """Return what each may have beyond its target, when everybody has what it is to have."""
        found: dict[str, int] = {}
        if places.ceilings + sum(places.lacking.values()) >= units:
            return found
        for tenant, member in self._looked_at():
            place = places.of[tenant]
            if place.first > place.ceiling or self._is_limited(tenant):
                continue  # it waits for what its next job needs; or its group has a say in it
            self._smooth(member, now_ms)
            demand, share = _demand(member, resource), _share(member, resource)
            found[tenant] = self._comfort(share, demand, place.target, units)
        return found

    def _limited_groups(self) -> list[tuple[int, list[str]]]:
        """Return the limit of each group that has one, with the tenants in it."""
        members: dict[str, list[str]] = {}
        limits: dict[str, int] = {}
        if self.record.settings.groups:
            for tenant, _ in self._looked_at():
                for name, limit in self._groups_of(tenant):
                    if limit is not None:
                        members.setdefault(name, []).append(tenant)
                        limits[name] = limit
        return [(limits[name], tenants) for name, tenants in sorted(members.items())]

    def _is_limited(self, tenant: str) -> bool:
        return any(limit is not None for _, limit in self._groups_of(tenant))

    def _comfort(self, share: Share, demand: int, target: int, units: int) -> int:
        """Return what a tenant may have beyond its target, so that it need not ask first."""
        settings = self.record.settings
        limit = share.maximum if share.maximum is not None else units
        match settings.strategy:
            case Strategy.FIXED:
                return max(0, (share.maximum or 0) - target)
            case Strategy.RESERVED | Strategy.PRIORITY:
                standing = share.guaranteed
                if settings.strategy is Strategy.RESERVED and share.borrow_limit is not None:
                    limit = min(limit, share.guaranteed + share.borrow_limit)
            case _:
                standing = 0
        if share.weight == 0:
            limit = min(limit, standing)
        extra = -(-demand * round(settings.damping.headroom * 1_000_000) // 1_000_000)
        return max(0, min(limit, max(standing, demand + extra)) - target)

    def _sums(self, capacity: Mapping[str, int]) -> tuple[dict[str, int], int]:
        """Return what all have been given, by resource, and how many of them want more."""
        # For people: as of the last round is near enough.
        now = (self.record.rounds, len(self.record.members), self.record.incarnation)
        if self._summed is None or self._summed[0] != now:
            given = self._given
            if given is None:
                given = self._given = _Given()
                given.stale.update(self.record.members)
            given.renew(self.record.members)
            allocated = {resource: given.units.get(resource, 0) for resource in capacity}
            self._summed = now, allocated, given.wanting
        return self._summed[1], self._summed[2]

    def _why(self, others: int) -> str:
        """Return in a sentence what the allocation was made by, when ``others`` want more."""
        record = self.record
        if record.unheard:
            return f"waiting for {len(record.unheard)} ledgers to say what they hold"
        text = f"{record.settings.strategy}, {len(record.members)} tenants"
        if others:
            text += f", {others} of them want more than they have"
        if record.conditions:
            text += f"; {record.conditions[0].message}"
        return text


class _Has(NamedTuple):
    """The capacity by resource, and what it was reckoned from."""

    settings: PoolSettings
    override: CapacityOverride | None
    limit: Followed | None
    whole: dict[str, int]
    followed: dict[str, int]


class _Claimed:
    """What members claim of one resource, kept from round to round.

    Attributes:
        members: Whose claims these are.
        settings: By which.
        claims: By tenant, in the order of the members.
        waiting: Those for whom a job waits, or was lately left out: the member, what it holds, and
            what the next job needs.
        version: Rises when anything but a demand has changed.
    """

    __slots__ = ("_by", "claims", "members", "settings", "version", "waiting")

    def __init__(self, members: object, settings: PoolSettings, version: int) -> None:
        self.members = members
        self.settings = settings
        self.version = version
        self.claims: dict[str, Claim] = {}
        self._by: dict[str, tuple[int, Share]] = {}
        self.waiting: dict[str, tuple[Member, int, int]] = {}

    def renew(self, tenant: str, member: Member, resource: str) -> None:
        """Take in what a member has and wants now."""
        said, share = member.claims.get(resource), _NO_SHARE
        held = wanted = needed = 0
        if said is not None:
            held, wanted, needed, share = said.held, said.wanted, said.next, said.share
        if needed or member.left_out_ms:
            self.waiting[tenant] = member, held, needed
        else:
            self.waiting.pop(tenant, None)
        known = self._by.get(tenant)
        if known is None or (known[1] is not share and known[1] != share):
            self.version += 1
        elif known[0] == wanted:
            return
        self._by[tenant] = wanted, share
        self.claims[tenant] = Claim(
            tenant=tenant,
            demand=wanted,
            weight=share.weight,
            priority=share.priority,
            guaranteed=share.guaranteed,
            borrow_limit=share.borrow_limit,
            lend_limit=share.lend_limit,
            maximum=share.maximum,
            fixed=share.maximum,
            group=self.settings.tenants[tenant],
        )


class _Above:
    """What goes to higher tiers: by tiers, what they leave is all there is.

    It is the same for all of one group and priority, and asked for many of them.
    """

    def __init__(self, governor: Governor, resource: str, parts: Mapping[str, int]) -> None:
        self._governor = governor
        self._resource = resource
        self._parts = parts
        self._by_tiers = governor.record.settings.strategy is Strategy.PRIORITY
        self._known: dict[tuple[str | None, int], int] = {}
        self._paths: list[tuple[int, list[tuple[str, int]]]] | None = None

    def of(self, tenant: str, member: Member) -> int:
        """Return what goes to those who come before a tenant."""
        if not self._by_tiers:
            return 0
        governor, resource = self._governor, self._resource
        place = governor.record.settings.tenants[tenant], _share(member, resource).priority
        found = self._known.get(place)
        if found is not None:
            return found
        members = governor.record.members
        if not governor.record.settings.groups:
            claims = governor._claims(resource).claims
            found = sum(p for name, p in self._parts.items() if claims[name].priority > place[1])
        else:
            if self._paths is None:
                self._paths = [
                    (part, governor._priorities(name, members[name], resource))
                    for name, part in self._parts.items()
                    if part
                ]
            path = governor._priorities(tenant, member, resource)
            found = sum(part for part, other in self._paths if _is_lower(path, other))
        self._known[place] = found
        return found


class _Given:
    """What all members have been given, summed up as it changes.

    Attributes:
        stale: Whose part in it is to be reckoned again.
        units: By resource.
        wanting: How many of them want more than they have.
    """

    __slots__ = ("_parts", "stale", "units", "wanting")

    def __init__(self) -> None:
        self.stale: set[str] = set()
        self.units: dict[str, int] = {}
        self.wanting = 0
        self._parts: dict[str, tuple[dict[str, int], bool]] = {}

    def renew(self, members: Mapping[str, Member]) -> None:
        """Bring the sums up to date."""
        for tenant in self.stale:
            member = members[tenant]
            wants = False
            for resource, units in member.allocated.items():
                self.units[resource] = self.units.get(resource, 0) + units
                claim = member.claims.get(resource)
                wants = wants or (claim is not None and claim.wanted > units)
            before, wanted = self._parts.get(tenant, ({}, False))
            for resource, units in before.items():
                self.units[resource] -= units
            self.wanting += wants - wanted
            self._parts[tenant] = member.allocated, wants
        self.stale.clear()


def _something(units: Mapping[str, int]) -> dict[str, int]:
    """Return what there is more than nothing of."""
    return {resource: amount for resource, amount in units.items() if amount}


def _waiting(member: Member) -> dict[str, int]:
    """Return how many jobs wait, by resource."""
    waiting = {
        name: sum(tier.jobs for tier in claim.tiers or ()) + claim.at_gates
        for name, claim in member.claims.items()
    }
    return {name: jobs for name, jobs in waiting.items() if jobs}


def _waiting_since(member: Member) -> int | None:
    """Return since when the first of them has waited."""
    since = [tier.since_ms for claim in member.claims.values() for tier in claim.tiers or ()]
    return min(since, default=None)


def _has_nothing(member: Member, fixed: bool) -> bool:
    """Whether a member has nothing, wants nothing, and has no right that would count."""
    for claim in member.claims.values():
        if claim.wanted or claim.held or claim.share.guaranteed or (fixed and claim.share.maximum):
            return False
    return not (
        member.left_out_ms or any(member.allocated.values()) or any(member.outstanding.values())
    )


def _is_lower(path: list[tuple[str, int]], other: list[tuple[str, int]]) -> bool:
    """Whether, where two paths from the top down part, the first has the lower priority."""
    for (name, priority), (other_name, other_priority) in zip(path, other, strict=False):
        if name != other_name:
            return priority < other_priority
    return False


def _less(group: Group, units: int) -> Group:
    """Return a group of which so many units are given away already."""
    if not units:
        return group
    guaranteed = max(0, group.guaranteed - units)
    maximum, borrow_limit = group.maximum, group.borrow_limit
    if maximum is not None:
        maximum = max(0, maximum - units)
    if borrow_limit is not None:
        borrow_limit = max(0, group.guaranteed + borrow_limit - units - guaranteed)
    return replace(group, guaranteed=guaranteed, maximum=maximum, borrow_limit=borrow_limit)


def _loses(member: Member) -> bool:
    return any(units > member.allocated.get(n, 0) for n, units in member.outstanding.items())


def _ceiling(member: Member, resource: str) -> int:
    claim = member.claims.get(resource)
    held = 0 if claim is None else claim.held
    return max(member.allocated.get(resource, 0), member.outstanding.get(resource, 0), held)


def _wanted(member: Member, resource: str) -> int:
    claim = member.claims.get(resource)
    return 0 if claim is None else claim.wanted


def _demand(member: Member, resource: str) -> int:
    """Return what is or was lately wanted, in units."""
    return -(-member.smoothed.get(resource, 0) // MICRO)


def _share(member: Member, resource: str) -> Share:
    claim = member.claims.get(resource)
    return claim.share if claim is not None else _NO_SHARE


def _weight(member: Member) -> float:
    return max((claim.share.weight for claim in member.claims.values()), default=1.0)
