"""What operators have set that still holds, and pauses and cuts of a resource for all tenants."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import Field

from headgate.api.access import Operator, Viewer
from headgate.api.paging import Cursor, Limit, Page, part_of
from headgate.api.service import service_of
from headgate.api.writes import Adding, Done, ForATime, Reason, require_accepted
from headgate.gate.clock import now_ms
from headgate.model.contract import Contract, Name
from headgate.model.ledger import LedgerCommand, Lift
from headgate.model.quota import Throttle
from headgate.orchestrator.holders import Answered
from headgate.orchestrator.throttles import (
    InForce,
    ResourceThrottles,
    Spread,
    lift_anywhere,
    throttles_in_force,
)

router = APIRouter(prefix="/v1/throttles", tags=["throttles"])


class ThrottleOrder(ForATime):
    """A pause or a cut of a resource, for all tenants.

    Attributes:
        resource: Of what; ``*``: of all.
        share: What is left of every limit; 0: nothing is granted.
        for_ms: How long it holds; null, and ``until_ms`` too: until it is lifted.
        until_ms: In place of ``for_ms``: until when, Unix time.
        reason: Why; it stands in the audit.
        dry_run: Answer whom it would concern, change nothing.
    """

    resource: Name | Literal["*"]
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    reason: Reason
    dry_run: bool = False


class LiftOrder(Contract):
    """Why something ends before its time."""

    reason: Reason
    dry_run: bool = False


@router.get("")
async def list_throttles(
    request: Request, _: Viewer, limit: Limit = 200, cursor: Cursor = None
) -> Page[InForce]:
    """List all that operators have set and that still holds, wherever it does."""
    found = await throttles_in_force(service_of(request).database, now_ms())
    return part_of(found, limit, cursor)


@router.post("")
async def throttle(write: Adding, principal: Operator, body: ThrottleOrder) -> Done[Spread]:
    """Pause or cut a resource for all tenants."""
    service = write.service
    id = await write.begin(principal, body, None, f"resource/{body.resource}")
    now, lasts_ms = now_ms(), body.lasts_ms()
    wanted = Throttle(
        id=id,
        resource=body.resource,
        share=body.share,
        until_ms=None if lasts_ms is None else now + lasts_ms,
        actor=principal.name,
        reason=body.reason,
        since_ms=now,
    )
    throttles = ResourceThrottles(
        await service.temporal.client(), service.database, service.task_queue, service.options
    )
    spread = await throttles.set(wanted, dry_run=body.dry_run)
    return write.done(id, body.dry_run, None, "", spread)


@router.post("/{id:segment}/lift")
async def lift(
    write: Adding,
    principal: Operator,
    id: Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")],
    body: LiftOrder,
) -> Done[Spread | Answered]:
    """End a throttle or an override by its id, of all tenants or of one."""
    service = write.service
    request_id = await write.begin(principal, body, None, f"throttle/{id}")
    order = LedgerCommand(
        id=request_id,
        actor=principal.name,
        reason=body.reason,
        action=Lift(id=id),
        dry_run=body.dry_run,
    )
    ended = await lift_anywhere(
        await service.temporal.client(),
        service.database,
        order,
        now_ms(),
        service.task_queue,
        service.options,
    )
    if isinstance(ended, Spread):
        return write.done(request_id, body.dry_run, None, "", ended)
    require_accepted(ended.reply)
    return write.done(request_id, body.dry_run, "ledger", ended.tenant, ended, ended.reply.revision)
