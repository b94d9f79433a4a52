"""The audit: who changed what and why, and who was denied."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from headgate.api.access import Viewer
from headgate.api.paging import Cursor, Limit, Page, page_of, read
from headgate.api.service import service_of
from headgate.model.contract import Millis
from headgate.store.audit import AuditLine

router = APIRouter(prefix="/v1/audit", tags=["audit"])

Text = Annotated[str | None, Query(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]


@router.get("")
async def list_audit(
    request: Request,
    _: Viewer,
    limit: Limit = 50,
    cursor: Cursor = None,
    actor: Text = None,
    target: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=500,
            pattern=r"^[^\x00-\x1f]+$",
            description="Of this and what is below it, such as `breaker/scanner`, `ledger/acme`.",
        ),
    ] = None,
    search: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=500,
            pattern=r"^[^\x00-\x1f]+$",
            description="Only what has this in its target, such as `acme`.",
        ),
    ] = None,
    action: Text = None,
    since_ms: Millis | None = None,
    until_ms: Millis | None = None,
) -> Page[AuditLine]:
    """List changes and denials, the latest first."""
    before = read(cursor, int)
    found = await service_of(request).audit.lines(
        limit + 1,
        before_id=None if before is None else int(before[0]),
        actor=actor,
        target=target,
        search=search,
        action=action,
        since_ms=since_ms,
        until_ms=until_ms,
    )
    return page_of(found, limit, lambda line: (line.id,), lambda line: line)
