"""Waiting until processes have ended."""

import time
from collections.abc import Iterable

import psutil


def alive(pid: int) -> bool:
    """Whether a process exists and has not ended; a zombie has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_ended(pids: Iterable[int], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    left = [pid for pid in pids if alive(pid)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [pid for pid in left if alive(pid)]
    assert not left, f"still running: {left}"
