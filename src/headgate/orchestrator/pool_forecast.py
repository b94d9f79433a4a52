"""What a pool would give to whom, divided by the very code of its governor."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pydantic import TypeAdapter

from headgate.allocation.governor import Governor
from headgate.allocation.governor_record import Left
from headgate.model.configuration import Configuration
from headgate.model.limits import CapacityNews
from headgate.model.plan import PoolForecast, Seen, TenantForecast
from headgate.model.pool import (
    CapacityOverride,
    Claim,
    Demand,
    MemberView,
    PoolSettings,
    PoolView,
)
from headgate.packed import unpack
from headgate.quota.proposed import claims_with
from headgate.quota.record import LedgerRecord
from headgate.store.database import Database
from headgate.store.pages import PageStore

_RECORD = TypeAdapter(LedgerRecord)
_LATER_MS: Final = 1_000_000_000

Claims = dict[str, dict[str, Claim]]
"""By tenant and resource."""


async def ledgers_of(database: Database, tenants: Sequence[str]) -> dict[str, LedgerRecord]:
    """Return the accounts of these tenants as they were last saved, where they were."""
    saved = await PageStore(database).states("ledger", tenants)
    return await asyncio.to_thread(
        lambda: {name: _RECORD.validate_json(unpack(state)) for name, state in saved.items()}
    )


def pool_forecast(
    wanted: Configuration,
    applied: Configuration,
    pool: str,
    source: Seen,
    view: PoolView | None,
    ledgers: Mapping[str, LedgerRecord],
    now_ms: int,
    *,
    capacity: Mapping[str, int] | None = None,
    eager: str | None = None,
) -> PoolForecast:
    """Return what a proposed pool would give to whom.

    It is divided twice, as it is configured and as it would be, on what the ledgers say to the
    governor now and would say then: so what is not changed changes nothing.

    Args:
        wanted: The proposed configuration.
        applied: The present one.
        pool: Which.
        source: Where ``view`` comes from.
        view: The pool as it is; None: it is new.
        ledgers: The tenants' accounts: what they have set, and the demand where no pool knows it.
        now_ms: Unix time.
        capacity: Units by resource that an operator would set.
        eager: A tenant that is taken to want all there is.
    """
    settings = wanted.governor(pool)
    known = view is not None and view.settings.source == "listed"
    present = view if known else None
    claims: Claims = {}
    before: Claims = {}
    for tenant in sorted({*settings.tenants, *(present.settings.tenants if present else ())}):
        record = ledgers.get(tenant) or LedgerRecord(tenant, None, "none")
        old, new = applied.ledger(tenant), wanted.ledger(tenant)
        now = then = claims_with(record, old, now_ms).get(pool, {})
        if new != old:
            then = claims_with(record, new, now_ms).get(pool, {})
        member = None if present is None else present.members.get(tenant)
        before[tenant] = {name: _seen(claim, claim, member, name) for name, claim in now.items()}
        claims[tenant] = {
            name: _seen(claim, now.get(name, Claim()), member, name) for name, claim in then.items()
        }
    if eager is not None:
        claims[eager] = {
            name: claim.model_copy(
                update={"wanted": max(claim.wanted, settings.capacity.get(name, 0))}
            )
            for name, claim in claims[eager].items()
        }
    by_people = [] if present is None else present.set_by_people
    now_by = None
    if present is not None:
        now_by = _divided(pool, present.settings, present, before, by_people, before)
    wish = []
    if capacity:
        wish = [CapacityOverride(capacity=dict(capacity), actor="", reason="", since_ms=now_ms)]
    then_by = _divided(pool, settings, present, claims, [*by_people, *wish], before)
    still_set = [one for one in then_by.record.set_by_people if one not in wish]
    after = then_by.view()
    return PoolForecast(
        pool=pool,
        source=source if known else "new",
        strategy=settings.strategy,
        enforced=settings.enforced,
        capacity_before={} if present is None else present.capacity,
        capacity=after.capacity,
        tenants=[
            _tenant(
                tenant,
                resource,
                None if present is None else present.members.get(tenant),
                None if now_by is None else _part(now_by, tenant, resource),
                _part(then_by, tenant, resource),
                _line(ledgers.get(tenant), resource),
            )
            for resource in settings.capacity
            for tenant in sorted(settings.tenants)
        ],
        leaves=[] if present is None else sorted({*present.members} - {*settings.tenants}),
        override=still_set[-1] if still_set else None,
        conditions=after.conditions,
    )


def _divided(
    pool: str,
    settings: PoolSettings,
    present: PoolView | None,
    claims: Claims,
    overrides: Sequence[CapacityOverride],
    before: Claims,
) -> Governor:
    """Return a governor that has divided the pool once, with what people have set for it.

    Whoever is no part of it takes off the capacity what was held ``before``.
    """
    # What was used lately is not in the view, so the past counts for nothing here. Nor is anybody
    # told of anything, which a governor would look for among all tenants whenever one comes.
    without = {"history_half_life_ms": None, "alerts": None}
    governor = Governor.begin(pool, settings.model_copy(update=without), 0)
    if present is not None:
        _take_over(governor, present, before)
    for override in overrides:
        governor.set_capacity(override)
    for tenant in settings.tenants:
        demand = Demand(pool=pool, tenant=tenant, incarnation=1, revision=1, claims=claims[tenant])
        governor.demand(demand, 0)
    # As if at once: a clock that begins at nought has no past to smooth.
    governor.advance(_LATER_MS)
    return governor


def _take_over(governor: Governor, present: PoolView, before: Claims) -> None:
    """Have a governor know what it follows, and who has left it."""
    settings = governor.record.settings
    if present.follows is not None:  # if it still does, else it is old news
        governor.follow(
            CapacityNews(
                downstream=present.follows.downstream,
                limit=present.follows.limit,
                revision=present.follows.revision,
            ),
            0,
        )
    held = present.left | {tenant: member.held for tenant, member in present.members.items()}
    held |= {
        tenant: {name: claim.held for name, claim in of_tenant.items()}
        for tenant, of_tenant in before.items()
        if of_tenant and tenant in present.members
    }
    governor.record.left = {
        tenant: Left(dict(units), _LATER_MS)
        for tenant, units in held.items()
        if tenant not in settings.tenants and any(units.values())
    }


def _seen(then: Claim, now: Claim, member: MemberView | None, resource: str) -> Claim:
    """Return what a tenant has and wants, by the right that it would have.

    A governor is not told of what fits into its allocation, and the ledger was saved a moment ago:
    who knows of more is right. Other settings make a difference to that.
    """
    if member is None or resource not in member.held:
        return Claim(held=then.held, wanted=then.wanted, share=then.share)
    held, wanted = member.held[resource], member.wanted.get(resource, 0)
    if not member.stopped:
        held, wanted = max(held, now.held), max(wanted, now.wanted)
    if more := then.wanted - now.wanted:
        wanted = max(held, wanted + more)
    return Claim(held=held, wanted=wanted, share=then.share)


def _line(record: LedgerRecord | None, resource: str) -> tuple[int, int]:
    """Return how many jobs are in line, and the units that they need."""
    waiters = [] if record is None else record.waiters.values()
    units = [needed for one in waiters for name, needed in one.needs if name == resource]
    return len(units), sum(units)


class _Part(NamedTuple):
    """What a tenant claims of a resource, what it is to have, and what of its line could begin."""

    claim: Claim
    target: int
    begins: int
    over: int


def _part(governor: Governor, tenant: str, resource: str) -> _Part | None:
    """Return how a member fares; None: it is none."""
    member = governor.record.members.get(tenant)
    if member is None:
        return None
    claim, target = member.claims.get(resource, Claim()), member.target.get(resource, 0)
    waiting = max(0, claim.wanted - claim.held)
    if not governor.enforces:
        return _Part(claim, target, waiting, 0)
    room = max(0, target - claim.held)
    return _Part(claim, target, min(waiting, room), max(0, claim.held - target))


def _tenant(
    tenant: str,
    resource: str,
    member: MemberView | None,
    now: _Part | None,
    then: _Part | None,
    line: tuple[int, int],
) -> TenantForecast:
    assert then is not None  # whoever is asked about is a member then
    claim, (jobs, units) = then.claim, line
    more = then.begins - (0 if now is None else now.begins)
    # Rounded: what a pool knows of the line may be a moment older than what its ledger says.
    moved = min(jobs, (2 * abs(more) * jobs + units) // (2 * units)) if units else 0
    return TenantForecast(
        tenant=tenant,
        resource=resource,
        held=claim.held,
        wanted=claim.wanted,
        allocated=None if member is None else member.allocated.get(resource, 0),
        before=None if now is None else now.target,
        target=then.target,
        difference=then.target - (claim.held if now is None else now.target),
        waiting=jobs,
        unblocked=moved if more > 0 else 0,
        blocked=moved if more < 0 else 0,
        over=then.over,
    )
