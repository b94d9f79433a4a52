"""The metrics of the service, for Prometheus."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from headgate.api.access import Viewer
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.monitoring.exposition import CONTENT_TYPE, MOST_TENANTS, render

router = APIRouter(tags=["metrics"])

_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/metrics", response_class=Response, responses=_CONTENT)
async def metrics(
    request: Request,
    _: Viewer,
    tenants: Annotated[
        int,
        Query(
            ge=0, le=10_000, description="So many have a label of their own, the rest is `other`."
        ),
    ] = MOST_TENANTS,
) -> Response:
    """Tell what Postgres has, in Prometheus' text format."""
    return Response(
        await render(service_of(request).database, now_ms(), tenants),
        headers={"Content-Type": CONTENT_TYPE},
    )
