"""Pages, and what they are made up with, travel compressed to whoever takes them so."""

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Compressed:
    """Compresses what people read, and leaves the API and its stream of events alone.

    That another site's page could guess what is in one of ours from its length is ruled out: a
    session's cookie does not come with what that page has a browser send (SameSite).

    Args:
        app: What comes next.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        # Level 5: a page of 50 KB takes about a millisecond; more hardly makes it smaller.
        self._compressing = GZipMiddleware(app, minimum_size=1_000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        is_api = scope["type"] != "http" or scope["path"].startswith("/v1/")
        await (self._plain if is_api else self._compressing)(scope, receive, send)
