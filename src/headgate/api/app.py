"""The application: routes, errors, bounds."""

from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.responses import Response
from starlette.types import ASGIApp

from headgate.api import problems
from headgate.api.access import ANYONE, require_declared
from headgate.api.bounds import Bounds
from headgate.api.compressed import Compressed
from headgate.api.dashboard import house, pages
from headgate.api.dashboard.render import NotLoggedInError, error_page
from headgate.api.description import described
from headgate.api.routes import (
    alerts,
    audit,
    backtest,
    channels,
    configuration,
    downstreams,
    events,
    health,
    jobs,
    keys,
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
    channels.router,
    keys.router,
    audit.router,
    configuration.router,
    backtest.router,
    events.router,
    metrics.router,
    health.router,
)


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
    app.include_router(house.router)

    async def ask_to_log_in(request: Request, _: Exception) -> Response:
        to = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'to': to})}", 303)

    app.add_exception_handler(NotLoggedInError, ask_to_log_in)
    problems.install(app, error_page)
    require_declared(app)
    return app


def asgi(service: Service) -> ASGIApp:
    """Return the API as it is served: every answer, also to what fails, has the headers."""
    pages_and_api = Compressed(Segments(create_app(service)))
    return Bounds(pages_and_api, service.settings.most_body)
