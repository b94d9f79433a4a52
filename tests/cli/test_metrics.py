"""``headgate metrics``, and what holds for every command."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from headgate.cli.main import app
from headgate.devstack.ports import free_port
from headgate.view.metrics import METRICS
from tests.cli.command import ENVIRON, HEADGATE, run
from tests.cli.conftest import Desk

DOCUMENT = Path(__file__).parents[2] / "docs/cli.md"
WITHOUT_JSON = {"worker", "dev", "serve", "notifier run"}
"""They run until they are ended."""

_ALWAYS = {"quota", "throttle", "pool", "breaker"}
READ = {"list", "show", "transitions", "outcomes", "pressure", "what-if"}


def _commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    root = typer.main.get_command(app)
    assert isinstance(root, typer.core.TyperGroup)
    for name, command in root.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            for inner, found in command.commands.items():
                assert isinstance(found, typer.core.TyperCommand)
                yield f"{name} {inner}", found
        else:
            assert isinstance(command, typer.core.TyperCommand)
            yield name, command


@asynccontextmanager
async def serving(desk: Desk) -> AsyncIterator[str]:
    """A server of metrics; yields where it says that they are."""
    process = await asyncio.create_subprocess_exec(
        *(HEADGATE, "metrics", "--serve", f"127.0.0.1:{free_port()}"),
        stdout=asyncio.subprocess.PIPE,
        env={**ENVIRON, **desk.environ},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            yield (await process.stdout.readline()).decode().strip()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_metrics_are_printed_and_served(desk: Desk) -> None:
    scanner = desk.of("scanner")
    await desk.apply(downstreams={scanner: {}})
    printed = (await desk.headgate("metrics")).out
    names = {family.name for family in text_string_to_metric_families(printed)}
    assert "headgate_verdict" in names
    found = json.loads(await desk.done("metrics", "--json", "--tenants", "0"))
    assert {one["name"] for one in found} == names
    (verdict,) = [one for one in found if one["name"] == "headgate_verdict"]
    assert sum(sample["value"] for sample in verdict["samples"]) == 1
    assert "--json" in (await desk.headgate("metrics", "--json", "--serve", "[::1]:9464")).refusal
    async with serving(desk) as address, httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.get(address)
        assert answer.headers["content-type"].startswith("text/plain; version=")
        served = {family.name for family in text_string_to_metric_families(answer.text)}
        assert served >= names
        assert (await client.get(address.removesuffix("/metrics"))).status_code == 404
        assert (await client.post(address)).status_code == 404


async def test_metrics_are_not_served_to_the_network() -> None:
    environ = {"HEADGATE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    for address in ("0.0.0.0:9464", "[::]:9464", "example.com:80"):
        answer = await run("metrics", "--serve", address, environ=environ)
        assert "write a loopback address" in answer.refusal
    assert "write host and port" in (await run("metrics", "--serve", "9464")).refusal


async def test_the_list_of_metrics_needs_nothing() -> None:
    listed = (await run("metrics", "--list")).out
    assert all(metric.name in listed for metric in METRICS)
    described = json.loads((await run("metrics", "--list", "--json")).out)
    assert [one["name"] for one in described] == [metric.name for metric in METRICS]


def test_every_command_prints_json_but_those_that_have_nothing_to_tell() -> None:
    without = {
        name
        for name, command in _commands()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == WITHOUT_JSON


def test_every_command_that_changes_something_can_be_tried_and_sent_again() -> None:
    for name, command in _commands():
        options = {option for parameter in command.params for option in parameter.opts}
        group, _, inner = name.partition(" ")
        if group in _ALWAYS and inner not in READ:
            assert {"--reason", "--actor", "--dry-run", "--request-id"} <= options, name
        if {"--reason", "--actor"} <= options:
            assert "--dry-run" in options or group == "keys", name


def test_every_command_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, _ in _commands():
        assert all(f"{part}" in text for part in name.split()), name
        if " " not in name:
            assert f"`headgate {name}" in text or f"`{name}`" in text, name


@pytest.mark.parametrize(
    ("words", "expected"),
    [("headgate stat", "status"), ("headgate breaker force-o", "force-open")],
)
async def test_the_shell_completes(words: str, expected: str) -> None:
    environ = {
        "_HEADGATE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    assert (await run(environ=environ)).out.split() == [expected]
