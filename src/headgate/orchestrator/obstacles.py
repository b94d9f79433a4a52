"""What stands in the way of a job: from what ledgers, breakers and jobs say, ranked."""

from collections.abc import Iterable
from typing import Final

from headgate.model.breaker import BreakerState, BreakerView, Verdict
from headgate.model.ledger import Outlook, WhyView
from headgate.model.pool import PoolView
from headgate.model.reason import ReasonCode
from headgate.model.why import JobAsk, Obstacle
from headgate.orchestrator.in_the_pool import parts, why_no_more
from headgate.orchestrator.times import utc

_RANK: Final = {code: rank for rank, code in enumerate(ReasonCode)}
OF_BREAKERS: Final = (
    ReasonCode.FORCED_OPEN,
    ReasonCode.BREAKER_OPEN,
    ReasonCode.PROBES_BUSY,
    ReasonCode.RAMP,
)
"""What breakers have to do with."""

BEFORE_BREAKERS: Final = (
    ReasonCode.UNKNOWN_TENANT,
    ReasonCode.UNKNOWN_RESOURCE,
    ReasonCode.SUSPENDED,
    ReasonCode.CAN_NEVER_FIT,
)
"""What ledgers say of requests that breakers keep away; see ``Outlook``."""

ENDED_BY_PEOPLE: Final = (ReasonCode.SUSPENDED, ReasonCode.FORCED_OPEN)
"""What people have set."""

_IN_USE: Final = (ReasonCode.QUOTA_USED_UP, ReasonCode.POOL_USED_UP, ReasonCode.QUEUED)
_ESTIMATE: Final = "(estimate)"


def ranked(obstacles: Iterable[Obstacle]) -> list[Obstacle]:
    """Return them the most structural first; what is equal in rank stays in order."""
    return sorted(obstacles, key=lambda one: _RANK[one.code])


def in_the_ledger(view: WhyView, pool: PoolView | None) -> Obstacle | None:
    """Return what a ledger says of a request that waits; None when it does not wait.

    Args:
        view: The ledger's.
        pool: Of the resource that ``told_of`` returns, if it has one and that has answered.
    """
    if view.state != "waiting" or view.reason is None:
        return None
    reason, resource = view.reason, told_of(view)
    message, estimate = _without_estimate(reason.message)
    in_use = reason.code in _IN_USE
    of_pool = in_use and reason.code is not ReasonCode.QUOTA_USED_UP and pool is not None
    shares = parts(pool, resource) if of_pool and pool is not None else []
    if reason.code is ReasonCode.POOL_USED_UP and pool is not None:
        needed = (reason.used or 0) + (reason.needed or 1)
        message += why_no_more(view.tenant, resource, needed, pool)
    if of_pool and pool is not None and (cut := pool.override) is not None:
        units = pool.capacity.get(resource, 0)
        message += f"; {cut.actor} has set the pool to {units} {resource}{_until(cut.until_ms)}"
        message += f": {cut.reason}"
    return Obstacle(
        code=reason.code,
        message=message,
        tenant=view.tenant,
        resource=resource,
        pool=pool.pool if of_pool and pool is not None else None,
        limit=reason.limit,
        used=reason.used,
        needed=reason.needed,
        position=view.position,
        changes_at_ms=None if reason.endless else view.retry_at_ms,
        estimate=estimate,
        holders=view.holders if in_use else [],
        ahead=[] if reason.code in ENDED_BY_PEOPLE else view.ahead,
        parts=shares,
    )


def told_of(view: WhyView) -> str:
    """Return the resource that a ledger's reason is about: of several, that which is lacking."""
    named = None if view.reason is None else view.reason.resource
    return view.resource if named is None else named


def in_the_breaker(view: BreakerView, now_ms: int) -> Obstacle | None:
    """Return why a breaker keeps calls away now, or None when it lets all pass."""
    name, until = view.downstream, view.until_ms
    match view.state:
        case BreakerState.FORCED_OPEN:
            code, message = ReasonCode.FORCED_OPEN, f"the breaker of {name} is forced open"
            if (override := view.override) is not None:
                message += f" by {override.actor}: {override.reason}"
                until = override.until_ms
            return _of(view, code, message, until)
        case BreakerState.OPEN:
            message = f"the breaker of {name} is open: {view.reason}"
            return _of(view, ReasonCode.BREAKER_OPEN, message, until)
        case BreakerState.HALF_OPEN:
            probes = view.settings.policy.probes
            if view.probes_in_flight < probes:
                return None
            message = f"the breaker of {name} is half open and its {probes} probes are in flight"
            settled = now_ms + view.settings.policy.probe_deadline_ms  # at the latest
            until = settled if until is None else min(until, settled)
            found = _of(view, ReasonCode.PROBES_BUSY, message, until, estimate=True)
            return found.model_copy(update={"limit": probes, "used": view.probes_in_flight})
        case BreakerState.RAMP:
            share = _share(view, now_ms)
            message = f"{name} is coming back: {share:.0%} of its calls pass now"
            return _of(view, ReasonCode.RAMP, message + _cut(view), until, estimate=True)
        case BreakerState.CLOSED if view.throttle is not None:
            message = f"{view.throttle.share * 100:g}% of the calls to {name} pass{_cut(view)}"
            return _of(view, ReasonCode.RAMP, message, view.throttle.until_ms, estimate=True)
        case _:
            return None


def foreseen(ask: JobAsk, outlook: Outlook) -> Obstacle | None:
    """Return what a ledger says beforehand of a request that it has not been asked for yet."""
    reason = outlook.reason
    if reason is None:
        return None
    return Obstacle(
        code=reason.code,
        message=reason.message,
        tenant=ask.tenant,
        resource=reason.resource or ask.resource,
        limit=reason.limit,
        used=reason.used,
        needed=reason.needed,
        changes_at_ms=None if reason.endless else outlook.retry_at_ms,
    )


def as_the_job_says(
    ask: JobAsk, breaker: Obstacle | None, outlook: Outlook | None
) -> Obstacle | None:
    """Return why a job was last refused; None when it waits in line or holds its permit.

    Args:
        ask: The job's.
        breaker: Why its downstream is kept from it now.
        outlook: What its ledger says of it now; None: it has not been asked, or does not say.
    """
    if ask.state == "asking":
        return Obstacle(
            code=ReasonCode.UNAVAILABLE,
            message="it is just asking its gate; if that lasts, no worker with the plugin runs, "
            "or no governance worker",
            tenant=ask.tenant,
            resource=ask.resource,
            downstream=ask.downstream,
        )
    if ask.state == "held" or ask.reason is None:
        return None
    message, estimate = _without_estimate(ask.reason.message)
    of_breaker = ask.reason.code in OF_BREAKERS
    is_endless = ask.reason.endless and ask.state == "in_line"  # else it asks again by then
    is_over = breaker is None if of_breaker else outlook is not None and outlook.reason is None
    if is_over and ask.reason.code in (*OF_BREAKERS, *BEFORE_BREAKERS):
        message += "; that is over now, and it goes on when it next asks"
    return Obstacle(
        code=ask.reason.code,
        message=message,
        tenant=ask.tenant,
        resource=ask.reason.resource or ask.resource,
        downstream=ask.downstream if of_breaker else None,
        limit=ask.reason.limit,
        used=ask.reason.used,
        needed=ask.reason.needed,
        position=ask.reason.position,
        changes_at_ms=None if is_endless else ask.retry_at_ms,
        estimate=estimate,
    )


def _of(
    view: BreakerView,
    code: ReasonCode,
    message: str,
    until_ms: int | None,
    *,
    estimate: bool = False,
) -> Obstacle:
    return Obstacle(
        code=code,
        message=message,
        downstream=view.downstream,
        changes_at_ms=until_ms,
        estimate=estimate and until_ms is not None,
    )


def _share(view: BreakerView, now_ms: int) -> float:
    verdict = Verdict(
        downstream=view.downstream,
        state=view.state,
        epoch=view.epoch,
        allow="ramp",
        since_ms=view.since_ms,
        until_ms=view.until_ms,
        ramp_start=view.settings.policy.ramp_start,
        most=1.0 if view.throttle is None else view.throttle.share,
    )
    return verdict.share(now_ms)


def _cut(view: BreakerView) -> str:
    if (cut := view.throttle) is None:
        return ""
    return f", cut by {cut.actor}{_until(cut.until_ms)}: {cut.reason}"


def _until(at_ms: int | None) -> str:
    return f" until {utc(at_ms)}" if at_ms else ""


def _without_estimate(message: str) -> tuple[str, bool]:
    """Part a ledger's sentence from its estimate, which ages; the time itself stands beside it."""
    if not message.endswith(_ESTIMATE):
        return message, False
    return message.rpartition("; about ")[0] or message, True
