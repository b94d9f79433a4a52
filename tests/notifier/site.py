"""A Notifier on a database of its own, receivers that misbehave on command, channels to apply."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headgate.devstack.http_server import serving
from headgate.devstack.receiver import new_secret
from headgate.model.alert import Alert
from headgate.model.audit import Order
from headgate.model.configuration import Configuration
from headgate.notifier.again import send_again
from headgate.notifier.notifier import Notifier
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database

SECRET = new_secret()
VARIABLE = "HEADGATE_TEST_SECRET"

Answer = int | Response | Callable[[Request], Awaitable[Response]]


def alert(number: int, **fields: Any) -> Alert:
    """An alert of a breaker of its own."""
    told = {
        "id": f"downstream/scanner-{number}:{number}:1:breaker.opened",
        "kind": "breaker.opened",
        "severity": "critical",
        "subject": f"downstream/scanner-{number}",
        "title": f"scanner-{number} is cut off",
        "text": "5 calls in a row failed",
        "at_ms": 1_800_000_000_000 + number,
        "data": {"failures": 5},
    }
    return Alert.model_validate({**told, **fields})


def crossing(tenant: str, level: int = 80, status: str = "firing", sequence: int = 1) -> Alert:
    """An alert that a tenant has used up so much of its quota."""
    subject = f"tenant/{tenant}/scan"
    over = status == "resolved"
    return Alert.model_validate(
        {
            "id": f"{subject}:1:{sequence}:quota.threshold",
            "kind": "quota.threshold",
            "severity": "critical" if level >= 100 else "warning",
            "subject": subject,
            "title": f"{tenant}: {'below' if over else ''} {level} % of scan in use",
            "text": f"{level} of 100 scan are held",
            "at_ms": 1_800_000_000_000,
            "status": status,
            "key": f"quota.threshold/{subject}",
            "tenant": tenant,
            "advice": "Raise its max_active, or wait.",
        }
    )


@dataclass
class Endpoint:
    """Answers as it is told, and remembers every request."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    path: str = "/alerts"

    def app(self) -> Starlette:
        return Starlette(routes=[Route(self.path, self._take, methods=["POST", "GET"])])

    async def _take(self, request: Request) -> Response:
        self.requests.append((dict(request.headers), await request.body()))
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, int):
            return Response(status_code=answer)
        return answer if isinstance(answer, Response) else await answer(request)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    def require_one_content_for_each_id(self) -> None:
        contents: dict[str, bytes] = {}
        for headers, body in self.requests:
            assert contents.setdefault(headers["webhook-id"], body) == body


class Site:
    """A Notifier, and channels to apply."""

    def __init__(self, database: Database, resources: AsyncExitStack) -> None:
        self.database = database
        self.resources = resources
        self.notifier: Notifier

    async def serve(self, app: Starlette) -> str:
        return await self.resources.enter_async_context(serving(app))

    async def apply(self, rules: dict[str, Any] | None = None, **notifier: Any) -> Notifier:
        """Apply alert rules and the settings of the Notifier, and open one that knows them."""
        settings = {"group_wait_ms": 0, **notifier}
        wanted = Configuration.model_validate(
            {
                "notifier": settings,
                "alerts": rules,
                "tenants": {"*": {"quotas": {"scan": {"max_active": 100}}}},
            }
        )
        await ConfigurationStore(self.database).save(wanted, "test", "because", {})
        self.notifier = await self.another()
        return self.notifier

    async def another(self) -> Notifier:
        return await self.resources.enter_async_context(Notifier(self.database))

    async def channels(self, **urls: str) -> Notifier:
        return await self.apply(channels={name: webhook(url) for name, url in urls.items()})

    async def tell(self, *alerts: Alert) -> None:
        await self.notifier.take(alerts)
        await self.notifier.work()

    async def again(self, alert_id: str) -> None:
        """Send an alert once more to where it went, as people do."""
        order = Order("ada", "it was lost there", f"again-{alert_id}", 1_800_000_000_000)
        await send_again(self.database, alert_id, None, order)
        await self.notifier.work()

    async def try_again(self) -> None:
        """As if the time had come to try again."""
        await self.database.execute("UPDATE channel SET not_before = '-infinity'")
        await self.database.execute("UPDATE alert_message SET due_at = now()")
        await self.notifier.work()

    async def after(self, seconds: float) -> None:
        """As if so much time had passed, for all that waits and was sent."""
        for column, table in (
            ("created_at", "alert_message"),
            ("due_at", "alert_message"),
            ("at", "alert_attempt"),
            ("created_at", "delivery"),
            ("failing_since", "channel"),
            ("not_before", "channel"),
        ):
            await self.database.execute(
                f"UPDATE {table} SET {column} = {column} - $1 * interval '1 s'", seconds
            )
        await self.notifier.work()

    async def states(self, channel: str) -> dict[str, str]:
        rows = await self.database.fetch(
            "SELECT alert_id, state FROM delivery WHERE channel = $1", channel
        )
        return {row["alert_id"]: row["state"] for row in rows}

    async def attempts(self, channel: str) -> list[tuple[str, int | None, str | None]]:
        rows = await self.database.fetch(
            "SELECT outcome, status, error FROM alert_attempt WHERE channel = $1 ORDER BY id",
            channel,
        )
        return [(row["outcome"], row["status"], row["error"]) for row in rows]

    async def channel(self, name: str) -> dict[str, Any]:
        rows = await self.database.fetch(
            "SELECT *, extract(epoch FROM not_before - now())::float AS waits_s, "
            "disabled_at IS NOT NULL AS is_disabled FROM channel WHERE name = $1",
            name,
        )
        return dict(rows[0])


def webhook(url: str, **fields: Any) -> dict[str, Any]:
    return {"url": f"{url}/alerts", "secret_env": VARIABLE, **fields}


def ids_of(alerts: Sequence[Alert]) -> list[str]:
    return [one.id for one in alerts]


async def raw_server(
    resources: AsyncExitStack,
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    **options: Any,
) -> int:
    """Serve connections as `speak` does, and return the port."""
    ended: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ended.add(task)
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def stop() -> None:
        server.close()
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    resources.push_async_callback(stop)
    port: int = server.sockets[0].getsockname()[1]
    return port
