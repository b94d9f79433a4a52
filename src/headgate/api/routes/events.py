"""Live updates: what has changed, as server-sent events."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from headgate.api.access import OwnViewer
from headgate.api.authenticate import authenticate
from headgate.api.problems import ProblemError
from headgate.api.service import service_of
from headgate.model.errors import UnavailableError

router = APIRouter(prefix="/v1/events", tags=["events"])


class Events(StreamingResponse):
    """A stream of events, for the description."""

    media_type = "text/event-stream"


@router.get("", response_class=Events)
async def events(
    request: Request,
    principal: OwnViewer,
    after: Annotated[
        int | None,
        Query(ge=0, le=2**62, description="The same for the first time, as a page has it."),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=30, pattern=r"^[0-9]{0,18}$", description="To go on after it."),
    ] = None,
) -> Events:
    """Tell what changes: `changed` names workflows, `reset`: all may have, `stale`: nobody knows.

    Of the kind `alerts` are alerts, where they went, and silences: its subject is the tenant they
    are about, or nothing. Of the kind `audit` are new lines of it.
    Goes on after `Last-Event-ID`. Whoever is limited to one tenant hears of that one only.
    """
    service = service_of(request)
    if service.feed.watchers >= service.settings.most_streams:
        raise ProblemError(429, "too_many", "too many watch already", retry_after_s=30)
    after = int(last_event_id) if last_event_id else after

    async def stream() -> AsyncIterator[str]:
        yield "retry: 2000\n: headgate\n\n"
        heard = asked = time.monotonic()
        quiet_s = service.settings.listen_s
        # However much there is to tell: looked after more often than that, and also in between.
        async for batch in service.feed.watch(after, quiet_s / 3):
            now = time.monotonic()
            if now - asked >= quiet_s:
                # A key may have been revoked meanwhile, or a session have ended.
                try:
                    if await authenticate(request, service) != principal:
                        return
                except (ProblemError, UnavailableError):
                    return
                asked = now
            text = None if batch is None else batch.written(principal.tenant)
            if text is None and now - heard >= quiet_s:
                text = ": still here\n\n"
            if text is not None:
                heard = now
                yield text

    return Events(stream())
