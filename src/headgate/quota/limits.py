"""What limits a resource now: its quota, then reservations, overrides and throttles over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from headgate.model.ids import DEFAULT
from headgate.model.lease import WhenAway
from headgate.model.pool import Allocation, AtMost, Share
from headgate.model.quota import Quota, QuotaOverride, Rate, Throttle
from headgate.quota import calendar
from headgate.quota.record import LedgerRecord, Meter, WindowKind

WINDOWS: Final[tuple[WindowKind, ...]] = ("per_hour", "per_day", "per_month")


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing is granted.

    Attributes:
        message: In a sentence.
        until_ms: When that ends by itself, if it does.
    """

    message: str
    until_ms: int | None


class Limits(NamedTuple):
    """What limits one resource at one time; what is None is not limited.

    Attributes:
        max_active: Units that may be held.
        rate: Units over time.
        burst: Units that ``rate`` lets pass at once.
        windows: Units in each calendar window.
        time_zone: Of the windows.
        max_hold_ms: How long a permit may be held.
        pause: Why nothing is granted.
        cut: The throttle that makes the numbers smaller than the quota's.
        pool: The pool of the resource.
        allocation: What is known from its governor.
        allocated: Units that the pool lets the tenant hold; None: as many as it likes.
        room: The smaller of ``max_active`` and ``allocated``.
        share: What the tenant may claim of the pool.
        at_best: The most that it may ever claim, where reservations, overrides or a throttle have a
            say in that; see ``model.pool.Claim``.
        ceilings: The most that could ever be granted at once, by the name of the limit: with
            every reservation and every override, without throttles.
        capacity: Units of the whole pool, where its governor has said so.
        at_most: Units of it that the tenant could ever hold, where its governor has said so.
        leased: Permits of jobs may come out of blocks that gates hold.
        when_away: What gates do when a block is over and the ledger cannot be reached.
    """

    max_active: int | None
    rate: Rate | None
    burst: int
    windows: tuple[tuple[WindowKind, int], ...]
    time_zone: str
    max_hold_ms: int
    pause: Pause | None
    cut: Throttle | None
    pool: str | None
    allocation: Allocation | None
    allocated: int | None
    room: int | None
    share: Share
    at_best: Share | None
    ceilings: tuple[tuple[str, int], ...]
    capacity: int | None
    at_most: AtMost | None
    leased: bool
    when_away: WhenAway


def base_quota(record: LedgerRecord, resource: str) -> Quota | None:
    """Return the quota of the configuration, or None when there is none."""
    quotas = record.quotas
    return None if quotas is None else quotas.get(resource, quotas.get(DEFAULT))


def limits_at(
    record: LedgerRecord, resource: str, now_ms: int, *, as_before: bool = False
) -> Limits | None:
    """Return what limits ``resource`` at ``now_ms``; None when the tenant has no quota of it.

    Reservations in force lie over the quota, overrides in force over these, in the order in which
    they begin. A throttle then takes its share of every number, rounded down, but leaves at least
    one unit of what was one or more: to leave nothing is to pause. Of several throttles the
    strictest holds.

    Args:
        record: The ledger's.
        resource: Which.
        now_ms: Unix time.
        as_before: See ``Ways``.
    """
    base = base_quota(record, resource)
    if base is None:
        return None
    quota = overridden(record, resource, base, now_ms)
    throttle = _strictest(record, resource, now_ms)
    # A pause alone is enough: the numbers stay, so that they show what there is after it.
    cut = throttle if throttle is not None and throttle.share > 0 else None
    share = 1.0 if cut is None else cut.share
    pool = record.pools.get(resource)
    account = None if pool is None else record.accounts.get(pool)
    allocation = None if account is None else account.allocation
    allocated = None if pool is None else _allocated(resource, allocation, share)
    max_active = None if quota.max_active is None else cut_to(quota.max_active, share)
    rooms = [room for room in (max_active, allocated) if room is not None]
    variants = _variants(record, resource, base)
    at_best = None if cut is None and len(variants) == 1 else _at_best(variants)
    share_now = _share(
        quota.weight,
        quota.priority,
        quota.guaranteed,
        quota.borrow_limit,
        quota.lend_limit,
        max_active,
    )
    rate = quota.rate
    if rate is not None and share < 1.0:
        rate = Rate(limit=cut_to(rate.limit, share, least=1), period_ms=rate.period_ms)
    return Limits(
        max_active=max_active,
        rate=rate,
        burst=cut_to(quota.effective_burst, share),
        windows=tuple(
            (kind, cut_to(units, share))
            for kind in WINDOWS
            if (units := getattr(quota, kind)) is not None
        ),
        time_zone=quota.time_zone,
        max_hold_ms=quota.max_hold_ms,
        pause=_pause(record, resource, quota, throttle),
        cut=cut,
        pool=pool,
        allocation=allocation,
        allocated=allocated,
        room=min(rooms, default=None),
        share=share_now,
        at_best=at_best,
        ceilings=_ceilings(
            variants,
            borrows=allocated is not None if as_before else borrows(allocation),
        ),
        capacity=_capacity(resource, allocation),
        at_most=_at_most(resource, allocation, at_best or share_now),
        leased=quota.leased,
        when_away=quota.when_away,
    )


def reallocated(limits: Limits, resource: str, allocation: Allocation) -> Limits | None:
    """Return ``limits`` with what the pool gives now, when nothing else has changed.

    None: more depends on it, so they have to be reckoned anew.
    """
    allocated = _allocated(resource, allocation, 1.0 if limits.cut is None else limits.cut.share)
    if (allocated is None) != (limits.allocated is None):
        return None
    if borrows(allocation) != borrows(limits.allocation):
        return None  # it limits what could ever be granted
    rooms = [room for room in (limits.max_active, allocated) if room is not None]
    return limits._replace(
        allocation=allocation,
        allocated=allocated,
        room=min(rooms, default=None),
        capacity=_capacity(resource, allocation),
        at_most=_at_most(resource, allocation, limits.at_best or limits.share),
    )


def borrows(allocation: Allocation | None) -> bool:
    """Return whether ``borrow_limit`` limits what may be held above the guarantee.

    Not in a pool that only observes or does not go by guarantees, nor as long as its governor has
    not said so: nobody is turned away for good by what may not hold.
    """
    return allocation is not None and allocation.enforced and allocation.guarantees


def _allocated(resource: str, allocation: Allocation | None, share: float) -> int | None:
    """Return what a pool lets the tenant hold, when a throttle leaves ``share`` of it."""
    if allocation is None:
        return 0
    return cut_to(allocation.units.get(resource, 0), share) if allocation.enforced else None


def _capacity(resource: str, allocation: Allocation | None) -> int | None:
    """Return the capacity of the whole pool, if known."""
    if allocation is None or not allocation.enforced:
        return None
    return allocation.whole.get(resource, allocation.capacity.get(resource))


def _at_most(resource: str, allocation: Allocation | None, ever: Share) -> AtMost | None:
    """Return what the tenant could ever hold of the pool, as far as that is known.

    What the governor has said of another share than the tenant may ever claim now says nothing.
    """
    if allocation is None or not allocation.enforced:
        return None
    found = allocation.at_most.get(resource)
    return found if found is not None and found.share == ever else None


# With each allocation the limits are reckoned anew, and the share is nearly always the same.
@lru_cache(maxsize=1_000)
def _share(
    weight: float,
    priority: int,
    guaranteed: int,
    borrow_limit: int | None,
    lend_limit: int | None,
    maximum: int | None,
) -> Share:
    return Share(
        weight=weight,
        priority=priority,
        guaranteed=guaranteed,
        borrow_limit=borrow_limit,
        lend_limit=lend_limit,
        maximum=maximum,
    )


def overridden(record: LedgerRecord, resource: str, base: Quota, now_ms: int) -> Quota:
    """Return ``base`` with the reservations and overrides that hold at ``now_ms``."""
    changes: dict[str, Any] = {}
    if base.reservations:
        for reservation in calendar.in_force(base.reservations, base.time_zone, now_ms)[0]:
            changes.update(reservation.changes)
    if record.overrides:
        for override in overrides_in_force(record, resource, now_ms):
            changes.update(override.changes.values)
    return with_changes(base, changes) if changes else base


def overrides_in_force(record: LedgerRecord, resource: str, now_ms: int) -> list[QuotaOverride]:
    """Return the overrides of a resource that hold; of several the last one has the last word."""
    found = [
        one
        for one in record.overrides.values()
        if one.resource == resource and one.begins_at_ms <= now_ms < one.ends_at_ms
    ]
    return sorted(found, key=lambda one: (one.begins_at_ms, one.id))


def with_changes(quota: Quota, changes: dict[str, Any]) -> Quota:
    """Return ``quota`` with other values, each valid; what does not go together gives way.

    Overrides are set one by one over quotas that change under them, so a guarantee may meet a
    lower ``max_active``: then the lower number holds.
    """
    changed = quota.model_copy(update=changes)
    if changed.max_active is not None and changed.guaranteed > changed.max_active:
        changed = changed.model_copy(update={"guaranteed": changed.max_active})
    return changed


def quota_changes(
    record: LedgerRecord, resource: str, now_ms: int
) -> tuple[int | None, QuotaOverride | None]:
    """Return when the quota of a resource next changes by itself, and the override that holds now.

    Overrides and reservations change it when they begin and end. Of several overrides, that which
    began last.
    """
    times: list[int] = []
    holds: QuotaOverride | None = None
    for one in record.overrides.values():
        if one.resource != resource or one.ends_at_ms <= now_ms:
            continue
        has_begun = one.begins_at_ms <= now_ms
        times.append(one.ends_at_ms if has_begun else one.begins_at_ms)
        if has_begun and (holds is None or one.begins_at_ms >= holds.begins_at_ms):
            holds = one
    base = base_quota(record, resource)
    if base is not None and base.reservations:
        changes_ms = calendar.in_force(base.reservations, base.time_zone, now_ms)[1]
        times += [] if changes_ms is None else [changes_ms]
    return min(times, default=None), holds


def next_change(record: LedgerRecord, now_ms: int) -> int | None:
    """Return when an override or a throttle next begins or ends, after ``now_ms``."""
    times = [at for one in record.overrides.values() for at in (one.begins_at_ms, one.ends_at_ms)]
    times += [
        one.until_ms
        for one in (*record.throttles.values(), *record.resource_throttles)
        if one.until_ms is not None
    ]
    return min((at for at in times if at > now_ms), default=None)


def next_reservation(record: LedgerRecord, now_ms: int) -> int | None:
    """Return when a reservation of any resource next begins or ends."""
    found = [
        at
        for quota in (record.quotas or {}).values()
        if quota.reservations
        and (at := calendar.in_force(quota.reservations, quota.time_zone, now_ms)[1]) is not None
    ]
    return min(found, default=None)


def window_used(meter: Meter, kind: WindowKind, now_ms: int) -> int:
    """Return the units granted in the window around ``now_ms``."""
    window = meter.windows.get(kind)
    return 0 if window is None or window.ends_at_ms <= now_ms else window.used


def cut_to(units: int, share: float, least: int = 0) -> int:
    """Return ``share`` of ``units``, rounded down, but at least one of one or more.

    Args:
        units: How many.
        share: Above 0, at most 1.
        least: What is left in any case.
    """
    if share >= 1.0:
        return units
    return max(least, min(units, 1), units * round(share * 1_000_000) // 1_000_000)


def throttles_of(record: LedgerRecord) -> list[Throttle]:
    """Return the throttles of the tenant and those of all tenants."""
    return [*record.throttles.values(), *record.resource_throttles]


def _strictest(record: LedgerRecord, resource: str, now_ms: int) -> Throttle | None:
    if not record.throttles and not record.resource_throttles:
        return None
    found = [
        one
        for one in throttles_of(record)
        if one.resource in (resource, DEFAULT) and (one.until_ms is None or now_ms < one.until_ms)
    ]
    # Of equally strict ones that which ends last: it says truly when there is more again.
    return min(
        found,
        key=lambda one: (one.share, one.until_ms is not None, -(one.until_ms or 0), one.id),
        default=None,
    )


def _pause(
    record: LedgerRecord, resource: str, quota: Quota, throttle: Throttle | None
) -> Pause | None:
    if record.paused is not None:
        return Pause(f"tenant {record.tenant} is suspended: {record.paused}", None)
    if quota.paused is not None:
        return Pause(f"{resource} of tenant {record.tenant} is paused: {quota.paused}", None)
    if throttle is not None and throttle.share == 0:
        what = f"tenant {record.tenant}" if throttle.resource == DEFAULT else resource
        message = f"{what} was paused by {throttle.actor}: {throttle.reason}"
        return Pause(message, throttle.until_ms)
    return None


def _variants(record: LedgerRecord, resource: str, base: Quota) -> list[Quota]:
    """Return the quota as it is and as it may be, whatever of all that is planned holds."""
    variants = [base]
    if base.reservations:
        variants += [with_changes(base, each.changes) for each in base.reservations]
    if record.overrides:
        everything: dict[str, Any] = {}
        for override in record.overrides.values():
            if override.resource == resource:
                variants.append(with_changes(base, override.changes.values))
                everything.update(override.changes.values)
        if everything:
            variants.append(with_changes(base, everything))
    return variants


def _at_best(variants: Sequence[Quota]) -> Share:
    """Return the most that may be claimed, and the least that may not be lent."""
    shares = [each.share for each in variants]
    guaranteed = max(each.guaranteed for each in shares)
    borrow, lend, maximum = (
        None if None in limits else max(limits)
        for limits in zip(
            *((each.borrow_limit, each.lend_limit, each.maximum) for each in shares), strict=True
        )
    )
    if lend is not None:
        lend = guaranteed - max(0, min(each.guaranteed for each in shares) - lend)
    return Share(
        weight=max(each.weight for each in shares),
        priority=shares[0].priority,
        guaranteed=guaranteed,
        borrow_limit=borrow,
        lend_limit=lend,
        maximum=maximum,
    )


def _ceilings(variants: Sequence[Quota], *, borrows: bool) -> tuple[tuple[str, int], ...]:
    """Return the most that could pass at once, whatever of all that is planned holds."""
    found: list[tuple[str, int]] = []
    for name in ("max_active", *WINDOWS):
        values = [getattr(each, name) for each in variants]
        if None not in values:
            found.append((name, max(values)))
    if all(each.rate is not None for each in variants):
        found.append(("burst", max(each.effective_burst for each in variants)))
    if borrows and all(each.borrow_limit is not None for each in variants):
        guaranteed = max(each.guaranteed for each in variants)
        borrowed = max(each.borrow_limit or 0 for each in variants)
        found.append(("guaranteed + borrow_limit", guaranteed + borrowed))
    return tuple(found)
