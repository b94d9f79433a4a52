"""Whether this process lives and can do its work, whether the work flows; and who one is."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from headgate.api.access import ANYONE, OwnViewer, Viewer
from headgate.api.principal import How
from headgate.api.service import service_of
from headgate.gate.clock import now_ms
from headgate.model.errors import HeadgateError
from headgate.store.migrate import require_current
from headgate.version import __version__
from headgate.view.status import Status

router = APIRouter(tags=["health"])
_PATIENCE_S = 3.0


class Health(BaseModel):
    """This process lives."""

    status: Literal["ok"] = "ok"
    version: str = __version__


class Readiness(BaseModel):
    """Whether what is needed answers: Postgres for everything, Temporal for writes."""

    status: Literal["ready", "read_only", "not_ready"]
    postgres: bool
    temporal: bool


class Me(BaseModel):
    """Who one is, and what one may do."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    how: How
    tenant: str | None = None


@router.get("/healthz", dependencies=[Depends(ANYONE)])
async def healthz() -> Health:
    """Tell that this process lives."""
    return Health()


@router.get("/readyz", dependencies=[Depends(ANYONE)], responses={503: {"model": Readiness}})
async def readyz(request: Request, response: Response) -> Readiness:
    """Tell whether Postgres and Temporal answer; 503 while Postgres does not."""
    service = service_of(request)

    async def postgres() -> bool:
        try:
            await asyncio.wait_for(require_current(service.database), _PATIENCE_S)
        except (HeadgateError, TimeoutError):
            return False
        return True

    async def temporal() -> bool:
        try:
            client = await asyncio.wait_for(service.temporal.client(), _PATIENCE_S)
            return await asyncio.wait_for(client.service_client.check_health(), _PATIENCE_S)
        except Exception:
            return False

    database, server = await asyncio.gather(postgres(), temporal())
    response.status_code = 200 if database else 503
    found: Literal["ready", "read_only", "not_ready"] = "not_ready"
    if database:
        found = "ready" if server else "read_only"
    return Readiness(status=found, postgres=database, temporal=server)


@router.get("/v1/status")
async def status(request: Request, _: Viewer) -> Status:
    """Tell whether work flows, and what needs attention first."""
    return await service_of(request).overview.status(now_ms())


@router.get("/v1/me")
async def me(principal: OwnViewer) -> Me:
    """Tell who one is."""
    role: Literal["viewer", "operator", "admin"]
    role = ("viewer", "operator", "admin")[principal.role - 1]
    return Me(name=principal.name, role=role, how=principal.how, tenant=principal.tenant)
