"""How breakers, tenants and pools stand, with the age of what is shown.

All is reckoned from what their workflows last saved, so it is as old as ``saved_at_ms``: a workflow
saves when something changes, at once or within seconds, so an old one usually is one that rests.
Counts alone it saves every 45 s.
"""

from typing import Final

from headgate.model.breaker import AFFECTED_FOR_MS, AffectedTenant, BreakerState, BreakerView
from headgate.model.contract import Message
from headgate.model.ids import DEFAULT
from headgate.model.ledger import LedgerSummary, LimitView
from headgate.model.limits import PressureLevel
from headgate.model.policy import TimeWindow
from headgate.model.pool import MemberView, PoolView
from headgate.view.margin import Margin, margin

QUIET_MS = 60_000
"""Counts alone are saved at least this often while calls go on."""

_SOURCES: Final = {
    "listed": "quotas as configured",
    "default": f"quotas of '{DEFAULT}', as it is not listed",
    "none": f"no quotas: it is not listed, and there is no '{DEFAULT}'",
}
_NO_LIMITS: Final = LimitView()


class BreakerStanding(Message):
    """A breaker in one line.

    Attributes:
        downstream: Whose.
        state: What callers are told.
        own_state: What the breaker would be if people had set nothing.
        since_ms: Since when ``state`` is so.
        until_ms: When ``state`` ends by itself; null: it does not.
        reason: Why it is so.
        set_by: Who has set it, if people have.
        share: At most this share of the calls passes, as people have set; null: all may.
        calls: In the window, successes and failures.
        failures: Of these.
        slow: Of these.
        margin: How far it is from opening.
        rejected: Calls that were not let pass since it began.
        total_successes: Calls since it began, as are those that follow.
        total_failures: Likewise.
        total_ignored: Likewise.
        limit: Calls of the whole fleet that may be in flight; null: no limit.
        gates: That report to it.
        affected: Tenants whose calls failed or were turned away in the last ten minutes, those with
            the most first; at most ``MOST_AFFECTED``.
        revision: Of the breaker.
        saved_at_ms: When this was saved.
    """

    downstream: str
    state: BreakerState
    own_state: BreakerState
    since_ms: int
    until_ms: int | None
    reason: str
    set_by: str | None
    share: float | None
    calls: int
    failures: int
    slow: int
    margin: Margin
    rejected: int
    total_successes: int
    total_failures: int
    total_ignored: int
    limit: int | None
    gates: int
    affected: list[AffectedTenant] = []
    revision: int
    saved_at_ms: int


class WindowStanding(Message):
    """The calendar window of which the least is left."""

    kind: str
    used: int
    limit: int
    resets_at_ms: int


class ResourceStanding(Message):
    """What a tenant has of one resource, in units. ``used + leased + free = room``, if positive.

    Attributes:
        tenant: Who.
        resource: Of what.
        used: Held by jobs and calls.
        leased: In blocks of gates, and used by nothing.
        borrowed: Of what is held, used or leased, that above the guarantee of a pool.
        free: Could be granted at once; null: there is no limit.
        room: What may be held: the smaller of ``max_active`` and ``allocated``; null: no limit;
            0 where there is no quota any more.
        max_active: The limit of the quota as it is now.
        allocated: What the pool gives; null: no pool limits it.
        guaranteed: In the pool, whenever it is wanted.
        pool: Which one.
        waiting: Requests in line.
        denied: Requests refused since the ledger began.
        window: The calendar window of which the least is left.
        paused: Why nothing is granted.
        is_changed: An override or a cut by people holds now.
    """

    tenant: str
    resource: str
    used: int
    leased: int
    borrowed: int
    free: int | None
    room: int | None
    max_active: int | None
    allocated: int | None
    guaranteed: int
    pool: str | None
    waiting: int
    denied: int
    window: WindowStanding | None
    paused: str | None
    is_changed: bool

    @property
    def usage(self) -> float:
        """The part of its room that is held, 0 when there is no limit; above 1: over it."""
        held = self.used + self.leased
        if self.room is None:
            return 0.0
        return held / self.room if self.room else float(held > 0)


class TenantStanding(Message):
    """A tenant with its resources, by name."""

    tenant: str
    group: str | None
    paused: str | None
    listed: bool
    resources: list[ResourceStanding]
    revision: int
    saved_at_ms: int

    @property
    def waiting(self) -> int:
        """Requests in line, of all resources."""
        return sum(one.waiting for one in self.resources)


class ShareStanding(Message):
    """What one tenant has of one resource of a pool, in units."""

    tenant: str
    resource: str
    held: int
    wanted: int
    allocated: int
    guaranteed: int
    waiting: int


class PoolStanding(Message):
    """A pool with who has what of it.

    Attributes:
        pool: Its name.
        strategy: How it is divided.
        enforced: False: it only observes.
        capacity: Units by resource.
        held: Likewise, of all tenants together, as are those that follow.
        wanted: Units wanted.
        allocated: Units given out.
        waiting: Requests in line, of all tenants.
        pressure: How full it is.
        cause: Why.
        pressure_since_ms: Since when; 0: always.
        set_by: Who has set another capacity, if people have.
        unheard: Ledgers that have not said what they hold yet.
        conditions: What to know of the last division.
        shares: By tenant and resource.
        revision: Of the governor.
        saved_at_ms: When this was saved.
    """

    pool: str
    strategy: str
    enforced: bool
    capacity: dict[str, int]
    held: dict[str, int]
    wanted: dict[str, int]
    allocated: dict[str, int]
    waiting: int
    pressure: PressureLevel
    cause: str
    pressure_since_ms: int
    set_by: str | None
    unheard: int
    conditions: list[str]
    shares: list[ShareStanding]
    revision: int
    saved_at_ms: int


def breaker_standing(view: BreakerView, saved_at_ms: int, now_ms: int) -> BreakerStanding:
    """Return how a breaker stands.

    Args:
        view: As saved.
        saved_at_ms: When.
        now_ms: Unix time; what a window of time has let go of since is not shown.
    """
    window = view.settings.policy.window
    age_ms = now_ms - saved_at_ms
    if isinstance(window, TimeWindow) and age_ms > window.seconds * 1_000 + QUIET_MS:
        nothing = {"calls_in_window": 0, "failures_in_window": 0, "slow_in_window": 0}
        view = view.model_copy(update=nothing)
    override = view.override
    people = override or view.throttle
    return BreakerStanding(
        downstream=view.downstream,
        state=view.state,
        own_state=view.own_state,
        since_ms=view.in_force_since_ms,
        until_ms=view.until_ms if override is None else override.until_ms,
        reason=view.reason if override is None else override.reason,
        set_by=None if people is None else people.actor,
        share=None if view.throttle is None else view.throttle.share,
        calls=view.calls_in_window,
        failures=view.failures_in_window,
        slow=view.slow_in_window,
        margin=margin(view),
        rejected=view.rejected,
        total_successes=view.successes,
        total_failures=view.failures,
        total_ignored=view.ignored,
        limit=view.limit,
        gates=view.gates,
        affected=affected_now(view, now_ms),
        revision=view.revision,
        saved_at_ms=saved_at_ms,
    )


def affected_now(view: BreakerView, now_ms: int) -> list[AffectedTenant]:
    """Return the tenants that are affected still; a breaker at rest saves nothing."""
    return [one for one in view.affected if one.at_ms > now_ms - AFFECTED_FOR_MS]


def tenant_standing(view: LedgerSummary, saved_at_ms: int, now_ms: int) -> TenantStanding:
    """Return how a tenant stands; the arguments are as of ``breaker_standing``."""
    names = sorted({*view.limits, *view.units_held, *view.waiting} - {"*"})
    return TenantStanding(
        tenant=view.tenant,
        group=view.group,
        paused=view.paused,
        listed=view.quota_source == "listed",
        resources=[_resource(view, name, now_ms) for name in names],
        revision=view.revision,
        saved_at_ms=saved_at_ms,
    )


def pool_standing(view: PoolView, saved_at_ms: int) -> PoolStanding:
    """Return how a pool stands."""
    members = view.members.values()

    def total(what: str) -> dict[str, int]:
        return {
            resource: sum(getattr(member, what).get(resource, 0) for member in members)
            for resource in view.capacity
        }

    return PoolStanding(
        pool=view.pool,
        strategy=view.settings.strategy.value,
        enforced=view.settings.enforced,
        capacity=view.capacity,
        held=total("held"),
        wanted=total("wanted"),
        allocated=total("allocated"),
        waiting=sum(sum(member.waiting.values()) for member in members),
        pressure=view.pressure.level,
        cause=view.pressure.cause,
        pressure_since_ms=view.pressure.since_ms,
        set_by=None if view.override is None else view.override.actor,
        unheard=len(view.unheard),
        conditions=[f"{one.type}: {one.message}" for one in view.conditions],
        shares=[
            _share(tenant, member, resource)
            for tenant, member in sorted(view.members.items())
            for resource in view.capacity
        ],
        revision=view.revision,
        saved_at_ms=saved_at_ms,
    )


def used_and_leased(view: LedgerSummary, resource: str) -> tuple[int, int]:
    """Return of what is held the units that are used, and those that gates have idle."""
    held = view.units_held.get(resource, 0)
    leased = min(held, view.leased.get(resource, 0))
    return held - leased, leased


def _resource(view: LedgerSummary, name: str, now_ms: int) -> ResourceStanding:
    limits = view.limits.get(name, _NO_LIMITS)
    used, leased = used_and_leased(view, name)
    rooms = [room for room in (limits.max_active, limits.allocated) if room is not None]
    # Without a quota nothing is granted; what is held is of one that there was.
    room = min(rooms, default=None) if name in view.limits else 0
    account = view.accounts.get(name)
    return ResourceStanding(
        tenant=view.tenant,
        resource=name,
        used=used,
        leased=leased,
        borrowed=max(0, used + leased - limits.guaranteed) if limits.pool is not None else 0,
        free=None if room is None else 0 if limits.paused else max(0, room - used - leased),
        room=room,
        max_active=limits.max_active,
        allocated=limits.allocated,
        guaranteed=limits.guaranteed,
        pool=limits.pool,
        waiting=view.waiting.get(name, 0),
        denied=0 if account is None else account.denied,
        window=_window(limits, now_ms),
        paused=limits.paused,
        is_changed=_is_changed(view, name, now_ms),
    )


def _window(limits: LimitView, now_ms: int) -> WindowStanding | None:
    found = [one for one in sorted(limits.windows.items()) if one[1].ends_at_ms > now_ms]
    if not found:
        return None
    kind, window = min(found, key=lambda one: (one[1].limit - one[1].used) / max(1, one[1].limit))
    return WindowStanding(
        kind=kind, used=window.used, limit=window.limit, resets_at_ms=window.ends_at_ms
    )


def quota_source(view: LedgerSummary, now_ms: int) -> str:
    """Return in words where the quotas of a tenant come from, and whether people have a say."""
    words = _SOURCES[view.quota_source]
    changed = _changed(view, now_ms)
    if view.quota_source == "none" or not changed:
        return words
    of = "all" if DEFAULT in changed else ", ".join(sorted(changed))
    return f"{words}, except where people have set something: {of}"


def _is_changed(view: LedgerSummary, name: str, now_ms: int) -> bool:
    return not {name, DEFAULT}.isdisjoint(_changed(view, now_ms))


def _changed(view: LedgerSummary, now_ms: int) -> set[str]:
    """Return the resources of which people have set something that holds now."""
    return {
        one.resource for one in view.overrides if one.begins_at_ms <= now_ms < one.ends_at_ms
    } | {one.resource for one in view.throttles if one.until_ms is None or one.until_ms > now_ms}


def _share(tenant: str, member: MemberView, resource: str) -> ShareStanding:
    return ShareStanding(
        tenant=tenant,
        resource=resource,
        held=member.held.get(resource, 0),
        wanted=member.wanted.get(resource, 0),
        allocated=member.allocated.get(resource, 0),
        guaranteed=member.guaranteed.get(resource, 0),
        waiting=member.waiting.get(resource, 0),
    )
