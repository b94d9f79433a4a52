"""Who may call a route: declared on it, checked before it, and an app without it does not start."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, NoReturn

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from headgate.api.authenticate import SESSION, authenticate
from headgate.api.principal import Principal, Role
from headgate.api.problems import ProblemError, not_found, path_asked
from headgate.api.service import Service, service_of
from headgate.orchestrator.mistakes import meant, shown

Scope = Literal["all", "tenant", "own"]
"""Whom a route is for: those of all tenants only; or also those of one tenant, whose name is in the
path (``tenant``), or to whom the route itself shows only what is theirs (``own``)."""

_BEARER: Final = HTTPBearer(
    scheme_name="bearer", description="A key of Headgate, or an OIDC token.", auto_error=False
)
_COOKIE: Final = APIKeyCookie(
    name=SESSION, scheme_name="session", description="The dashboard's login.", auto_error=False
)


def nobody() -> ProblemError:
    """Return the answer to whoever does not say who it is."""
    return ProblemError(
        401,
        "unauthenticated",
        "send a key: Authorization: Bearer hgk_... (headgate keys create makes one)",
        headers={"WWW-Authenticate": 'Bearer realm="headgate"'},
    )


async def deny(
    request: Request, service: Service, principal: Principal | None, error: ProblemError
) -> NoReturn:
    """Write a denial down and raise it; strangers are put off before they fill the audit.

    So is the page of another site, which may have a browser send what it likes.

    Raises:
        ProblemError: Always.
    """
    address = request.client.host if request.client is not None else ""
    is_strange = principal is None or error.code == "cross_site"
    if is_strange and (wait_s := service.strangers.take(address)):
        await put_off(request, service, principal, wait_s)
    await _note(request, service, principal, error)
    raise error


async def put_off(
    request: Request, service: Service, principal: Principal | None, wait_s: float
) -> NoReturn:
    """Answer whoever asks too often; it is written down once a minute, and not each time.

    Raises:
        ProblemError: Always.
    """
    error = ProblemError(429, "too_many", "ask again after Retry-After", retry_after_s=wait_s)
    address = request.client.host if request.client is not None else ""
    if not service.put_off.take(address if principal is None else principal.id):
        await _note(request, service, principal, error)
    raise error


async def _note(
    request: Request, service: Service, principal: Principal | None, error: ProblemError
) -> None:
    address = request.client.host if request.client is not None else ""
    await service.audit.note(
        actor="nobody" if principal is None else principal.name,
        how="none" if principal is None else principal.described,
        action="denied",
        target=f"{request.method} {path_asked(request.scope)}"[:500],
        reason=error.detail,
        after={"status": error.status, "code": error.code, "address": address},
    )


class Guard:
    """Lets a request pass when its sender may call the route; every denial is in the audit.

    Args:
        role: What it takes.
        scope: Whether those of one tenant may call it at all.
    """

    def __init__(self, role: Role, scope: Scope = "all") -> None:
        self.role, self.scope = role, scope

    async def admit(self, request: Request) -> Principal:
        """Return who calls.

        Raises:
            ProblemError: It may not.
        """
        service = service_of(request)
        try:
            principal = await authenticate(request, service)
        except ProblemError as error:
            await deny(request, service, error.principal, error)
        if principal is None:
            await self.ask_who(request, service)
        if wait_s := service.rates.take(principal.id):
            await put_off(request, service, principal, wait_s)
        if (refusal := self._refusal(request, principal)) is not None:
            await deny(request, service, principal, refusal)
        request.state.principal = principal
        return principal

    async def ask_who(self, request: Request, service: Service) -> NoReturn:
        """Answer a request that does not say who sends it.

        Raises:
            ProblemError: That this is denied.
        """
        await deny(request, service, None, nobody())

    def _refusal(self, request: Request, principal: Principal) -> ProblemError | None:
        if principal.tenant is not None:
            if self.scope == "all":
                return ProblemError(
                    403, "forbidden", f"{principal.name} may only see tenant {principal.tenant}"
                )
            asked = request.path_params.get("tenant")
            if self.scope == "tenant" and asked != principal.tenant:
                return not_found(f"there is no tenant {asked!r}")
        if principal.role < self.role:
            return ProblemError(
                403,
                "forbidden",
                f"this takes the role {self.role.name.lower()}, and {principal.name} is "
                f"{principal.role.name.lower()}",
            )
        return None


class Access(Guard):
    """The guard of a route of the API; it lets no query pass that the route does not know."""

    async def __call__(
        self,
        request: Request,
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
        _cookie: Annotated[str | None, Security(_COOKIE)],
    ) -> Principal:
        """Return who calls; raises as ``admit``. The other arguments are for the description."""
        principal = await self.admit(request)
        _require_known_query(request)
        return principal


def _require_known_query(request: Request) -> None:
    """Refuse a query with a name that the route does not know: left aside, it looks obeyed.

    Raises:
        ProblemError: There is one.
    """
    known = {
        field.alias
        for dependant in _dependants(request.scope["route"])
        for field in dependant.query_params
    }
    for name in request.query_params:
        if name in known:
            continue
        advice = meant(name, known) if known else "this takes none"
        raise ProblemError(422, "invalid", f"{shown(name)}: there is no such parameter; {advice}")


class Anyone:
    """Declares that a route is for everybody."""

    def __call__(self) -> None:
        """Let pass."""


ANYONE: Final = Anyone()

Viewer = Annotated[Principal, Depends(Access(Role.VIEWER))]
TenantViewer = Annotated[Principal, Depends(Access(Role.VIEWER, "tenant"))]
OwnViewer = Annotated[Principal, Depends(Access(Role.VIEWER, "own"))]
Operator = Annotated[Principal, Depends(Access(Role.OPERATOR))]
TenantOperator = Annotated[Principal, Depends(Access(Role.OPERATOR, "tenant"))]
Admin = Annotated[Principal, Depends(Access(Role.ADMIN))]


def declared(route: APIRoute) -> Guard | Anyone | None:
    """Return who may call a route; None: it does not say."""
    for dependant in _dependants(route):
        if isinstance(dependant.call, Guard | Anyone):
            return dependant.call
    return None


def _dependants(route: APIRoute) -> Iterator[Dependant]:
    """Yield what a route depends on, itself first."""
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        yield dependant
        waiting += dependant.dependencies


def routes_of(app: FastAPI) -> Iterator[object]:
    """Yield every route of an app, also those of the routers that it includes."""
    waiting: list[object] = list(app.routes)
    while waiting:
        route = waiting.pop(0)
        included = getattr(route, "original_router", None)
        if isinstance(included, APIRouter):
            waiting += included.routes
        else:
            yield route


def require_declared(app: FastAPI) -> None:
    """Refuse to serve an app with a route that does not say who may call it.

    Raises:
        RuntimeError: There is one.
    """
    silent = [
        str(getattr(route, "path", route))
        for route in routes_of(app)
        if not isinstance(route, APIRoute) or declared(route) is None
    ]
    if silent:
        raise RuntimeError(f"nobody has declared who may call {', '.join(silent)}")
