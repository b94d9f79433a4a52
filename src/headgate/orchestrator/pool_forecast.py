"""What a pool would give to whom, divided by the very code of its governor."""

from collections.abc import Sequence
from typing import Final

from headgate.allocation.governor import Governor
from headgate.model.configuration import Configuration
from headgate.model.ledger import LedgerView
from headgate.model.limits import CapacityNews
from headgate.model.plan import PoolForecast, Seen, TenantForecast
from headgate.model.pool import Claim, Demand, PoolView
from headgate.quota.limits import Limits, limits_at
from headgate.quota.record import LedgerRecord
from headgate.store.database import Database
from headgate.store.pages import PageStore

_LATER_MS: Final = 1_000_000_000


async def ledgers_of(database: Database, tenants: Sequence[str]) -> dict[str, LedgerView]:
    """Return the accounts of these tenants as they were last saved, where they were."""
    saved = await PageStore(database).named("ledger", tenants)
    return {one.subject: LedgerView.model_validate_json(one.view) for one in saved}


def pool_forecast(
    wanted: Configuration,
    pool: str,
    source: Seen,
    view: PoolView | None,
    ledgers: dict[str, LedgerView],
    now_ms: int,
) -> PoolForecast:
    """Return what a proposed pool would give to whom.

    Args:
        wanted: The proposed configuration.
        pool: Which.
        source: Where ``view`` comes from.
        view: The pool as it is; None: it is new.
        ledgers: The tenants' accounts: what they have set, and the demand where no pool knows it.
        now_ms: Unix time.
    """
    # What was used lately is not in the view, so the past counts for nothing here.
    settings = wanted.governor(pool).model_copy(update={"history_half_life_ms": None})
    known = view is not None and view.settings.source == "listed"
    before = view if known else None
    governor = Governor.begin(pool, settings, 0)
    if before is not None and before.override is not None:
        resources = {*before.override.capacity} & {*settings.capacity}
        kept = {name: before.override.capacity[name] for name in resources}
        if kept or before.override.share is not None:
            governor.set_capacity(before.override.model_copy(update={"capacity": kept}))
    if before is not None and before.follows is not None:  # if it still does, else it is old news
        governor.follow(
            CapacityNews(
                downstream=before.follows.downstream,
                limit=before.follows.limit,
                revision=before.follows.revision,
            ),
            0,
        )
    claims = {
        tenant: {
            resource: _claim(wanted, tenant, resource, before, ledgers.get(tenant), now_ms)
            for resource in settings.capacity
        }
        for tenant in settings.tenants
    }
    for tenant, of_tenant in claims.items():
        demand = Demand(pool=pool, tenant=tenant, incarnation=1, revision=1, claims=of_tenant)
        governor.demand(demand, 0)
    # As if at once: a clock that begins at nought has no past to smooth.
    governor.advance(_LATER_MS)
    after = governor.view()
    return PoolForecast(
        pool=pool,
        source=source if known else "new",
        strategy=settings.strategy,
        enforced=settings.enforced,
        capacity_before={} if before is None else before.capacity,
        capacity=after.capacity,
        tenants=[
            _tenant(
                tenant,
                resource,
                claims[tenant][resource],
                before,
                after,
                ledgers.get(tenant),
                limits=governor.enforces,
            )
            for resource in settings.capacity
            for tenant in sorted(settings.tenants)
        ],
        leaves=[] if before is None else sorted({*before.members} - {*settings.tenants}),
        override=after.override,
        conditions=after.conditions,
    )


def _claim(
    wanted: Configuration,
    tenant: str,
    resource: str,
    view: PoolView | None,
    ledger: LedgerView | None,
    now_ms: int,
) -> Claim:
    """Return what a tenant has and wants now, by the right that it would have.

    A governor only hears of demand that the present limits let pass. So that a higher limit shows,
    every request in line counts: with its units, or with one where a ledger does not say.
    """
    held = want = 0
    member = None if view is None else view.members.get(tenant)
    if member is not None:
        held, want = member.held.get(resource, 0), member.wanted.get(resource, 0)
    if ledger is not None:
        if member is None:
            held = ledger.units_held.get(resource, 0)
        waiting = ledger.waiting.get(resource, 0)
        want = max(want, held + ledger.waiting_units.get(resource, waiting))
    limits = limits_of(wanted, tenant, resource, ledger, now_ms)
    if limits is None:
        return Claim(held=held)
    if limits.pause is not None:
        want = held  # whoever is paused asks for no more
    return Claim(held=held, wanted=want, share=limits.share)


def limits_of(
    wanted: Configuration, tenant: str, resource: str, ledger: LedgerView | None, now_ms: int
) -> Limits | None:
    """Return what would limit a tenant, by a configuration and what people have set for it.

    Args:
        wanted: The configuration.
        tenant: Who.
        resource: Of what.
        ledger: Its account, with what people have set; None: nothing.
        now_ms: When, Unix time.
    """
    settings = wanted.ledger(tenant)
    record = LedgerRecord(
        tenant=tenant,
        quotas=settings.quotas,
        quota_source=settings.source,
        pools=settings.pools,
        paused=settings.paused,
    )
    if ledger is not None:
        record.overrides = {one.id: one for one in ledger.overrides}
        record.throttles = {one.id: one for one in ledger.throttles}
    return limits_at(record, resource, now_ms)


def _tenant(
    tenant: str,
    resource: str,
    claim: Claim,
    before: PoolView | None,
    after: PoolView,
    ledger: LedgerView | None,
    *,
    limits: bool,
) -> TenantForecast:
    member = None if before is None else before.members.get(tenant)
    now = None if member is None else member.allocated.get(resource, 0)
    target = after.members[tenant].target.get(resource, 0)
    waiting_units = max(0, claim.wanted - claim.held)
    jobs = 0 if ledger is None else ledger.waiting.get(resource, 0)
    room_now = 0 if now is None else max(0, now - claim.held)
    room_then = max(0, target - claim.held) if limits else waiting_units
    more = min(waiting_units, room_then) - min(waiting_units, room_now)
    # Rounded: what a pool knows of the line may be a moment older than what its ledger says.
    moved = (2 * abs(more) * jobs + waiting_units) // (2 * waiting_units) if waiting_units else 0
    return TenantForecast(
        tenant=tenant,
        resource=resource,
        held=claim.held,
        wanted=claim.wanted,
        allocated=now,
        target=target,
        difference=target - (claim.held if now is None else now),
        waiting=jobs,
        unblocked=moved if more > 0 else 0,
        blocked=moved if more < 0 else 0,
        over=max(0, claim.held - target) if limits else 0,
    )
