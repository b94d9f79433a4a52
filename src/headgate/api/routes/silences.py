"""Silences: alerts that people do not want to hear of for a while."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field, model_validator

from headgate.api.access import Operator, Viewer
from headgate.api.paging import Cursor, Limit, Page, part_of
from headgate.api.problems import ProblemError, not_found
from headgate.api.service import Service, service_of
from headgate.api.writes import Adding, Done, Reason
from headgate.gate.clock import now_ms
from headgate.model.alert import Severity
from headgate.model.contract import Contract
from headgate.model.notifier import KnownKinds, Pattern
from headgate.model.silence import MOST_SILENT_MS, Silence
from headgate.orchestrator.times import utc

router = APIRouter(prefix="/v1/silences", tags=["alerts"])

_LOOKED_AT = 1_000
_Pattern = Annotated[Pattern, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]


class SilenceOrder(Contract):
    """Which alerts nobody is told of for a while; what is named must all fit.

    They are recorded all the same, and who was told that something is wrong is still told that it
    is over.

    Attributes:
        kind: Kinds of alerts, such as ``quota.*``; ``*``: all.
        severity: How grave.
        subject: About what, such as ``tenant/acme*``.
        tenant: Whose; ``acme-*``: of all that begin so.
        for_ms: How long.
        reason: Why; it stands in the audit.
        dry_run: Answer what it would concern, change nothing.
    """

    kind: KnownKinds | None = None
    severity: Severity | None = None
    subject: _Pattern | None = None
    tenant: _Pattern | None = None
    for_ms: Annotated[int, Field(ge=1_000, le=MOST_SILENT_MS)]
    reason: Reason
    dry_run: bool = False

    @model_validator(mode="after")
    def _says_which(self) -> "SilenceOrder":
        if not any((self.kind, self.severity, self.subject, self.tenant)):
            raise ValueError(
                "nothing says which alerts: name kind, severity, subject or tenant (kind * for all)"
            )
        return self


class EndOrder(Contract):
    """Why a silence ends before its time."""

    reason: Reason
    dry_run: bool = False


class Silenced(BaseModel):
    """A silence, and what it concerns.

    Attributes:
        silence: As it is, or was, or would be.
        open_alerts: So many of the alerts that are open now are such.
        message: What is done, in words.
    """

    silence: Silence
    open_alerts: int
    message: str


@router.get("")
async def list_silences(
    request: Request, _: Viewer, limit: Limit = 200, cursor: Cursor = None
) -> Page[Silence]:
    """List the silences that hold, the first to end first."""
    return part_of(await service_of(request).silences.in_force(), limit, cursor)


@router.post("")
async def silence(write: Adding, principal: Operator, body: SilenceOrder) -> Done[Silenced]:
    """Tell nobody of some alerts for a while."""
    service, now = write.service, now_ms()
    id = await write.begin(principal, body, None, "silence")
    made = Silence(
        id=id,
        kind=body.kind,
        severity=body.severity,
        subject=body.subject,
        tenant=body.tenant,
        until_ms=now + body.for_ms,
        actor=principal.name,
        reason=body.reason,
    )
    if not body.dry_run:
        entry = made.entry("silence", principal.name, body.reason, now, id)
        if not await service.silences.add(made, [entry]):
            there = await service.silences.one(id)
            if there is None or there != made.model_copy(update={"until_ms": there.until_ms}):
                raise ProblemError(
                    422, "request_id_reused", f"{id!r} is the id of another silence: use a new one"
                )
            made = there
    found = await _concerned(
        service, made, f"tell nobody of alerts with {made.words} until {utc(made.until_ms)}"
    )
    return write.done(id, body.dry_run, None, "", found)


@router.post("/{id:segment}/end")
async def end(
    write: Adding,
    principal: Operator,
    id: Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")],
    body: EndOrder,
) -> Done[Silenced]:
    """End a silence before its time."""
    service = write.service
    request_id = await write.begin(principal, body, None, f"silence/{id}")
    absent = not_found(f"no silence {id!r} holds; GET /v1/silences lists those that do")
    one = await service.silences.one(id)
    if one is None:
        raise absent
    if body.dry_run:
        ended = one in await service.silences.in_force()
    else:
        entry = one.entry("unsilence", principal.name, body.reason, now_ms(), request_id)
        ended = await service.silences.end(id, entry)
    if not ended:
        raise absent
    found = await _concerned(service, one, f"tell of alerts with {one.words} again")
    return write.done(request_id, body.dry_run, None, "", found)


async def _concerned(service: Service, silence: Silence, message: str) -> Silenced:
    still = await service.alerts.recent(_LOOKED_AT, is_open=True)
    count = sum(silence.covers(one.alert) for one in still)
    now = f"{count} of {len(still)} open alert{'' if len(still) == 1 else 's'} "
    return Silenced(
        silence=silence,
        open_alerts=count,
        message=f"{message}; {now}{'is' if count == 1 else 'are'} such",
    )
