"""``headgate dev`` and ``python worker.py``: they start, tell how to be reached, and end."""

import asyncio
import os
import re
import signal
import stat
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from headgate.devstack.stack import Stack
from tests.cli.command import ENVIRON, HEADGATE, run
from tests.devstack.conftest import open_folder
from tests.devstack.ended import assert_ended

WORKER = Path(__file__).parents[2] / "worker.py"
READY = "Ctrl-C ends all of it"


@pytest.fixture
def folder() -> Iterator[Path]:
    yield from open_folder()


@asynccontextmanager
async def dev(state_dir: Path) -> AsyncIterator[tuple[Process, list[str]]]:
    process = await asyncio.create_subprocess_exec(
        *(HEADGATE, "dev", "--state-dir", str(state_dir)), stdout=PIPE, stderr=STDOUT, env=ENVIRON
    )
    try:
        yield process, await lines_until(process, READY)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def lines_until(process: Process, word: str) -> list[str]:
    """What is printed, up to the line with this word."""
    assert process.stdout is not None
    lines: list[str] = []
    while True:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert line, f"ended without saying {word!r}: {lines}"
        lines.append(line.rstrip("\n"))
        if word in line:
            return lines


def below(pid: int) -> list[int]:
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


async def test_dev_says_how_to_be_reached_and_ctrl_c_ends_all_of_it(folder: Path) -> None:
    state = folder / "state"
    async with dev(state) as (process, lines):
        said = "\n".join(lines)
        temporal = re.search(r"^Temporal +(127\.0\.0\.1:\d+)$", said, re.M)
        assert temporal is not None
        assert re.search(r"^Temporal UI +http://127\.0\.0\.1:\d+$", said, re.M)
        assert re.search(r"^Postgres +127\.0\.0\.1:\d+/headgate$", said, re.M)

        environment = state / "environment"
        assert f". {environment}" in said
        assert stat.S_IMODE(environment.stat().st_mode) == 0o600
        shell = await asyncio.create_subprocess_exec(
            "sh", "-c", f". {environment} && {HEADGATE} migrate --check && echo $TEMPORAL_ADDRESS",
            stdout=PIPE, stderr=STDOUT, env=ENVIRON,
        )  # fmt: skip
        told = (await shell.communicate())[0].decode()
        assert shell.returncode == 0, told
        assert told.splitlines()[-1] == temporal[1]
        password = re.search(r"://[^:]+:([^@]+)@", environment.read_text())
        assert password is not None
        assert password[1] not in said

        second = await run("dev", "--state-dir", str(state))
        assert second.code == 2
        in_use = f"headgate: {state} is already in use by headgate dev \\(pid {process.pid}\\)"
        assert re.match(in_use, second.err)
        assert second.err.count("\n") == 1

        pids = below(process.pid)
        assert len(pids) >= 6
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert time.monotonic() - began < 5
        assert_ended(pids, within_s=0)
        assert process.stdout is not None
        assert await process.stdout.read() == b""


async def test_nothing_outlives_a_dev_that_is_killed(folder: Path) -> None:
    async with dev(folder / "state") as (process, _):
        pids = below(process.pid)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert_ended(pids, within_s=10)


async def test_ctrl_c_while_it_starts_ends_it_too(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(HEADGATE, "dev", "--state-dir", str(folder)), stdout=PIPE, stderr=STDOUT, env=ENVIRON
    )
    await lines_until(process, "starting")
    while not (pids := below(process.pid)):
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    rest = (await asyncio.wait_for(process.stdout.read(), 20)).decode()
    assert (await process.wait(), rest) == (0, "")
    assert_ended(pids, within_s=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_worker_py_runs_until_it_is_told_to_stop(
    stack: Stack, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKER)),
        stdout=PIPE,
        stderr=STDOUT,
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": stack.temporal_address,
            "HEADGATE_DATABASE_URL": stack.dsn,
        },
    )
    try:
        lines = await lines_until(process, "governance worker polls headgate in namespace default")
        process.send_signal(number)
        assert process.stdout is not None
        lines += (await asyncio.wait_for(process.stdout.read(), 20)).decode().splitlines()
        assert await process.wait() == 0
        assert "Traceback" not in "\n".join(lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
