"""Processes under a guard, as the rest of Headgate uses them."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from headgate.devstack.process import GuardedProcess
from headgate.model.errors import UnavailableError
from tests.devstack.conftest import processes_of
from tests.devstack.ended import alive, assert_ended


async def test_runs_until_stopped(folder: Path) -> None:
    process = await GuardedProcess.start(["sleep", "60"], name="sleeper", log=folder / "a" / "log")
    assert process.running
    assert alive(process.pid)
    assert await process.stop() == 128 + signal.SIGTERM
    assert not process.running
    assert not alive(process.pid)
    assert await process.stop() == 128 + signal.SIGTERM  # again: nothing more to do


async def test_gets_its_environment_and_folder_and_logs_its_output(folder: Path) -> None:
    process = await GuardedProcess.start(
        ["/bin/sh", "-c", 'echo "$WORD"; pwd; echo problem >&2; exit 3'],
        name="writer",
        log=folder / "log",
        env={"WORD": "water"},
        cwd=folder,
        settle_s=0,
    )
    assert await process.wait() == 3
    assert process.log_tail() == ["water", str(folder), "problem"]
    await process.stop()


async def test_shows_only_this_runs_log(folder: Path) -> None:
    log = folder / "log"
    log.write_text("earlier\n")
    with pytest.raises(UnavailableError) as failure:
        await GuardedProcess.start(["sh", "-c", "exit 1"], name="w", log=log, settle_s=5)
    assert "earlier" not in str(failure.value)
    assert log.read_text() == "earlier\n"


async def test_says_how_an_immediate_end_came(folder: Path) -> None:
    command = [sys.executable, "-c", "import no_such_module"]
    with pytest.raises(UnavailableError) as failure:
        await GuardedProcess.start(command, name="worker", log=folder / "log", settle_s=5)
    message = str(failure.value)
    assert message.startswith("worker ended as soon as it was started (exit code 1)")
    assert message.endswith("ModuleNotFoundError: No module named 'no_such_module'")
    assert "\n" not in message


async def test_says_that_the_command_is_missing(folder: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r"w could not be started: cannot run .*/gone: there is no"
    ):
        await GuardedProcess.start([folder / "gone"], name="w", log=folder / "log")


async def test_says_that_the_folder_is_missing(folder: Path) -> None:
    with pytest.raises(UnavailableError, match=r"w could not be started: .*No such file"):
        await GuardedProcess.start(["true"], name="w", log=folder / "log", cwd=folder / "nowhere")


async def test_waits_until_ready_and_not_longer(folder: Path) -> None:
    async def never() -> bool:
        return False

    process = await GuardedProcess.start(["sleep", "60"], name="w", log=folder / "log")
    with pytest.raises(UnavailableError, match=r"w was not ready within 0\.1 s"):
        await process.until(never, timeout_s=0.1)
    process.kill()
    with pytest.raises(UnavailableError, match=r"ended while it was starting \(signal SIGKILL\)"):
        await process.until(never, timeout_s=5)
    await process.stop()


async def test_kills_what_does_not_stop(folder: Path) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"]
    process = await GuardedProcess.start(stubborn, name="w", log=folder / "log")

    async def ready() -> bool:
        return process.log_tail() == ["ready"]

    await process.until(ready, timeout_s=5)
    assert await process.stop(timeout_s=0.2) == 128 + signal.SIGKILL


async def test_leaves_nothing_when_the_start_is_cancelled(folder: Path) -> None:
    marker = folder / "marker"
    starting = asyncio.create_task(
        GuardedProcess.start(
            ["sh", "-c", f"touch {marker}; sleep 60"], name="w", log=folder / "log", settle_s=60
        )
    )
    while not marker.exists():
        await asyncio.sleep(0.01)
    pids = [process.pid for process in processes_of(folder)]
    assert pids
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert_ended(pids, within_s=1)
