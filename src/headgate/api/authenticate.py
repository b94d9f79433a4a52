"""From a request to who sends it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from headgate.api.oidc import TokenError
from headgate.api.principal import ROLES, Principal, Role
from headgate.api.problems import ProblemError
from headgate.api.service import Service
from headgate.store.keys import KEY_PREFIX, ApiKey

SESSION: Final = "headgate-session"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def session_cookie(request: Request, service: Service) -> tuple[str, bool]:
    """Return the name of the cookie, and whether it only travels over https.

    The prefix makes browsers refuse it from anywhere but this very host, over https.
    """
    secure = own_origin(request, service).startswith("https://")
    return (f"__Host-{SESSION}" if secure else SESSION), secure


def own_origin(request: Request, service: Service) -> str:
    """Return the origin under which browsers know this API."""
    if service.settings.public_url is not None:
        parts = urlsplit(service.settings.public_url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


async def authenticate(request: Request, service: Service) -> Principal | None:
    """Return who sends a request; None: it does not say.

    What a browser sends by itself, a cookie or the mere place it runs at, is not taken from other
    sites' pages.

    Raises:
        ProblemError: What it says is not so; or it comes from another site.
        UnavailableError: Postgres, or the issuer of tokens, does not answer.
    """
    header = request.headers.get("authorization")
    if header is not None:
        return await _of_header(service, header)
    cookie, _ = session_cookie(request, service)
    if (token := request.cookies.get(cookie)) is not None:
        key = await service.keys.session(token)
        if key is not None:
            principal = _of_key(key, "session")
            with _refusing(principal):
                require_same_site(request, service)
            return principal
    if (open_as := await service.open_as()) is not None:
        # A name that leads here although it is not ours: a page that wants to read with our rights.
        if (request.url.hostname or "") not in _LOOPBACK:
            raise ProblemError(
                421, "wrong_host", "without authentication this is only served as localhost"
            )
        principal = Principal(open_as, Role.ADMIN, "open", "open:local")
        with _refusing(principal):
            require_same_site(request, service, unless_plain=True)
        return principal
    return None


@contextmanager
def _refusing(principal: Principal) -> Iterator[None]:
    """Let the audit know whose browser it was that was made to send something."""
    try:
        yield
    except ProblemError as error:
        error.principal = principal
        raise


def require_same_site(request: Request, service: Service, *, unless_plain: bool = False) -> None:
    """Refuse a write that the page of another site has a browser send.

    Args:
        request: The request.
        service: That it is for.
        unless_plain: Let pass what says nothing at all of where it comes from: no browser does so.

    Raises:
        ProblemError: It is one.
    """
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        same = site == "same-origin"
    elif origin is not None:
        same = origin == own_origin(request, service)
    else:
        same = unless_plain
    if not same:
        raise ProblemError(
            403,
            "cross_site",
            "a browser sends this for the page of another site, or does not say for which; "
            "programs send a key in the header Authorization",
        )


async def _of_header(service: Service, header: str) -> Principal:
    kind, _, token = header.partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise _unauthenticated("write Authorization: Bearer, and a key or a token")
    if token.startswith(KEY_PREFIX):
        key = await service.keys.find(token)
        if key is None:
            raise _unauthenticated("the key is unknown, revoked or over")
        return _of_key(key, "key")
    if service.oidc is None:
        raise _unauthenticated("this is no key of Headgate, and tokens are not set up")
    try:
        return await service.oidc.principal(token)
    except TokenError as error:
        raise _unauthenticated(str(error)) from error


def _of_key(key: ApiKey, how: str) -> Principal:
    role = ROLES[key.role]
    if how == "session":
        return Principal(key.name, role, "session", f"key:{key.id}", key.tenant)
    return Principal(key.name, role, "key", f"key:{key.id}", key.tenant)


def _unauthenticated(detail: str) -> ProblemError:
    return ProblemError(
        401, "unauthenticated", detail, headers={"WWW-Authenticate": 'Bearer realm="headgate"'}
    )
