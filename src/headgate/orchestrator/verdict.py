"""The answer of ``headgate why``: one report out of what everybody said. Pure."""

from dataclasses import dataclass, field
from typing import Final

from headgate.model.breaker import BreakerView
from headgate.model.ledger import Outlook, WhyView
from headgate.model.pool import PoolView
from headgate.model.reason import ReasonCode
from headgate.model.why import Held, JobAsk, Obstacle, WhyReport
from headgate.orchestrator.obstacles import (
    BEFORE_BREAKERS,
    ENDED_BY_PEOPLE,
    OF_BREAKERS,
    as_the_job_says,
    foreseen,
    in_the_breaker,
    in_the_ledger,
    ranked,
    told_of,
)
from headgate.orchestrator.times import lasting, utc

_RECLAIMED_SOON: Final = "it has ended without giving this back: its ledger takes it back by itself"

_LOST: Final = (
    "it goes on as if it held {one.units} {one.resource} of {one.tenant} (permit {one.id}), but "
    "its ledger has that no more: it was released, or has expired"
)

_NOBODY_KNOWS: Final = "nobody knows until when"

_UNTOLD: Final = (
    "what its calls take out of the block of their gate, or wait there for, its ledger is told of "
    "within 20 s"
)


@dataclass(slots=True)
class Evidence:
    """What everybody said of a job.

    Attributes:
        workflow_id: The job.
        now_ms: When they were asked, Unix time.
        status: What Temporal says of it; None: nothing.
        is_open: Whether it has not ended, as far as Temporal knows.
        closed_at_ms: When it ended.
        refused: What it was refused by, if it has failed for that.
        tenant: For whom it runs, as its description has it; None: it does not say.
        asks: What it says itself; None: it does not answer.
        silence: Why not.
        calls: Why governed calls of it were held back.
        views: What ledgers say of its requests and permits.
        lost: Permits that it says it holds, and of which their ledgers say nothing though they
            would know.
        breakers: By downstream.
        outlooks: What ledgers say of requests that they have not been asked for yet, by their id.
        pools: By (tenant, resource).
        notes: Who did not answer.
    """

    workflow_id: str
    now_ms: int
    status: str | None = None
    is_open: bool = False
    closed_at_ms: int | None = None
    refused: Obstacle | None = None
    tenant: str | None = None
    asks: list[JobAsk] | None = None
    silence: str = ""
    calls: list[Obstacle] = field(default_factory=list)
    views: list[WhyView] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    breakers: dict[str, BreakerView] = field(default_factory=dict)
    outlooks: dict[str, Outlook] = field(default_factory=dict)
    pools: dict[tuple[str, str], PoolView] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def conclude(evidence: Evidence) -> WhyReport:
    """Return the report."""
    notes = list(evidence.notes)
    holds = _holds(evidence)
    obstacles: list[Obstacle] = []
    if evidence.is_open or evidence.status is None:
        obstacles = ranked(_obstacles(evidence, notes))
    if evidence.is_open and evidence.asks is None and evidence.silence and not evidence.calls:
        notes.append(evidence.silence)
    times = [one.changes_at_ms for one in obstacles]
    known = [at for at in times if at is not None]
    goes_on_at_ms = max(known) if known and len(known) == len(times) else None
    report = WhyReport(
        workflow_id=evidence.workflow_id,
        state="runs",
        status=evidence.status,
        verdict="",
        obstacles=obstacles,
        holds=holds,
        tenants=_tenants(evidence),
        goes_on_at_ms=goes_on_at_ms,
        estimate=goes_on_at_ms is not None and any(one.estimate for one in obstacles),
        notes=notes,
        at_ms=evidence.now_ms,
    )
    if obstacles:
        state = "waits" if evidence.is_open else "unknown"
        return report.model_copy(update={"state": state, "verdict": _waits(report)})
    if evidence.is_open:
        notes += [_LOST.format(one=one) for one in evidence.asks or [] if one.id in evidence.lost]
        _note_closed_downstreams(evidence, notes)
        if evidence.asks is None and not holds:
            notes.append(_UNTOLD)
        verdict = _runs(evidence, holds)
        return report.model_copy(update={"verdict": verdict, "notes": notes})
    return report.model_copy(
        update={
            "state": "unknown" if evidence.status is None else "closed",
            "verdict": _ended(evidence, holds),
            "obstacles": [] if evidence.refused is None else [evidence.refused],
            "notes": notes + ([_RECLAIMED_SOON] if holds else []),
        }
    )


def _obstacles(evidence: Evidence, notes: list[str]) -> list[Obstacle]:
    found = list(evidence.calls)
    in_line = {view.id: view for view in evidence.views}
    breakers = {
        name: in_the_breaker(view, evidence.now_ms) for name, view in evidence.breakers.items()
    }
    for ask in evidence.asks or []:
        breaker = None if ask.downstream is None else breakers.get(ask.downstream)
        if ask.state == "held":
            continue
        if ask.id in in_line:
            if breaker is not None:
                found.append(breaker)
            continue  # what its ledger says of it follows
        outlook = evidence.outlooks.get(ask.id)
        ahead = None if outlook is None else foreseen(ask, outlook)
        if ahead is not None:
            found.append(ahead)
        said = as_the_job_says(ask, breaker, outlook)
        if said is not None and said.code in BEFORE_BREAKERS and outlook is not None:
            # The same, as it was a while ago; once it is over, it matters only when nothing else is
            # in the way that it goes on when it next asks.
            said = said if ahead is None and breaker is None else None
        if breaker is not None:
            # What holds now, and not before the job asks again.
            until = breaker.changes_at_ms
            if until is not None and ask.retry_at_ms is not None:
                breaker = breaker.model_copy(update={"changes_at_ms": max(until, ask.retry_at_ms)})
            found.append(breaker)
            if ask.state == "asking" or (said is not None and said.code in OF_BREAKERS):
                continue  # the same, as it was a while ago
        if said is not None:
            found.append(said)
        if ask.state == "in_line" and not evidence.notes:
            notes.append(
                f"its ledger has no request {ask.id}: it has just been served, or was taken out"
            )
    for view in evidence.views:
        obstacle = in_the_ledger(view, evidence.pools.get((view.tenant, told_of(view))))
        if obstacle is not None:
            found.append(obstacle)
    return found


def _tenants(evidence: Evidence) -> list[str]:
    """Return for whom the job is, also where what is in its way is nobody's, such as a breaker.

    Only what it says itself, and what ledgers have under its own id: not what merely names it. One
    of which nobody knows anything is for whom its description says.
    """
    said = {ask.tenant for ask in evidence.asks or []} | {view.tenant for view in evidence.views}
    held_back = [*evidence.calls, *([evidence.refused] if evidence.refused else [])]
    said |= {one.tenant for one in held_back if one.tenant is not None}
    return sorted(said or ({evidence.tenant} if evidence.tenant is not None else set()))


def _holds(evidence: Evidence) -> list[Held]:
    downstreams = {ask.id: ask.downstream for ask in evidence.asks or []}
    held = {
        view.id: Held(
            id=view.id,
            tenant=view.tenant,
            resource=view.resource,
            units=view.units,
            downstream=downstreams.get(view.id),
            since_ms=view.since_ms,
            expires_at_ms=view.expires_at_ms,
        )
        for view in evidence.views
        if view.state == "held"
    }
    for ask in evidence.asks or []:
        if ask.state == "held" and ask.id not in held and ask.id not in evidence.lost:
            held[ask.id] = Held(
                id=ask.id,
                tenant=ask.tenant,
                resource=ask.resource,
                units=ask.units,
                downstream=ask.downstream,
                since_ms=ask.since_ms,
            )
    return list(held.values())


def _note_closed_downstreams(evidence: Evidence, notes: list[str]) -> None:
    """A job that has its permit may still be kept from the call itself."""
    for name in sorted({ask.downstream for ask in evidence.asks or [] if ask.downstream}):
        view = evidence.breakers.get(name)
        obstacle = None if view is None else in_the_breaker(view, evidence.now_ms)
        if obstacle is not None:
            notes.append(f"its calls may be refused: {obstacle.message}")


# In words ----------------------------------------------------------------------------------------


def headline(obstacle: Obstacle) -> str:
    """Return an obstacle in as few words as will do."""
    one = obstacle
    place = f", number {one.position} in line" if (one.position or 0) > 1 else ""
    if one.code is ReasonCode.POOL_USED_UP and one.pool and one.used is not None and one.limit:
        part = f"{one.used} of its {one.limit}"
        if one.used > one.limit:
            part = f"{one.used}, {one.used - one.limit} more than its part now"
        return f"the part of {one.tenant} in pool {one.pool} is used up: it holds {part}{place}"
    if one.code is ReasonCode.QUOTA_USED_UP and one.tenant and one.resource:
        return (
            f"the quota of {one.tenant} is used up: it holds {one.used} of {one.limit} "
            f"{one.resource}{place}"
        )
    if not place or one.code is ReasonCode.QUEUED:
        return one.message
    message = one.message.partition(", number ")[0]
    # Nobody in line gets anything, so the place in it does not matter now.
    return message if one.code in ENDED_BY_PEOPLE else message + place


def when(obstacle: Obstacle, now_ms: int) -> str:
    """Return when an obstacle may be out of the way, saying how sure that is."""
    at_ms = obstacle.changes_at_ms
    if obstacle.code is ReasonCode.UNAVAILABLE:
        return "it asks again until it gets an answer"
    if at_ms is None:
        if obstacle.code in ENDED_BY_PEOPLE:
            return "until people end it"
        return "until people change that" if obstacle.code in BEFORE_BREAKERS else _NOBODY_KNOWS
    return _in(at_ms, now_ms, estimate=obstacle.estimate)


def _in(at_ms: int, now_ms: int, *, estimate: bool) -> str:
    left = lasting(abs(at_ms - now_ms))
    if estimate and at_ms <= now_ms:
        # An estimate is of the ledger's last change, by how long permits were held until then.
        return f"expected {left} ago (estimate), and takes longer"
    if at_ms <= now_ms:
        return "that may change any moment"
    if estimate:
        return f"likely in about {left} (estimate)"
    return f"not before {utc(at_ms)}, in {left}"


def _waits(report: WhyReport) -> str:
    first = report.obstacles[0]
    also = len(report.obstacles) - 1
    said = headline(first)
    text = f"waits: {said}" + (" " if said.endswith("?") else "; ")
    if also:
        text += f"and {also} more in its way; "
    if report.goes_on_at_ms is None or first.code is ReasonCode.UNAVAILABLE:
        return text + when(first, report.at_ms)
    at = _in(report.goes_on_at_ms, report.at_ms, estimate=report.estimate)
    return text + (f"next permit {at}" if report.estimate else at)


def _runs(evidence: Evidence, holds: list[Held]) -> str:
    if holds:
        first = holds[0]
        more = f" and {len(holds) - 1} more" if len(holds) > 1 else ""
        since = lasting(evidence.now_ms - first.since_ms)
        return (
            f"runs: it holds {first.units} {first.resource} of {first.tenant} since {since}{more}, "
            "and waits for nothing"
        )
    if evidence.asks is None:
        return "runs: no ledger knows that it waits or holds anything"
    return "runs: it asks for no permit now, and holds none"


def _ended(evidence: Evidence, holds: list[Held]) -> str:
    still = _still(holds) or " and waits for nothing"
    if evidence.status is None:
        return f"unknown: Temporal knows no workflow {evidence.workflow_id}{still}"
    ended = "" if evidence.closed_at_ms is None else f" at {utc(evidence.closed_at_ms)}"
    if evidence.refused is not None:
        return f"closed: it failed{ended}, refused: {evidence.refused.message}{_still(holds)}"
    return f"closed: it ended{ended} ({evidence.status.lower()}){still}"


def _still(holds: list[Held]) -> str:
    return f", but still holds {len(holds)} of its permits" if holds else ""
