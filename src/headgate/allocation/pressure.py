"""How full a pool is, by what its ledgers say; and what may wait when it is too full."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import ceil, inf
from typing import Final

from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.limits import (
    Kept,
    Line,
    Load,
    RecentUsage,
    Standing,
    assess,
    keep,
    next_fall,
    room_for,
)
from headgate.model.limits import PressureLevel, PressureView, SheddingPolicy, Steps
from headgate.model.pool import MayWait, TierRoom

PLAN_EVERY_MS: Final = 1_000
"""While too much waits, what may wait is reckoned anew no more often."""

PLAN_FOR_MS: Final = 5_000
"""So long it holds what may wait: who was refused all of it does not stay so."""

_LEVELS: Final = tuple(PressureLevel)


@dataclass(slots=True)
class _Part:
    """What one tenant adds to the load."""

    jobs: int = 0
    units: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    since_ms: int | None = None
    slots_used: int = 0
    slots: int = 0


class PoolPressure:
    """The load of a pool, summed up over its members as they speak; holds no truth of its own."""

    def __init__(self, record: GovernorRecord) -> None:
        self._record = record
        self._parts: dict[str, _Part] = {}
        self._jobs = 0
        self._units: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._slots_used = self._slots = 0
        self._oldest: list[tuple[int, str]] = []
        # Something has been said since it was last reckoned what may wait.
        self._is_news = True
        self._seen: tuple[tuple[object, ...], PressureView] | None = None
        policy = record.settings.backpressure
        self._lowest = (
            _lowest(policy.queue_age_ms),
            _lowest(policy.waiting),
            _lowest(policy.in_flight),
            _lowest(policy.slots),
        )
        # Nothing that is measured stands for any level: as in a simulation, where nobody heeds it.
        self._is_off = self._lowest == (inf,) * 4
        self._refused = {tenant for tenant, member in record.members.items() if member.may_wait}
        for tenant, member in record.members.items():
            self._add(tenant, _part_of(member))

    @property
    def is_off(self) -> bool:
        """Whether there is nothing to bring up to date: no level is known but normal."""
        return (
            self._is_off
            and not self._refused
            and self._record.pressure.level is PressureLevel.NORMAL
        )

    def look_at(self, tenant: str) -> None:
        """Take in that the claims of a member are others."""
        if self._is_off and self._record.pressure.level is PressureLevel.NORMAL:
            return  # nobody will ask
        self._remove(tenant)
        self._add(tenant, _part_of(self._record.members[tenant]))
        self._is_news = True

    def heard(self, tenant: str, now_ms: int) -> None:
        """Take in what a member has said."""
        self.look_at(tenant)
        member, shedding = self._record.members[tenant], self._record.settings.shedding
        if shedding is None:
            member.recent.clear()
            return
        for resource, claim in member.claims.items():
            usage = member.recent.setdefault(resource, RecentUsage())
            usage.note(claim.held, now_ms, shedding.usage_half_life_ms)

    def assess(self, capacity: Mapping[str, int], now_ms: int) -> bool:
        """Bring the level up to date; return whether it has changed."""
        record = self._record
        state = record.pressure
        if self._is_off and state.level is PressureLevel.NORMAL:
            return False
        load = self._load(capacity, now_ms)
        if state.level is PressureLevel.NORMAL and self._is_calm(load):
            return False  # as nearly always, so it is worth knowing at once
        return assess(state, record.settings.backpressure, load, now_ms)

    def plan(self, capacity: Mapping[str, int], now_ms: int) -> list[str]:
        """Bring up to date what may wait; return the members of whom it has changed."""
        record = self._record
        policy, level = record.settings.shedding, record.pressure.level
        if policy is None or level is PressureLevel.NORMAL:
            return self._take({}) if self._refused else []
        if now_ms < self._plan_at_ms(capacity, policy):
            return []
        record.planned_ms, self._is_news = now_ms, False
        wanted: dict[str, dict[str, MayWait]] = {}
        for resource, units in capacity.items():
            lines, standings = self._waiting(resource, policy, now_ms)
            kept = keep(policy, level, units, lines, standings)
            for tenant, may_wait in _by_tenant(kept, policy, standings):
                wanted.setdefault(tenant, {})[resource] = may_wait
        return self._take(wanted)

    def is_to_hear(self, tenant: str) -> bool:
        """Return whether a member is to be told of the level: it matters to it, or did."""
        member = self._record.members[tenant]
        if member.told_level is self._record.pressure.level or member.stopped:
            return False
        return member.told_level is not PressureLevel.NORMAL or tenant in self._parts

    def view(self) -> PressureView:
        """Return how full the pool is, as people and ledgers see it."""
        state = self._record.pressure
        now = (state.level, state.since_ms, state.cause, state.retry_after_ms)
        if self._seen is None or self._seen[0] != now:
            view = PressureView(
                level=state.level,
                since_ms=state.since_ms,
                cause=state.cause,
                retry_after_ms=state.retry_after_ms,
            )
            self._seen = now, view
        return self._seen[1]

    def next_deadline(self, capacity: Mapping[str, int]) -> int | None:
        """Return when the level, or what may wait, changes or may change by itself, or None."""
        record = self._record
        settings, state = record.settings, record.pressure
        if self._is_off and state.level is PressureLevel.NORMAL:
            return None
        found = _NEVER
        since_ms = self._oldest_since()
        if since_ms is not None:
            for level in _LEVELS[state.level.rank + 1 :]:
                age_ms = getattr(settings.backpressure.queue_age_ms, level.value)
                if age_ms is not None:
                    found = since_ms + ceil(age_ms)
                    break
        if state.level is not PressureLevel.NORMAL:
            fall_ms = next_fall(state, settings.backpressure)
            if fall_ms is not None:
                found = min(found, fall_ms)
            if settings.shedding is not None:
                found = min(found, self._plan_at_ms(capacity, settings.shedding))
        return None if found == _NEVER else found

    def _plan_at_ms(self, capacity: Mapping[str, int], policy: SheddingPolicy) -> int:
        record = self._record
        found = record.planned_ms + PLAN_FOR_MS if self._refused else _NEVER
        if self._is_news and any(
            self._units.get(resource, 0) > (room_for(policy, record.pressure.level, units) or 0)
            for resource, units in capacity.items()
        ):
            found = min(found, record.planned_ms + PLAN_EVERY_MS)
        return found

    def _take(self, wanted: Mapping[str, dict[str, MayWait]]) -> list[str]:
        """Note what may wait; return the members for whom something else holds now."""
        changed = []
        for tenant in sorted(self._refused | wanted.keys()):
            member = self._record.members[tenant]
            before, member.may_wait = member.may_wait, wanted.get(tenant, {})
            if _rules(before) != _rules(member.may_wait):
                changed.append(tenant)
        self._refused = set(wanted)
        return changed

    def _waiting(
        self, resource: str, policy: SheddingPolicy, now_ms: int
    ) -> tuple[list[Line], dict[str, Standing]]:
        members = self._record.members
        lines: list[Line] = []
        standings: dict[str, Standing] = {}
        for tenant in sorted(self._parts):
            if not self._parts[tenant].units.get(resource):
                continue
            member = members[tenant]
            claim, usage = member.claims[resource], member.recent.get(resource, RecentUsage())
            standings[tenant] = Standing(
                guaranteed=claim.share.guaranteed,
                held=claim.held,
                usage=usage.at(now_ms, policy.usage_half_life_ms),
            )
            lines += [
                Line(tenant, tier.priority, tier.units, tier.jobs, tier.since_ms)
                for tier in claim.tiers or ()
                if tier.units
            ]
        return lines, standings

    def _load(self, capacity: Mapping[str, int], now_ms: int) -> Load:
        since_ms = self._oldest_since()
        held, limit = 0, None
        free = min((units - self._held.get(name, 0) for name, units in capacity.items()), default=0)
        for resource, units in capacity.items():
            here = self._held.get(resource, 0)
            # Of several resources the fullest counts: here / units > held / limit.
            if limit is None or here * limit > held * units:
                held, limit = here, units
        return Load(
            queue_age_ms=0 if since_ms is None else max(0, now_ms - since_ms),
            # Those who have just come to a pool that has room for them only wait to be told.
            waiting=max(0, self._jobs - max(0, free)),
            in_flight=held,
            limit=limit,
            slots_used=self._slots_used,
            slots=self._slots,
        )

    def _is_calm(self, load: Load) -> bool:
        """Return whether a load stands for no level above normal."""
        age_ms, waiting, in_flight, slots = self._lowest
        if load.queue_age_ms >= age_ms or load.waiting >= waiting:
            return False
        if load.slots and load.slots_used >= slots * load.slots:
            return False
        if load.limit:
            return load.in_flight < in_flight * load.limit
        return not load.in_flight

    def _oldest_since(self) -> int | None:
        """Return since when the first of all has waited, or None when nobody waits."""
        while self._oldest:
            since_ms, tenant = self._oldest[0]
            part = self._parts.get(tenant)
            if part is not None and part.since_ms == since_ms:
                return since_ms
            heappop(self._oldest)
        return None

    def _add(self, tenant: str, part: _Part | None) -> None:
        if part is None:
            return
        self._parts[tenant] = part
        self._jobs += part.jobs
        self._slots_used += part.slots_used
        self._slots += part.slots
        for sums, amounts in ((self._units, part.units), (self._held, part.held)):
            for resource, units in amounts.items():
                sums[resource] = sums.get(resource, 0) + units
        if part.since_ms is not None:
            heappush(self._oldest, (part.since_ms, tenant))
            if len(self._oldest) > 2 * len(self._parts) + 100:
                # Of those that have moved on, little more is kept than of those that are there.
                self._oldest = [
                    (one.since_ms, name)
                    for name, one in self._parts.items()
                    if one.since_ms is not None
                ]
                heapify(self._oldest)

    def _remove(self, tenant: str) -> None:
        part = self._parts.pop(tenant, None)
        if part is None:
            return
        self._jobs -= part.jobs
        self._slots_used -= part.slots_used
        self._slots -= part.slots
        for sums, amounts in ((self._units, part.units), (self._held, part.held)):
            for resource, units in amounts.items():
                sums[resource] -= units


_NEVER: Final = 1 << 62


def _lowest(steps: Steps) -> float:
    """Return from where on a measure stands for any level above normal."""
    named = (steps.elevated, steps.saturated, steps.emergency)
    return min((step for step in named if step is not None), default=inf)


def _part_of(member: Member) -> _Part | None:
    """Return what a member adds to the load; None: nothing, or nothing that the ledger says."""
    part = _Part()
    if member.slots is not None:
        part.slots_used, part.slots = member.slots.used, member.slots.of
    for resource, claim in member.claims.items():
        if claim.tiers is None:
            continue
        part.held[resource] = claim.held
        part.units[resource] = sum(tier.units for tier in claim.tiers)
        # Who needs several resources stands in the line of each, and is one job.
        part.jobs = max(part.jobs, sum(tier.jobs for tier in claim.tiers) + claim.at_gates)
        for tier in claim.tiers:
            if part.since_ms is None or tier.since_ms < part.since_ms:
                part.since_ms = tier.since_ms
    return part if part.jobs or part.slots or any(part.held.values()) else None


def _by_tenant(
    kept: Kept | None, policy: SheddingPolicy, standings: Mapping[str, Standing]
) -> list[tuple[str, MayWait]]:
    """Return what may wait of those whose lines are closed."""
    if kept is None:
        return []
    tiers: dict[str, list[TierRoom]] = {}
    for tenant, priority in kept.closed:
        units = kept.units[tenant, priority]
        tiers.setdefault(tenant, []).append(TierRoom(priority=priority, units=units))
    return [
        (
            tenant,
            MayWait(
                below=kept.below,
                tiers=rooms,
                flow=policy.min_flow > 0,
                asked=kept.asked,
                room=kept.room,
                used=standings[tenant].usage,
            ),
        )
        for tenant, rooms in sorted(tiers.items())
    ]


def _rules(may_wait: Mapping[str, MayWait]) -> dict[str, tuple[object, ...]]:
    """Return what binds a ledger, without the numbers for people."""
    return {name: (one.below, one.tiers, one.flow) for name, one in may_wait.items()}
