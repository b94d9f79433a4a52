"""The applied configuration, as `headgate apply` takes it back."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from headgate.api.access import Viewer
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.orchestrator.times import utc
from headgate.view.exported import plain, to_yaml

router = APIRouter(prefix="/v1/configuration", tags=["configuration"])

_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {}},
        }
    }
}


@router.get("", response_class=Response, responses=_CONTENT)
async def export(
    request: Request,
    _: Viewer,
    format: Annotated[
        Literal["json", "yaml"], Query(description="Both are taken back by `headgate apply`.")
    ] = "json",
) -> Response:
    """Export the configuration that was last applied, as `headgate export` does.

    What has its default value is left out, comments are not kept, and what operators have set for a
    time is no part of it: see `/v1/throttles`. Secrets never stand in it.
    """
    document = plain(await service_of(request).configuration.load())
    if format == "json":
        return JSONResponse(document)
    return Response(to_yaml(document, utc(now_ms())), media_type="application/yaml")
