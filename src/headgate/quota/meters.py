"""The meters of a ledger: bounded in number, and watched for thresholds."""

from typing import Final

from headgate.alerts.desk import Desk
from headgate.model.ids import DEFAULT
from headgate.quota.bound import bound_of
from headgate.quota.limits import Limits
from headgate.quota.news import usage_news
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord, Meter

MAX_METERS_KEPT: Final = 1_000
"""Resources with an account of their own. With a quota for ``*`` jobs name what they like; beyond
this number, the accounts of resources that nobody uses are added to that of ``*``."""


def sweep(record: LedgerRecord, queues: Queues, now_ms: int) -> int:
    """Add the accounts of resources that nobody uses, and no quota names, to that of ``*``.

    Returns:
        The number of meters from which on it is worth looking again.
    """
    rest = record.meters.setdefault(DEFAULT, Meter())
    named = record.quotas or {}
    for resource, meter in list(record.meters.items()):
        in_use = (
            resource in named
            or meter is rest
            or meter.held > 0
            or meter.refused is not None
            or queues.length(resource) > 0
            or any(window.ends_at_ms > now_ms for window in meter.windows.values())
            or (meter.rate is not None and meter.tat > now_ms * meter.rate.limit)
        )
        if not in_use:
            rest.granted += meter.granted
            rest.released += meter.released
            rest.expired += meter.expired
            rest.reclaimed += meter.reclaimed
            rest.denied += meter.denied
            del record.meters[resource]
    # Doubling keeps this O(1) per meter.
    return max(MAX_METERS_KEPT, 2 * len(record.meters))


def watch_usage(
    record: LedgerRecord, resource: str, limits: Limits, meter: Meter, now_ms: int
) -> None:
    """Put an alert into the outbox when usage has reached a level of ``max_active``.

    Only while no alert rules have been applied: what running histories have told, they tell again
    when they are replayed. With rules the watch looks at usage after each step.
    """
    if record.alert_rules is not None or limits.max_active is None:
        return
    level = meter.usage.observe(meter.units, limits.max_active, now_ms)
    if level is None:
        return
    bound = bound_of(record, resource, "max_active", limits, now_ms)
    Desk(record, f"tenant/{record.tenant}", record.tenant).tell(
        usage_news("told", level, meter.units, bound),
        now_ms,
        subject=f"tenant/{record.tenant}/{resource}",
    )
