"""Alerts over real HTTP: signed, redelivered until they are taken, one channel beside another."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from headgate.devstack.http_server import serving
from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.receiver import Receiver, new_secret
from headgate.devstack.stack import Stack
from headgate.model.alert import Alert
from headgate.model.configuration import Configuration
from headgate.notifier.notifier import Notifier
from headgate.notifier.webhook import DeliveryError
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.migrate import migrate
from tests.store.fresh_database import fresh_database

SECRET = new_secret()
VARIABLE = "HEADGATE_TEST_SECRET"


def alert(number: int) -> Alert:
    return Alert(
        id=f"breaker/scanner:{number}:1:breaker.opened",
        kind="breaker.opened",
        severity="critical",
        subject="scanner",
        title="scanner is cut off",
        text="5 calls in a row failed",
        at_ms=1_000,
        data={"failures": 5},
    )


@dataclass
class Endpoint:
    """Answers as it is told, and remembers every request."""

    answers: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    respond: Callable[[int], Response] = lambda status: Response(status_code=status)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/alerts", self._take, methods=["POST", "GET"])])

    async def _take(self, request: Request) -> Response:
        self.requests.append((dict(request.headers), await request.body()))
        return self.respond(self.answers.pop(0) if self.answers else 204)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]


class Site:
    """A Notifier on a database of its own, and channels to apply."""

    def __init__(self, database: Database, resources: AsyncExitStack) -> None:
        self.database = database
        self._resources = resources
        self.notifier: Notifier

    async def serve(self, app: Starlette) -> str:
        return await self._resources.enter_async_context(serving(app))

    async def channels(self, **urls: str) -> None:
        channels = {
            name: {"url": f"{url}/alerts", "secret_env": VARIABLE} for name, url in urls.items()
        }
        wanted = Configuration.model_validate({"notifier": {"channels": channels}})
        await ConfigurationStore(self.database).save(wanted, "test", "because", {})
        self.notifier = await self._resources.enter_async_context(Notifier(self.database))

    async def error_of(self, channel: str) -> str | None:
        found: str | None = await self.database.fetch_value(
            "SELECT last_error FROM delivery WHERE channel = $1", channel
        )
        return found


@pytest_asyncio.fixture
async def site(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setenv(VARIABLE, SECRET)
    async with (
        fresh_database(stack.dsn) as dsn,
        Database(dsn) as database,
        AsyncExitStack() as resources,
    ):
        await migrate(database)
        yield Site(database, resources)


async def test_an_alert_arrives_once_with_a_signature_that_holds(site: Site) -> None:
    receiver, endpoint = Receiver(SECRET), Endpoint()
    await site.channels(ops=await site.serve(receiver.app()), raw=await site.serve(endpoint.app()))
    await site.notifier.deliver([alert(1)])
    await site.notifier.deliver([alert(1)])
    assert list(receiver.alerts) == [alert(1).id]
    assert receiver.refused == 0
    ((headers, body),) = endpoint.requests
    content = Webhook(SECRET).verify(body, headers)
    assert content == {"type": "breaker.opened", **alert(1).model_dump(mode="json")}
    assert headers["content-type"] == "application/json"


async def test_a_wrong_secret_is_a_failure_that_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver(new_secret())
    url = await site.serve(receiver.app())
    await site.channels(ops=url)
    with pytest.raises(DeliveryError, match=f"^channel ops: {url} answered 401$"):
        await site.notifier.deliver([alert(1)])
    assert (receiver.alerts, receiver.refused) == ({}, 1)
    assert await site.error_of("ops") == f"channel ops: {url} answered 401"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (None, f"channel ops: the environment of the governance worker lacks {VARIABLE}"),
        ("", f"lacks {VARIABLE}"),
        ("whsec_", f"{VARIABLE} is no secret of the form whsec_<base64>"),
        ("whsec_a", f"{VARIABLE} is no secret of the form whsec_<base64>"),
        ("hunter2 é", f"{VARIABLE} is no secret of the form whsec_<base64>"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_named_and_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch, secret: str | None, said: str
) -> None:
    endpoint = Endpoint()
    await site.channels(ops=await site.serve(endpoint.app()))
    if secret is None:
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, secret)
    with pytest.raises(DeliveryError, match=said) as failure:
        await site.notifier.deliver([alert(1)])
    assert "hunter2" not in str(failure.value)
    assert endpoint.requests == []
    # Set right, it is delivered.
    monkeypatch.setenv(VARIABLE, SECRET)
    await site.notifier.deliver([alert(1)])
    assert endpoint.ids == [alert(1).id]


async def test_what_was_not_taken_is_sent_again_and_nothing_else(site: Site) -> None:
    endpoint = Endpoint(answers=[204, 503, 500])
    await site.channels(ops=await site.serve(endpoint.app()))
    alerts = [alert(1), alert(2), alert(3)]
    with pytest.raises(DeliveryError, match="answered 503"):
        await site.notifier.deliver(alerts)
    with pytest.raises(DeliveryError, match="answered 500"):
        await site.notifier.deliver(alerts)
    await site.notifier.deliver(alerts)
    # In order: the third waited until the second was taken.
    assert endpoint.ids == [alert(n).id for n in (1, 2, 2, 2, 3)]
    bodies = [body for headers, body in endpoint.requests if headers["webhook-id"] == alert(2).id]
    assert len(set(bodies)) == 1
    for headers, body in endpoint.requests:
        Webhook(SECRET).verify(body, headers)
    rows = await site.database.fetch("SELECT attempts, last_error FROM delivery ORDER BY alert_id")
    assert [tuple(row) for row in rows] == [(1, None), (3, None), (1, None)]


async def test_a_channel_that_is_down_or_slow_holds_up_no_other(site: Site) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        arrived.set()
        await release.wait()
        return Response(status_code=204)

    good = Endpoint()
    await site.channels(
        a_down=f"http://{LOOPBACK}:{free_port()}",
        b_slow=await site.serve(Starlette(routes=[Route("/alerts", hang, methods=["POST"])])),
        c_good=await site.serve(good.app()),
    )
    delivering = asyncio.create_task(site.notifier.deliver([alert(1), alert(2)]))
    try:
        async with asyncio.timeout(10):
            await arrived.wait()
            while len(good.requests) < 2:
                await asyncio.sleep(0.01)
        assert not delivering.done()
    finally:
        release.set()
    with pytest.raises(DeliveryError) as failure:
        await delivering
    assert "channel a_down: http://127.0.0.1:" in str(failure.value)
    assert "not reached" in str(failure.value)
    assert "b_slow" not in str(failure.value)
    assert good.ids == [alert(1).id, alert(2).id]


async def test_a_redirect_is_a_failure_and_not_followed(site: Site) -> None:
    elsewhere = Endpoint()
    target = await site.serve(elsewhere.app())
    moved = Endpoint(
        answers=[307, 302], respond=lambda code: RedirectResponse(f"{target}/alerts", code)
    )
    await site.channels(ops=await site.serve(moved.app()))
    for code in (307, 302):
        with pytest.raises(DeliveryError, match=f"answered {code}; redirects are not followed"):
            await site.notifier.deliver([alert(1)])
    assert elsewhere.requests == []
    assert len(moved.requests) == 2


async def test_an_answer_without_end_is_not_read(site: Site) -> None:
    async def endless(scope: object, receive: object, send: Callable[..., object]) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)  # type: ignore[misc]
        while True:
            chunk = {"type": "http.response.body", "body": b"x" * 65_536, "more_body": True}
            await send(chunk)  # type: ignore[misc]
            await asyncio.sleep(0)

    app = Starlette(routes=[Route("/alerts", lambda request: _Raw(endless), methods=["POST"])])
    await site.channels(ops=await site.serve(app))
    async with asyncio.timeout(10):
        await site.notifier.deliver([alert(1)])


async def test_without_channels_there_is_nothing_to_do(site: Site) -> None:
    await site.channels()
    await site.notifier.deliver([alert(1)])


async def test_no_error_repeats_the_path_of_a_webhook(site: Site) -> None:
    wanted = Configuration.model_validate(
        {
            "notifier": {
                "channels": {
                    "ops": {
                        "url": f"http://{LOOPBACK}:{free_port()}/services/hunter2?key=hunter2",
                        "secret_env": VARIABLE,
                    }
                }
            }
        }
    )
    await site.channels()
    await ConfigurationStore(site.database).save(wanted, "test", "because", {})
    with pytest.raises(DeliveryError) as failure:
        await site.notifier.deliver([alert(1)])
    assert "hunter2" not in str(failure.value)


def test_a_new_secret_is_one_of_standard_webhooks() -> None:
    secret = new_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != new_secret()


class _Raw(Response):
    def __init__(self, app: Callable[..., object]) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        await self._app(scope, receive, send)  # type: ignore[misc]
