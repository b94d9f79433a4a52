"""Downstreams and their breakers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, model_validator

from headgate.api.access import Operator, Viewer
from headgate.api.paging import Cursor, Fresh, Limit, Page, Search, page_of, read
from headgate.api.reads import fresh, one, tag
from headgate.api.service import service_of
from headgate.api.writes import Done, ForATime, Reason, Writing
from headgate.gate.clock import now_ms
from headgate.model.breaker import (
    BreakerAction,
    BreakerCommand,
    BreakerState,
    BreakerView,
    OutcomeSpan,
    ThrottleShare,
    Transition,
)
from headgate.model.contract import Millis, Name
from headgate.orchestrator.operate import command_breaker
from headgate.store.pages import Saved
from headgate.view.margin import Margin, margin

router = APIRouter(prefix="/v1/downstreams", tags=["downstreams"])

_DAY_MS = 86_400_000


class Downstream(Fresh[BreakerView]):
    """A breaker as it was last saved, and how far it is from opening."""

    margin: Margin


class Outcomes(BaseModel):
    """What ended when, in stretches of 10 s, the oldest first."""

    items: list[OutcomeSpan]


class BreakerOrder(ForATime):
    """What to do to a breaker.

    Attributes:
        action: ``force_open``: no call passes. ``force_closed``: every call passes. ``shadow``:
            every call passes, and what it would have done is recorded. ``throttle``: at most
            ``share`` of the calls passes. ``resume``: end what was set. ``reset``: end what was
            set, forget all outcomes and close.
        reason: Why; it stands in the audit.
        for_ms: How long it holds; null, and ``until_ms`` too: until ``resume``.
        until_ms: In place of ``for_ms``: until when, Unix time.
        share: For ``throttle``, and only for it.
        dry_run: Answer what it would be, change nothing.
    """

    action: BreakerAction
    reason: Reason
    share: ThrottleShare | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _share_fits(self) -> "BreakerOrder":
        if (self.action == "throttle") != (self.share is not None):
            raise ValueError("share goes with the action throttle, and only with it")
        return self


@router.get("")
async def list_downstreams(
    request: Request,
    _: Viewer,
    limit: Limit = 50,
    cursor: Cursor = None,
    search: Search = None,
    state: Annotated[list[BreakerState] | None, Query(description="Only these.")] = None,
) -> Page[Downstream]:
    """List breakers by name."""
    after = read(cursor, str)
    saved = await service_of(request).pages.page(
        "breaker",
        limit + 1,
        search=search,
        states=None if state is None else [one.value for one in state],
        after=None if after is None else str(after[0]),
    )
    return page_of(saved, limit, lambda row: (row.subject,), _shown)


@router.get("/{downstream:segment}")
async def get_downstream(
    request: Request, response: Response, _: Viewer, downstream: Name
) -> Downstream:
    """Show one breaker."""
    saved = await one(service_of(request), "breaker", downstream)
    tag(response, saved.revision)
    return _shown(saved)


@router.get("/{downstream:segment}/transitions")
async def list_transitions(
    request: Request,
    _: Viewer,
    downstream: Name,
    limit: Limit = 50,
    cursor: Cursor = None,
    since_ms: Annotated[Millis, Query(description="Only from then on, Unix time.")] = 0,
) -> Page[Transition]:
    """List the changes of state of a breaker with their causes, the latest first."""
    service, before = service_of(request), read(cursor, int)
    await one(service, "breaker", downstream)
    found = await service.pages.transitions(
        downstream, limit + 1, None if before is None else int(before[0]), since_ms
    )
    return page_of(found, limit, lambda step: (step.epoch,), lambda step: step)


@router.get("/{downstream:segment}/outcomes")
async def list_outcomes(
    request: Request,
    _: Viewer,
    downstream: Name,
    since_ms: Annotated[
        Millis | None, Query(description="From then on, Unix time; at most a day; an hour if not.")
    ] = None,
) -> Outcomes:
    """List how calls ended, in stretches of 10 s."""
    service, now = service_of(request), now_ms()
    await one(service, "breaker", downstream)
    since = max(now - _DAY_MS, now - 3_600_000 if since_ms is None else since_ms)
    spans = await service.snapshots.outcome_spans(downstream, since)
    return Outcomes(items=[span for _, span in spans])


@router.post("/{downstream:segment}/commands")
async def command(
    write: Writing, principal: Operator, downstream: Name, body: BreakerOrder
) -> Done[BreakerView]:
    """Force, shadow, throttle, resume or reset a breaker."""
    service = write.service
    id = await write.begin(principal, body, "breaker", downstream)
    order = write.order(BreakerCommand, id, principal, body)
    view = await command_breaker(await service.temporal.client(), downstream, order)
    return write.done(id, body.dry_run, "breaker", downstream, view, view.revision)


def _shown(saved: Saved) -> Downstream:
    found = fresh(saved, BreakerView)
    return Downstream(**dict(found), margin=margin(found.data))
