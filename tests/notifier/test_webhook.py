"""Alerts over real HTTP: signed, sent again until they are taken, one channel beside another."""

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.receiver import Receiver, new_secret
from headgate.notifier.notifier import Notifier
from headgate.notifier.posting import Poster
from tests.notifier.site import SECRET, VARIABLE, Endpoint, Site, alert, raw_server, webhook

BEGIN = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Read one request to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


async def test_an_alert_arrives_once_as_a_signed_event(desk: Site) -> None:
    receiver, endpoint = Receiver(SECRET), Endpoint()
    await desk.channels(ops=await desk.serve(receiver.app()), raw=await desk.serve(endpoint.app()))
    await desk.tell(alert(1))
    await desk.tell(alert(1))
    assert list(receiver.alerts) == [alert(1).id]
    assert receiver.refused == 0
    ((headers, body),) = endpoint.requests
    event = Webhook(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert headers["webhook-id"] == event["id"] == alert(1).id
    assert event == {
        "specversion": "1.0",
        "id": alert(1).id,
        "source": "/headgate",
        "type": "headgate.breaker.opened",
        "subject": "downstream/scanner-1",
        "time": "2027-01-15T08:00:00.001Z",
        "datacontenttype": "application/json",
        "data": {**alert(1).model_dump(mode="json"), "form": "alert", "links": {}},
    }
    assert await desk.attempts("ops") == [("delivered", None, None)]
    assert await desk.states("raw") == {alert(1).id: "delivered"}


async def test_a_receiver_with_either_of_two_secrets_takes_it(
    desk: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new, other, file = new_secret(), new_secret(), tmp_path / "secret"
    monkeypatch.setenv("HEADGATE_TEST_NEW", new)
    file.write_text(f"{other}\n")
    endpoint = Endpoint()
    url = await desk.serve(endpoint.app())
    channel = webhook(url, secret_envs=["HEADGATE_TEST_NEW"], secret_file=str(file))
    await desk.apply(channels={"ops": channel})
    await desk.tell(alert(1))
    ((headers, body),) = endpoint.requests
    for secret in (SECRET, new, other):
        assert Webhook(secret).verify(body, headers)["id"] == alert(1).id
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (None, f"the environment lacks {VARIABLE}"),
        ("", f"the environment lacks {VARIABLE}"),
        ("whsec_", f"{VARIABLE} holds no secret of the form whsec_<base64>"),
        ("whsec_a", f"{VARIABLE} holds no secret of the form whsec_<base64>"),
        (SECRET.removeprefix("whsec_"), f"{VARIABLE} holds no secret of the form whsec_<base64>"),
        (f"{SECRET}-", f"{VARIABLE} holds no secret of the form whsec_<base64>"),
        (
            "whsec_YQ==",
            f"{VARIABLE} holds a secret of 1 byte: write one of 24 to 64, such as whsec_ and what "
            "openssl rand -base64 32 prints",
        ),
        ("hunter2 é", f"{VARIABLE} is not one line of plain ASCII: correct the secret"),
        ("hunter2\nx", f"{VARIABLE} is not one line of plain ASCII: correct the secret"),
    ],
    ids=["none", "empty", "only prefix", "short base64", "no prefix", "no base64", "one byte",
         "not ascii", "two lines"],
)  # fmt: skip
async def test_a_secret_that_cannot_be_used_is_named_and_not_shown(
    desk: Site, monkeypatch: pytest.MonkeyPatch, secret: str | None, said: str
) -> None:
    endpoint, other = Endpoint(), Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    if secret is None:
        monkeypatch.delenv(VARIABLE)
    else:
        monkeypatch.setenv(VARIABLE, secret)
    await desk.tell(alert(1))
    told = f"channel ops: where the governance worker runs, {said}"
    assert await desk.attempts("ops") == [("misconfigured", None, told)]
    assert endpoint.requests == other.requests == []
    # Set right, it is delivered.
    monkeypatch.setenv(VARIABLE, SECRET)
    await desk.try_again()
    assert endpoint.ids == [alert(1).id]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 401, 404, 429])
async def test_what_was_not_taken_is_sent_again_and_nothing_else(desk: Site, status: int) -> None:
    endpoint = Endpoint(answers=[204, status, status])
    url = await desk.serve(endpoint.app())
    await desk.channels(ops=url)
    await desk.tell(alert(1), alert(2), alert(3))
    await desk.try_again()
    await desk.try_again()
    assert endpoint.ids == [alert(n).id for n in (1, 2, 2, 2, 3)]
    endpoint.require_one_content_for_each_id()
    for headers, body in endpoint.requests:
        Webhook(SECRET).verify(body, headers)
    said = f"channel ops: {url} answered {status}"
    assert await desk.attempts("ops") == [
        ("delivered", None, None),
        ("refused", status, said),
        ("refused", status, said),
        ("delivered", None, None),
        ("delivered", None, None),
    ]
    assert {*(await desk.states("ops")).values()} == {"delivered"}


async def test_a_message_that_is_not_liked_holds_up_only_what_is_about_the_same(
    desk: Site,
) -> None:
    endpoint = Endpoint(answers=[422])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    later = alert(4, subject=alert(1).subject)
    await desk.tell(alert(1), alert(2), later)
    assert endpoint.ids == [alert(1).id, alert(2).id]
    await desk.try_again()
    assert endpoint.ids == [alert(n).id for n in (1, 2, 1, 4)]
    endpoint.require_one_content_for_each_id()


@pytest.mark.parametrize("odd", ["soon", "Mon, 1 Jan 2024 00:00:00 +99999999999999", "-5", ""])
async def test_an_odd_retry_after_costs_nothing(desk: Site, odd: str) -> None:
    taken = Response(status_code=204, headers={"retry-after": odd})
    wait = Response(status_code=503, headers={"retry-after": odd})
    endpoint = Endpoint(answers=[taken, wait])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(alert(1))
    await desk.tell(alert(2))
    assert endpoint.ids == [alert(1).id, alert(2).id]
    await desk.try_again()
    assert endpoint.ids == [alert(1).id, alert(2).id, alert(2).id]


@pytest.mark.parametrize("as_date", [False, True])
async def test_retry_after_is_honoured(desk: Site, as_date: bool) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    wait = Response(status_code=429, headers={"retry-after": at if as_date else "120"})
    endpoint = Endpoint(answers=[wait])
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await desk.tell(alert(1), alert(2))
    assert endpoint.ids == [alert(1).id]
    assert 115 < (await desk.channel("ops"))["waits_s"] <= 120
    await desk.after(100)
    assert endpoint.ids == [alert(1).id]
    await desk.after(21)
    assert endpoint.ids == [alert(n).id for n in (1, 1, 2)]
    endpoint.require_one_content_for_each_id()


async def test_an_endpoint_that_is_gone_is_disabled_and_another_is_told(desk: Site) -> None:
    gone, other = Endpoint(answers=[410]), Endpoint()
    first, second = await desk.serve(gone.app()), await desk.serve(other.app())
    await desk.channels(ops=first, pager=second)
    await desk.tell(alert(1), alert(2))
    assert gone.ids == [alert(1).id]
    *told, failing = other.bodies
    assert [event["id"] for event in told] == [alert(1).id, alert(2).id]
    assert failing["type"] == "headgate.channel.failing"
    assert failing["data"]["title"] == "Channel ops is disabled: its endpoint is gone"
    assert f"{first} answered 410" in failing["data"]["text"]
    assert "headgate notifier enable ops" in failing["data"]["advice"]
    # However much time passes, and also for another process.
    await desk.try_again()
    await desk.after(86_400)
    await (await desk.another()).work()
    assert len(gone.requests) == 1
    assert len(other.requests) == 3
    # Other settings: it is tried again, and nothing is lost.
    await desk.apply(channels={"ops": webhook(first, max_per_minute=19), "pager": webhook(second)})
    await desk.notifier.work()
    assert gone.ids == [alert(n).id for n in (1, 1, 2)]
    gone.require_one_content_for_each_id()
    resolved = other.bodies[-1]["data"]
    assert (resolved["status"], resolved["key"]) == ("resolved", failing["data"]["key"])
    assert resolved["title"] == "Channel ops takes alerts again"


async def test_a_channel_that_is_down_or_slow_holds_up_no_other(desk: Site) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        arrived.set()
        await release.wait()
        return Response(status_code=204)

    good = Endpoint()
    await desk.channels(
        a_down=f"http://{LOOPBACK}:{free_port()}",
        b_slow=await desk.serve(Starlette(routes=[Route("/alerts", hang, methods=["POST"])])),
        c_good=await desk.serve(good.app()),
    )
    delivering = asyncio.create_task(desk.tell(alert(1), alert(2)))
    try:
        async with asyncio.timeout(10):
            await arrived.wait()
            while len(good.requests) < 2:
                await asyncio.sleep(0.01)
        assert not delivering.done()
    finally:
        release.set()
    await delivering
    ((outcome, status, error), *_) = await desk.attempts("a_down")
    assert (outcome, status) == ("unreachable", None)
    assert error is not None
    assert error.startswith("channel a_down: http://127.0.0.1:")
    assert "not reached" in error
    assert good.ids == [alert(1).id, alert(2).id]
    assert {*(await desk.states("b_slow")).values()} == {"delivered"}


async def test_a_channel_that_fails_for_long_is_told_of_once(desk: Site) -> None:
    bad, good = Endpoint(answers=[503] * 4), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1))
    await desk.try_again()
    assert good.ids == [alert(1).id]
    await desk.after(301)
    await desk.try_again()
    failing = good.bodies[1]
    assert failing["type"] == "headgate.channel.failing"
    assert "answered 503" in failing["data"]["text"]
    assert len(good.requests) == 2
    await desk.try_again()
    assert len(bad.requests) == 5
    assert [event["data"]["status"] for event in good.bodies[1:]] == ["firing", "resolved"]
    assert good.ids[1] != good.ids[2]


async def test_what_is_not_taken_for_three_days_is_given_up_and_that_is_told(desk: Site) -> None:
    bad, good = Endpoint(answers=[503] * 9), Endpoint()
    await desk.channels(bad=await desk.serve(bad.app()), good=await desk.serve(good.app()))
    await desk.tell(alert(1), alert(2))
    await desk.after(86_400 * 3 - 60)
    ours = {alert(1).id, alert(2).id}
    before = len(bad.requests)
    assert before == 2
    await desk.after(61)
    assert len(bad.requests) == before
    states = await desk.states("bad")
    assert {states[id] for id in ours} == {"abandoned"}
    told = good.bodies[-1]["data"]
    assert told["title"] == "Channel bad: 2 alerts given up"
    assert "answered 503" in told["text"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(desk: Site, status: int) -> None:
    elsewhere = Endpoint()
    target = await desk.serve(elsewhere.app())
    moved = Endpoint(answers=[RedirectResponse(f"{target}/alerts", status)])
    url = await desk.serve(moved.app())
    await desk.channels(ops=url)
    await desk.tell(alert(1))
    said = f"channel ops: {url} answered {status}; redirects are not followed, so correct its url"
    assert await desk.attempts("ops") == [("refused", status, said)]
    await desk.try_again()
    assert elsewhere.requests == []
    assert moved.ids == [alert(1).id] * 2
    moved.require_one_content_for_each_id()


@pytest.mark.parametrize(("status", "state"), [(200, "delivered"), (503, "composed")])
async def test_an_answer_without_end_is_not_read(desk: Site, status: int, state: str) -> None:
    async def endless(scope: object, receive: object, send: Callable[..., object]) -> None:
        start = {"type": "http.response.start", "status": status, "headers": []}
        await send(start)  # type: ignore[misc]
        while True:
            chunk = {"type": "http.response.body", "body": b"x" * 65_536, "more_body": True}
            await send(chunk)  # type: ignore[misc]
            await asyncio.sleep(0)

    heard: list[bytes] = []

    async def answer(request: Request) -> Response:
        heard.append(await request.body())
        return _Raw(endless) if len(heard) == 1 else Response(status_code=204)

    app = Starlette(routes=[Route("/alerts", answer, methods=["POST"])])
    await desk.channels(ops=await desk.serve(app))
    async with asyncio.timeout(10):
        await desk.tell(alert(1))
    ((_, said, _),) = await desk.attempts("ops")
    assert said == (None if status == 200 else status)
    assert await desk.states("ops") == {alert(1).id: state}
    await desk.try_again()
    assert await desk.states("ops") == {alert(1).id: "delivered"}
    assert len({*heard}) == 1


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(desk: Site) -> None:
    heard: list[bytes] = []
    slow = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        if slow.is_set():
            writer.write(BEGIN + b"\r\n")
            return
        for byte in b"HTTP/1.1 200 OK" + b" " * 10_000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    port = await raw_server(desk.resources, speak)
    channel = webhook(f"http://{LOOPBACK}:{port}", timeout_ms=300)
    await desk.apply(channels={"ops": channel})
    async with asyncio.timeout(10):
        await desk.tell(alert(1))
    ((outcome, _, error),) = await desk.attempts("ops")
    assert outcome == "unreachable"
    assert error == f"channel ops: http://{LOOPBACK}:{port} not reached: no answer within 0.3 s"
    slow.set()
    await desk.try_again()
    assert await desk.states("ops") == {alert(1).id: "delivered"}
    bodies = [request.partition(b"\r\n\r\n")[2] for request in heard]
    assert bodies[0] == bodies[1]


async def test_no_answer_at_all_is_a_timeout(desk: Site) -> None:
    heard: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        if len(heard) > 1:
            writer.write(BEGIN + b"\r\n")
        await reader.read()

    port = await raw_server(desk.resources, speak)
    channel = webhook(f"http://{LOOPBACK}:{port}", read_timeout_ms=200)
    await desk.apply(channels={"ops": channel})
    await desk.tell(alert(1))
    ((outcome, _, error),) = await desk.attempts("ops")
    assert outcome == "unreachable"
    assert error == f"channel ops: http://{LOOPBACK}:{port} not reached: no answer in time"
    assert await desk.states("ops") == {alert(1).id: "composed"}
    await desk.try_again()
    assert await desk.states("ops") == {alert(1).id: "delivered"}
    first, second = (request.partition(b"\r\n\r\n")[2] for request in heard)
    assert first == second


async def test_a_connection_that_is_not_made_is_a_timeout(desk: Site, tmp_path: Path) -> None:
    """As TLS that does not begin: it is part of the connection."""
    certificate, key = certificate_of(f"IP:{LOOPBACK}", tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    heard: list[bytes] = []
    speaks = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not speaks.is_set():
            heard.append(await reader.read())
            return
        await writer.start_tls(server)
        heard.append(await request_of(reader))
        writer.write(BEGIN + b"\r\n")

    port = await raw_server(desk.resources, silent)
    await desk.apply(
        channels={"ops": webhook(f"https://{LOOPBACK}:{port}", connect_timeout_ms=200)}
    )
    async with asyncio.timeout(10):
        await desk.tell(alert(1))
    ((outcome, _, error),) = await desk.attempts("ops")
    assert outcome == "unreachable"
    assert error == f"channel ops: https://{LOOPBACK}:{port} not reached: no answer in time"
    assert all(alert(1).title.encode() not in said for said in heard)
    assert await desk.states("ops") == {alert(1).id: "composed"}
    # It speaks at last: what waited arrives, once.
    speaks.set()
    heard.clear()
    trusting = ssl.create_default_context(cafile=str(certificate))
    desk.notifier = await desk.resources.enter_async_context(
        Notifier(desk.database, Poster(trusting))
    )
    await desk.try_again()
    assert await desk.states("ops") == {alert(1).id: "delivered"}
    ((_, _, body),) = (request.partition(b"\r\n\r\n") for request in heard)
    assert json.loads(body)["id"] == alert(1).id


async def test_a_connection_that_is_cut_after_the_request_leads_to_the_same_again(
    desk: Site,
) -> None:
    heard: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        if len(heard) > 1:
            writer.write(BEGIN + b"\r\n")

    port = await raw_server(desk.resources, speak)
    await desk.channels(ops=f"http://{LOOPBACK}:{port}")
    await desk.tell(alert(1))
    assert [outcome for outcome, _, _ in await desk.attempts("ops")] == ["unreachable"]
    await desk.try_again()
    assert await desk.states("ops") == {alert(1).id: "delivered"}
    first, second = (json.loads(request.partition(b"\r\n\r\n")[2]) for request in heard)
    assert first == second
    assert first["id"] == alert(1).id


async def test_tls_is_verified_for_the_name_and_a_bad_certificate_refused(
    desk: Site, tmp_path: Path
) -> None:
    certificate, key = certificate_of("localhost", tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        writer.write(BEGIN + b"\r\n")

    port = await raw_server(desk.resources, speak, ssl=server)
    await desk.channels(ops=f"https://localhost:{port}", by_number=f"https://{LOOPBACK}:{port}")
    await desk.tell(alert(1))
    ((outcome, _, error),) = await desk.attempts("ops")
    assert outcome == "unreachable"
    assert error is not None
    assert "certificate verify failed" in error
    assert heard == []
    # Who trusts that authority delivers, but only to the name that stands in the certificate.
    trusting = ssl.create_default_context(cafile=str(certificate))
    notifier = await desk.resources.enter_async_context(Notifier(desk.database, Poster(trusting)))
    desk.notifier = notifier
    await desk.try_again()
    assert await desk.states("ops") == {alert(1).id: "delivered"}
    assert len(heard) == 1
    assert b"host: localhost:" in heard[0].lower()
    _, _, refusal = (await desk.attempts("by_number"))[-1]
    assert refusal is not None
    assert "IP address mismatch" in refusal


async def test_without_channels_there_is_nothing_to_do(desk: Site) -> None:
    await desk.channels()
    await desk.tell(alert(1))
    assert await desk.database.fetch_value("SELECT count(*) FROM alert") == 1


async def test_what_waits_for_a_channel_that_is_no_more_is_given_up(desk: Site) -> None:
    await desk.channels(ops=f"http://{LOOPBACK}:{free_port()}")
    await desk.tell(alert(1))
    await desk.channels()
    await desk.notifier.work()
    rows = await desk.database.fetch("SELECT state, note FROM delivery")
    assert [tuple(row) for row in rows] == [("abandoned", "the channel is configured no more")]


async def test_no_error_repeats_the_path_of_a_webhook(
    desk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"http://{LOOPBACK}:{free_port()}/services/hunter2?key=hunter2"
    monkeypatch.setenv("HEADGATE_TEST_URL", secret)
    await desk.apply(
        channels={
            "ops": {"url": secret, "secret_env": VARIABLE},
            "chat": {"kind": "slack", "url_env": "HEADGATE_TEST_URL"},
        }
    )
    await desk.tell(alert(1))
    monkeypatch.setenv("HEADGATE_TEST_URL", "http://example.com/hunter2")
    await desk.try_again()
    said = str([*await desk.attempts("ops"), *await desk.attempts("chat")])
    assert "goes over http to another machine" in said
    assert "hunter2" not in said


def test_a_new_secret_is_one_of_standard_webhooks() -> None:
    secret = new_secret()
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != new_secret()


def certificate_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a certificate of a name (or ``IP:...``), signed by itself."""
    alternative = name if name.startswith("IP:") else f"DNS:{name}"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return certificate, key


class _Raw(Response):
    def __init__(self, app: Callable[..., object]) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        await self._app(scope, receive, send)  # type: ignore[misc]
