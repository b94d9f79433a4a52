"""What every answer says to browsers, and how large a request may be."""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headgate.api.problems import document, path_asked

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Bounds:
    """Refuses a request that is too large, and adds the headers that browsers keep to.

    Args:
        app: What comes next.
        most_body: Bytes.
    """

    def __init__(self, app: ASGIApp, most_body: int) -> None:
        self._app = app
        self._most_body = most_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        too_large = f"a request may have {self._most_body} bytes"
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > self._most_body:
            answer = document(path_asked(scope), 413, "too_large", too_large)
            await answer(scope, receive, send_with_headers)
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most_body:
                raise HTTPException(413, too_large)
            return message

        await self._app(scope, receive_bounded, send_with_headers)
