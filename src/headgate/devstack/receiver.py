"""A webhook receiver for the demo: takes alerts only with a valid signature."""

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def new_secret() -> str:
    """Return a new signing secret of the form ``whsec_<base64>``."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(slots=True)
class Receiver:
    """Remembers the alerts that arrived.

    Attributes:
        secret: What they must be signed with.
        alerts: What each event told, by its id: a repeat is not another alert.
        refused: Requests whose signature was wrong.
    """

    secret: str
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0

    def app(self) -> Starlette:
        """Return the HTTP service."""
        return Starlette(routes=[Route("/alerts", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.refused += 1
            return Response(status_code=401)
        event = json.loads(body)
        self.alerts[event["id"]] = event["data"]
        return Response(status_code=204)
