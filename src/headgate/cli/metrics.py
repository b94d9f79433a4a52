"""``headgate metrics``: what Postgres has, for Prometheus."""

import asyncio
import signal
from ipaddress import ip_address
from typing import Final

import typer
from prometheus_client.parser import text_string_to_metric_families

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.tables import print_json
from headgate.gate.clock import now_ms
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.monitoring.exposition import CONTENT_TYPE, MOST_TENANTS, render
from headgate.store.database import Database
from headgate.view.metrics import METRICS

_REQUEST_BYTES: Final = 8_192
_REQUEST_S: Final = 5.0


def command(
    serve: str | None = typer.Option(
        None, "--serve", metavar="HOST:PORT", help="Serve them there under /metrics; loopback only."
    ),
    tenants: int = typer.Option(
        MOST_TENANTS, "--tenants", min=0, max=10_000, help="So many have a label of their own."
    ),
    describe: bool = typer.Option(False, "--list", help="List all metrics, also those of workers."),
    as_json: bool = options.JSON,
) -> None:
    """Print the metrics of the service in Prometheus' text format, or serve them.

    Workers export their own through Temporal's runtime; see docs/monitoring.md.
    """
    if describe:
        _list(as_json)
        return
    if serve is None:
        asyncio.run(_print(tenants, as_json))
        return
    if as_json:
        raise ConfigurationError("--serve speaks Prometheus' text format only: leave out --json")
    asyncio.run(_serve(*_address(serve), tenants))


def _list(as_json: bool) -> None:
    if as_json:
        names = ("name", "type", "help", "labels", "unit", "source")
        print_json([{name: getattr(metric, name) for name in names} for metric in METRICS])
        return
    for metric in METRICS:
        labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
        print(f"{metric.name}{labels}\n  {metric.type} of {metric.source}: {metric.help}")


async def _print(tenants: int, as_json: bool) -> None:
    async with reading() as db:
        text = (await render(db, now_ms(), tenants)).decode()
    if not as_json:
        print(text, end="")
        return
    print_json(
        [
            {
                "name": family.name,
                "type": family.type,
                "help": family.documentation,
                "samples": [
                    {"name": one.name, "labels": one.labels, "value": one.value}
                    for one in family.samples
                ],
            }
            for family in text_string_to_metric_families(text)
        ]
    )


async def _serve(host: str, port: int, tenants: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with reading() as db:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                status, kind, body = await _answer(reader, db, tenants)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass  # whoever asked has gone, or asks for something else
            finally:
                writer.close()

        try:
            server = await asyncio.start_server(answer, host, port, limit=_REQUEST_BYTES)
        except OSError as error:
            raise UnavailableError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        async with server:
            port = server.sockets[0].getsockname()[1]
            print(f"http://{host}:{port}/metrics", flush=True)
            await stopping.wait()


async def _answer(
    reader: asyncio.StreamReader, db: Database, tenants: int
) -> tuple[str, str, bytes]:
    async with asyncio.timeout(_REQUEST_S):
        request = await reader.readuntil(b"\r\n\r\n")
    method, path, *_ = [*request.split(b"\r\n")[0].split(b" "), b"", b""]
    if method != b"GET" or path.partition(b"?")[0] != b"/metrics":
        return "404 Not Found", "text/plain", b"GET /metrics\n"
    try:
        return "200 OK", CONTENT_TYPE, await render(db, now_ms(), tenants)
    except UnavailableError as error:
        return "503 Service Unavailable", "text/plain", f"{error}\n".encode()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"--serve {text}: write host and port, such as 127.0.0.1:9464")
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        # It asks nobody who they are; headgate serve does.
        raise ConfigurationError(
            f"--serve {text}: names of tenants would be open to the network: write a loopback "
            "address such as 127.0.0.1:9464, and put a proxy that authenticates before it"
        )
    return host, int(port)
