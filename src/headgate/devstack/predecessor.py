"""Waiting for servers that an earlier, killed run has left behind on the same data."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil

from headgate.model.errors import UnavailableError

WAIT_S = 6.0
"""Longer than a guard takes to end its command once its parent is gone."""

POLL_S = 0.05


async def wait_for_end(find: Callable[[], list[int]], what: str) -> None:
    """Waits until no such process is left.

    Args:
        find: The pids of those that still run.
        what: What they are and use, for the message.

    Raises:
        UnavailableError: Some still run after `WAIT_S`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while pids := find():
        if loop.time() > deadline:
            raise UnavailableError(
                f"an earlier {what} is still running (pid {', '.join(map(str, pids))});"
                " stop it or pass another --state-dir"
            )
        await asyncio.sleep(POLL_S)


def working_in(folder: Path, name: str) -> list[int]:
    """The pids of the processes with this name whose current folder this is."""
    return [
        process.pid
        for process in psutil.process_iter(["name", "status", "cwd"])
        if process.info["name"] == name
        and process.info["cwd"] == str(folder)
        and process.info["status"] != psutil.STATUS_ZOMBIE  # has ended, was not reaped yet
    ]


def started_with(pid: int, argument: str) -> bool:
    """Whether this process still runs and has this argument, so that it is no stranger."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and argument in process.cmdline()
    except psutil.Error:
        return False
