"""A ledger as people see it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from headgate.model.alert_rules import AlertsView
from headgate.model.ids import DEFAULT
from headgate.model.ledger import (
    Account,
    LedgerView,
    LimitView,
    PermitView,
    WaiterView,
    WhyView,
    WindowView,
)
from headgate.quota.lease_record import idle_units
from headgate.quota.limits import Limits, throttles_of
from headgate.quota.queues import Queues
from headgate.quota.reasons import Inquiry
from headgate.quota.record import LedgerRecord, Meter, Permit

MAX_NEIGHBOURS: Final = 10


def ledger_view(
    record: LedgerRecord,
    queues: Queues,
    limits_of: Callable[[str], Limits | None],
    alerts: AlertsView,
) -> LedgerView:
    """Return the account; see ``LedgerView``."""
    meters = sorted(record.meters.items())
    named = sorted({*record.meters, *(record.quotas or {})} - {DEFAULT})
    return LedgerView(
        tenant=record.tenant,
        quotas=record.quotas,
        quota_source=record.quota_source,
        accounts={
            resource: Account(
                granted=meter.granted,
                released=meter.released,
                expired=meter.expired,
                reclaimed=meter.reclaimed,
                denied=meter.denied,
                held=meter.held,
            )
            for resource, meter in meters
        },
        units_held={resource: meter.units for resource, meter in meters},
        waiting={name: queues.length(name) for name in queues.resources()},
        waiting_units={name: queues.units(name) for name in queues.resources()},
        revision=record.revision,
        told_revision=record.told_revision,
        incarnation=record.incarnation,
        limits={
            resource: limit_view(limits, record.meters.get(resource))
            for resource in named
            if (limits := limits_of(resource)) is not None
        },
        overrides=sorted(record.overrides.values(), key=lambda one: (one.begins_at_ms, one.id)),
        throttles=[
            one
            for one in throttles_of(record)
            if one.until_ms is None or one.until_ms > record.settled_at_ms
        ],
        pools=dict(sorted(record.pools.items())),
        group=record.group,
        paused=record.paused,
        resource_throttles=list(record.resource_throttles),
        alert_rules=record.alert_rules,
        alerts=alerts,
        pressure={
            pool: account.allocation.pressure
            for pool, account in sorted(record.accounts.items())
            if pool in record.pools.values()
            and account.allocation is not None
            and account.allocation.pressure is not None
        },
        leased=dict(sorted(idle_units(record.leases.values()).items())),
    )


def limit_view(limits: Limits, meter: Meter | None) -> LimitView:
    """Return what limits a resource."""
    windows = {} if meter is None else meter.windows
    return LimitView(
        max_active=limits.max_active,
        allocated=limits.allocated,
        pool=limits.pool,
        guaranteed=limits.share.guaranteed,
        rate=limits.rate,
        windows={
            kind: WindowView(
                used=windows[kind].used if kind in windows else 0,
                limit=limit,
                ends_at_ms=windows[kind].ends_at_ms if kind in windows else 0,
            )
            for kind, limit in limits.windows
        },
        paused=None if limits.pause is None else limits.pause.message,
    )


def permit_view(id: str, permit: Permit) -> PermitView:
    """Return a held permit."""
    return PermitView(
        id=id,
        resource=permit.resource,
        units=permit.units,
        also=permit.also,
        workflow_id=permit.workflow_id,
        run_id=permit.run_id,
        granted_at_ms=permit.granted_at_ms,
        expires_at_ms=permit.expires_at_ms,
        namespace=permit.namespace,
    )


def waiter_view(id: str, record: LedgerRecord, queues: Queues) -> WaiterView:
    """Return a waiting request."""
    waiter = record.waiters[id]
    return WaiterView(
        id=id,
        resource=waiter.resource,
        units=waiter.units,
        also=waiter.also,
        workflow_id=waiter.workflow_id,
        priority=waiter.priority,
        since_ms=waiter.since_ms,
        position=queues.position(id, waiter),
        namespace=waiter.namespace,
    )


def why_view(id: str, inquiry: Inquiry) -> WhyView | None:
    """Return why ``id`` waits, or that it is held; None when it is neither."""
    record, queues = inquiry.record, inquiry.queues
    if (permit := record.permits.get(id)) is not None:
        return WhyView(
            id=id,
            tenant=record.tenant,
            resource=permit.resource,
            units=permit.units,
            also=permit.also,
            workflow_id=permit.workflow_id,
            state="held",
            since_ms=permit.granted_at_ms,
            expires_at_ms=permit.expires_at_ms,
        )
    if (waiter := record.waiters.get(id)) is None:
        return None
    # Whoever explains it to people asks the governors themselves.
    finding = replace(inquiry, quotes_governors=False).why(id)
    holders = [
        (other.granted_at_ms, other_id)
        for other_id, other in record.permits.items()
        if any(resource in finding.full for resource, _ in other.needs)
    ]
    return WhyView(
        id=id,
        tenant=record.tenant,
        resource=waiter.resource,
        units=waiter.units,
        also=waiter.also,
        workflow_id=waiter.workflow_id,
        state="waiting",
        since_ms=waiter.since_ms,
        expires_at_ms=waiter.until_ms,
        position=finding.reason.position,
        reason=finding.reason,
        retry_at_ms=None if finding.reason.endless else finding.retry_at_ms,
        holders=[permit_view(one, record.permits[one]) for _, one in sorted(holders)][
            :MAX_NEIGHBOURS
        ],
        ahead=[
            waiter_view(other, record, queues) for other in queues.ahead(id, waiter, MAX_NEIGHBOURS)
        ],
    )
