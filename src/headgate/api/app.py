"""The application: routes, errors, bounds."""

from typing import Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.responses import Response
from starlette.types import ASGIApp

from headgate.api import problems
from headgate.api.access import ANYONE, require_declared
from headgate.api.bounds import Bounds
from headgate.api.dashboard import pages
from headgate.api.dashboard.render import NotLoggedInError, error_page
from headgate.api.routes import (
    alerts,
    audit,
    backtest,
    configuration,
    downstreams,
    events,
    health,
    jobs,
    metrics,
    pools,
    silences,
    tenants,
    throttles,
)
from headgate.api.segments import Segments
from headgate.api.service import Service
from headgate.version import __version__

_ROUTERS = (
    downstreams.router,
    tenants.router,
    throttles.router,
    pools.router,
    pools.backpressure,
    jobs.router,
    alerts.router,
    silences.router,
    audit.router,
    configuration.router,
    backtest.router,
    events.router,
    metrics.router,
    health.router,
)
_ERRORS = {
    "400": "The request cannot be understood.",
    "401": "Nobody is logged in.",
    "403": "This needs another role.",
    "404": "There is no such thing, or not for you.",
    "409": "It was refused.",
    "412": "Somebody has changed it since `If-Match`.",
    "413": "The request is too large.",
    "422": "The request says something that makes no sense.",
    "429": "Too many requests; see `Retry-After`.",
    "503": "Temporal or Postgres does not answer; see `Retry-After`.",
}


def create_app(service: Service) -> FastAPI:
    """Return the API.

    Raises:
        RuntimeError: A route does not say who may call it.
    """
    # The pages that FastAPI has for documentation load scripts from elsewhere.
    app = FastAPI(
        title="Headgate",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for router in _ROUTERS:
        app.include_router(router)

    @app.get("/v1/openapi.json", include_in_schema=False, dependencies=[Depends(ANYONE)])
    async def openapi(request: Request) -> JSONResponse:
        return JSONResponse(described(request.app))

    app.include_router(pages.router)

    async def ask_to_log_in(request: Request, _: Exception) -> Response:
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'to': to})}", 303)

    app.add_exception_handler(NotLoggedInError, ask_to_log_in)
    problems.install(app, error_page)
    require_declared(app)
    return app


def asgi(service: Service) -> ASGIApp:
    """Return the API as it is served: every answer, also to what fails, has the headers."""
    return Bounds(Segments(create_app(service)), service.settings.most_body)


def described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with errors as problem documents."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        summary="Circuit breakers, tenant quotas and fair pools for job orchestrators.",
        description=(
            "Reads come from Postgres and say how old they are. Writes go to workflows: they need "
            "a reason, take an `Idempotency-Key`, an `If-Match` and `dry_run`, and stand in the "
            "audit."
        ),
        routes=app.routes,
    )
    components = schema["components"]["schemas"]
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    components["Problem"] = problems.Problem.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if path in ("/healthz", "/readyz"):
                operation["responses"].pop("422", None)
                continue
            for status, description in _ERRORS.items():
                operation["responses"][status] = {"description": description, "content": content}
    app.openapi_schema = schema
    return schema
