"""Errors as problem documents (RFC 9457), in the words that the command line uses as well."""

import logging
import math
from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope
from temporalio.service import RPCError

from headgate.api.principal import Principal
from headgate.model.contract import NAME_PATTERN
from headgate.model.errors import (
    BelowUsageError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)

_HEADERS: Final = {
    "if-match": 'write the ETag of what it was decided by, such as "17"',
    "idempotency-key": "write up to 200 printable signs without spaces",
    "last-event-id": "write the id of the last event, a number",
}
"""What to write into a header."""

MEDIA_TYPE: Final = "application/problem+json"
_LOG: Final = logging.getLogger("headgate.api")
_TITLES: Final = {
    "bad_request": "The request cannot be understood",
    "unauthenticated": "Nobody is logged in",
    "forbidden": "This needs another role",
    "cross_site": "The request comes from another site",
    "wrong_host": "This address is not served",
    "not_found": "There is no such thing",
    "method_not_allowed": "This cannot be done here",
    "refused": "It was refused",
    "below_usage": "A limit would be below what is held",
    "changed_since": "Somebody has changed it since",
    "too_large": "The request is too large",
    "media_type": "The request is not JSON",
    "invalid": "The request says something that makes no sense",
    "request_id_reused": "The idempotency key stands for another request",
    "too_many": "Too many requests",
    "unavailable": "Something that is needed does not answer",
    "error": "An error of Headgate",
}
_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "media_type",
}


class Problem(BaseModel):
    """A problem document.

    Attributes:
        type: Which kind of problem, as a URI; stable.
        title: The kind in words.
        status: Of HTTP.
        detail: What was wrong, and what to do.
        code: The last part of ``type``.
        instance: What was asked for.
        errors: Which fields are wrong, when several may be.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[dict[str, str]] = []


class ProblemError(Exception):
    """Answers a request with a problem document.

    Args:
        status: Of HTTP.
        code: One of the stable codes.
        detail: What was wrong, and what to do.
        retry_after_s: For ``Retry-After``.
        headers: More headers.

    Attributes:
        principal: Who is refused, where that is known although it may not come in.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = dict(headers or {})
        self.principal: Principal | None = None
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))


def not_found(detail: str) -> ProblemError:
    """Return the answer for what is not there, or is not the caller's to see."""
    return ProblemError(404, "not_found", detail)


def in_public(error: Exception) -> str:
    """Return what a caller is told of an error: no addresses of what stands behind the API."""
    if isinstance(error, RPCError):
        return f"Temporal does not answer ({error.status.name.lower()})"
    text = error.public if isinstance(error, UnavailableError) else str(error)
    return " ".join(text.split())


def path_asked(scope: Scope) -> str:
    """Return the path of a request as it was sent, in which ``a%2Fb`` is one name."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.decode("ascii", "replace")


def document(
    path: str,
    status: int,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> JSONResponse:
    """Return a problem document as an answer."""
    problem = Problem(
        type=f"urn:headgate:problem:{code}",
        title=_TITLES[code],
        status=status,
        detail=detail,
        code=code,
        instance=path,
        errors=errors or [],
    )
    body = problem.model_dump(exclude_defaults=True)
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def install(app: FastAPI, page: Callable[[Request, int, str, str], Response]) -> None:
    """Answer every error with a problem document; in the dashboard, with a page.

    Args:
        app: Whose errors.
        page: Makes a page of a status, a title and what was wrong.
    """

    def answer(
        request: Request,
        status: int,
        code: str,
        detail: str,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> Response:
        path = request.url.path
        is_api = path.startswith("/v1/") or path in ("/healthz", "/readyz", "/metrics")
        if is_api or "text/html" not in request.headers.get("accept", ""):
            return document(path_asked(request.scope), status, code, detail, headers, errors)
        shown = page(request, status, _TITLES[code], detail)
        shown.headers.update(headers or {})
        return shown

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return answer(request, error.status, error.code, error.detail, error.headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError | ValidationError)
        if any(map(_is_unread, error.errors())):
            said = request.headers.get("content-type", "")
            has = f"not as {said}" if said else "which this request does not say"
            expected = f"send it with the header Content-Type: application/json, {has}"
            return answer(request, 415, "media_type", expected)
        errors = [_field(one) for one in error.errors()[:10]]
        detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return answer(request, 400, "bad_request", detail, None, errors)
        return answer(request, 422, "invalid", detail, None, errors)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = str(error.detail)
        if error.status_code == 404:
            detail = "nothing is served there: /v1/openapi.json says what is"
        elif error.status_code == 405:
            takes = (error.headers or {}).get("Allow", "something else")
            detail = f"{request.method} is not taken there, but {takes}"
        code = _CODES.get(error.status_code, "error" if error.status_code >= 500 else "bad_request")
        headers = dict(error.headers or {})
        return answer(request, error.status_code, code, detail, headers)

    async def ours(request: Request, error: Exception) -> Response:
        text = in_public(error)
        if isinstance(error, UnavailableError | RPCError):
            _LOG.warning("%s %s: %s", request.method, path_asked(request.scope), error)
        if isinstance(error, NotFoundError):
            return answer(request, 404, "not_found", text)
        if isinstance(error, ConflictError):
            return answer(request, 412, "changed_since", text)
        if isinstance(error, BelowUsageError):
            detail = f"{error.limits}; repeat it with allow_below_usage"
            return answer(request, 409, "below_usage", detail)
        if isinstance(error, UnavailableError | RPCError):
            return answer(request, 503, "unavailable", text, {"Retry-After": "2"})
        return answer(request, 409, "refused", text)

    async def bug(request: Request, error: Exception) -> Response:
        _LOG.error("%s %s failed", request.method, path_asked(request.scope), exc_info=error)
        detail = "the log of headgate serve has the details"
        return answer(request, 500, "error", detail)

    app.add_exception_handler(ProblemError, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ValidationError, bug)  # what is stored does not fit: not the caller's
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ConfigurationError, ours)
    app.add_exception_handler(UnavailableError, ours)
    app.add_exception_handler(RPCError, ours)
    app.add_exception_handler(Exception, bug)


def _is_unread(error: Any) -> bool:
    """Return whether a body was not read as JSON, because nothing says that it is."""
    return error["loc"] == ("body",) and isinstance(error["input"], bytes)


def _field(error: Any) -> dict[str, str]:
    if error["type"] == "json_invalid":
        why, at = str(error["ctx"]["error"]), error["loc"][-1]
        message = f"is no JSON, from character {at} on: {why[:1].lower()}{why[1:]}"
        return {"field": "body", "message": message, "in": "body"}
    place = [str(part) for part in error["loc"]]
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        message = _advice_on_text(place[-1], error["ctx"]["pattern"]) or message
    return {
        "field": ".".join(place[1:] or place),
        "message": message[:1].lower() + message[1:],
        "in": place[0],
    }


def _advice_on_text(name: str, pattern: str) -> str | None:
    """Return what to write instead of a text that does not match a pattern; None: not known."""
    if name.lower() in _HEADERS:
        return _HEADERS[name.lower()]
    if pattern.startswith("^[^"):
        return "write it in one line, without control characters"
    if pattern == NAME_PATTERN:
        return "write letters, digits and . _ : @ / + -, beginning with a letter or digit"
    return None
