"""The whole stack, and what its users see when something is in the way."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio.client import Client

from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.stack import Stack
from headgate.model.errors import ConfigurationError, UnavailableError
from tests.devstack.conftest import processes_of
from tests.devstack.ended import assert_ended

Change = Callable[[str, int], str]

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("TEMPORAL_") and name != "HEADGATE_DATABASE_URL"
}

HOLD = """
import asyncio, json, sys
from pathlib import Path
import psutil
from headgate.devstack.stack import Stack

async def main():
    async with Stack(Path(sys.argv[1]), temporal_ui=False):
        pids = [process.pid for process in psutil.Process().children(recursive=True)]
        print(json.dumps(pids), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

ASK = """
import asyncio, sys
from pathlib import Path
from headgate.devstack.stack import Stack
from headgate.model.errors import HeadgateError

try:
    asyncio.run(Stack(Path(sys.argv[1])).start())
except HeadgateError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
async def stack(module_folder: Path) -> AsyncIterator[Stack]:
    async with Stack(module_folder / "state", environ=ENVIRON) as running:
        yield running


async def test_starts_both(stack: Stack) -> None:
    assert stack.temporal is not None
    assert stack.postgres is not None
    assert stack.temporal_address == stack.temporal.address
    assert stack.temporal_ui == stack.temporal.ui_url
    assert stack.dsn == stack.postgres.dsn
    assert 0 < stack.startup_ms < 20_000
    await Client.connect(stack.temporal_address)
    await (await asyncpg.connect(stack.dsn)).close()


async def test_a_second_one_on_the_same_folder_is_refused(stack: Stack) -> None:
    refusal = rf"{stack.state_dir} is already in use by headgate dev \(pid {os.getpid()}\)"
    with pytest.raises(UnavailableError, match=refusal):
        await Stack(stack.state_dir, environ=ENVIRON).start()


async def test_uses_the_servers_that_the_environment_names(stack: Stack, folder: Path) -> None:
    environ = {"TEMPORAL_ADDRESS": stack.temporal_address, "HEADGATE_DATABASE_URL": stack.dsn}
    async with Stack(folder, environ=environ) as guest:
        assert guest.temporal is None
        assert guest.postgres is None
        assert guest.temporal_ui is None
        assert guest.temporal_address == stack.temporal_address
        assert guest.dsn == stack.dsn
        assert not processes_of(folder)
    await (await asyncpg.connect(stack.dsn)).close()


async def test_stops_within_five_seconds_and_leaves_nothing(folder: Path) -> None:
    async with Stack(folder, temporal_ui=False, environ=ENVIRON) as stack:
        assert stack.temporal_ui is None
        # A client that stays does not hold the end up.
        connection = await asyncpg.connect(stack.dsn)
        pids = [process.pid for process in processes_of(folder)]
        assert len(pids) >= 4
        began = time.monotonic()
    assert time.monotonic() - began < 5
    connection.terminate()
    assert_ended(pids, within_s=0)


async def test_nothing_survives_a_killed_parent_and_a_new_one_can_follow(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, env=ENVIRON
    ) as parent:
        try:
            assert parent.stdout is not None
            pids = json.loads(await asyncio.to_thread(parent.stdout.readline))
            assert len(pids) >= 4
            # Postgres has helpers that come and go.
            assert sum(psutil.pid_exists(pid) for pid in pids) >= 4
        finally:
            parent.send_signal(signal.SIGKILL)
            parent.wait(timeout=5)
    # At once, while the servers of the first may still be ending.
    async with Stack(folder, temporal_ui=False, environ=ENVIRON) as stack:
        await Client.connect(stack.temporal_address)
        await (await asyncpg.connect(stack.dsn)).close()
        assert_ended(pids, within_s=4)


async def test_ends_the_one_when_the_other_cannot_start(folder: Path) -> None:
    stack = Stack(folder, temporal_args=["--no-such-flag"], environ=ENVIRON)
    with pytest.raises(UnavailableError, match="unknown flag"):
        await stack.start()
    assert not processes_of(folder)
    with socket.create_server((LOOPBACK, free_port())) as listener:
        port = listener.getsockname()[1]
        stack = Stack(folder, postgres_port=port, environ=ENVIRON)
        with pytest.raises(UnavailableError, match=f"port {port}"):
            await stack.start()
    assert not processes_of(folder)


async def test_names_a_temporal_that_refuses(folder: Path) -> None:
    address = f"{LOOPBACK}:{free_port()}"
    environ = ENVIRON | {"TEMPORAL_ADDRESS": address}
    with pytest.raises(UnavailableError, match=f"Temporal at {address}: .*TEMPORAL_ADDRESS"):
        await Stack(folder, environ=environ).start()
    assert not processes_of(folder)


async def test_names_a_temporal_that_is_silent_and_ends_cleanly(folder: Path) -> None:
    # In a process of its own: an attempt to connect that goes on in the SDK's threads would crash
    # or hang the interpreter when it ends.
    with socket.create_server((LOOPBACK, 0)) as silent:
        address = f"{LOOPBACK}:{silent.getsockname()[1]}"
        began = time.monotonic()
        process = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", ASK, str(folder)],
            env=ENVIRON | {"TEMPORAL_ADDRESS": address},
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert time.monotonic() - began < 7
    said = "it takes connections, but does not answer; see whether it is well"
    assert process.stdout == f"Temporal at {address}: {said}\n"
    assert (process.returncode, process.stderr) == (2, "")
    assert not processes_of(folder)


async def test_refuses_an_address_that_is_none(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="'temporal', which is not host:port"):
        await Stack(folder, environ=ENVIRON | {"TEMPORAL_ADDRESS": "temporal"}).start()


@pytest.mark.parametrize(
    "change",
    [
        lambda dsn, port: dsn.replace("headgate:", "headgate:sec%2Fret"),
        lambda dsn, port: dsn.replace("headgate:", "nobody:sec%2Fret"),
        lambda dsn, port: dsn.replace(f":{port}/", ":1/").replace("headgate:", "h:sec%2Fret"),
        lambda dsn, port: dsn.replace("headgate:", "headgate:sec/ret"),
        lambda dsn, port: dsn.replace("headgate:", "headgate:12#sec/ret"),
        lambda dsn, port: dsn.replace("postgresql://headgate:", "sec/ret:"),
        lambda dsn, port: "sec/ret",
    ],
)
async def test_says_what_is_wrong_with_a_database_but_never_its_password(
    stack: Stack, folder: Path, change: Change
) -> None:
    assert stack.postgres is not None
    environ = {
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "HEADGATE_DATABASE_URL": change(stack.dsn, stack.postgres.port),
    }
    with pytest.raises((UnavailableError, ConfigurationError)) as failure:
        await Stack(folder, environ=environ).start()
    said = str(failure.value)
    secret = stack.dsn.split(":")[2].partition("@")[0]
    assert "HEADGATE_DATABASE_URL" in said
    assert not any(part in said for part in (secret, "sec/ret", "sec%2Fret", "sec", "ret"))
