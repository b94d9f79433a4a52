"""Names with a slash in a path: ``/v1/tenants/a%2Fb`` is the tenant ``a/b``."""

from typing import Final
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send

from headgate.api.problems import document

_SLASH: Final = "\x00"
"""Stands for a slash within a segment: no path has it, because it is refused there."""


class _Segment(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(_SLASH, "/")

    def to_string(self, value: str) -> str:
        return value.replace("/", "%2F")


register_url_convertor("segment", _Segment())


class Segments:
    """Splits a path before it is decoded, and not after.

    Args:
        app: What comes next.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and b"%" in (raw := scope.get("raw_path", b"")):
            try:
                parts = [unquote(part, errors="strict") for part in raw.decode("ascii").split("/")]
            except ValueError:
                parts = ["\x00"]
            if any(sign < " " or "\x7f" <= sign < "\xa0" for part in parts for sign in part):
                answer = document("", 400, "bad_request", "the path has signs that no name has")
                await answer(scope, receive, send)
                return
            scope = {**scope, "path": "/".join(part.replace("/", _SLASH) for part in parts)}
        await self._app(scope, receive, send)
