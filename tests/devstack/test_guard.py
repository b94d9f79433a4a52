"""The guard by itself, as a parent process sees it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.devstack import guard
from tests.devstack.ended import alive, assert_ended

Guard = subprocess.Popen[str]
Start = Callable[..., Guard]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Guard] = []

    def start(*command: str, options: tuple[str, ...] = ()) -> Guard:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, *options, "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=10)


def child_of(process: Guard) -> int:
    assert process.stdout is not None
    word, pid = process.stdout.readline().split()
    assert word == "started"
    return int(pid)


def line_of(process: Guard) -> str:
    assert process.stderr is not None
    return process.stderr.readline().strip()


def test_exits_with_the_code_of_the_command(start: Start) -> None:
    process = start("sh", "-c", "exit 7")
    child_of(process)
    assert process.wait(timeout=5) == 7


def test_tells_the_signal_that_ended_the_command(start: Start) -> None:
    process = start("sleep", "60")
    os.kill(child_of(process), signal.SIGKILL)
    assert process.wait(timeout=5) == 128 + signal.SIGKILL


def test_ends_the_command_when_the_parent_lets_go(start: Start) -> None:
    process = start("sleep", "60", options=("--signal", "INT"))
    child = child_of(process)
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    assert process.wait(timeout=2) == 128 + signal.SIGINT
    assert not alive(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_the_command_when_told_to(start: Start, number: signal.Signals) -> None:
    process = start("sleep", "60")
    child = child_of(process)
    process.send_signal(number)
    assert process.wait(timeout=2) == 128 + signal.SIGTERM
    assert not alive(child)


def test_kills_a_command_that_does_not_listen(start: Start) -> None:
    process = start("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done")
    child = child_of(process)
    assert line_of(process) == "ready"
    process.terminate()
    assert process.wait(timeout=guard.GRACE_S + 2) == 128 + signal.SIGKILL
    assert not alive(child)


def test_leaves_nothing_of_the_group_behind(start: Start) -> None:
    process = start("sh", "-c", "sleep 60 & echo $!; exit 0")
    child_of(process)
    grandchild = int(line_of(process))
    assert process.wait(timeout=5) == 0
    assert_ended([grandchild], within_s=1)


@on_linux
def test_takes_the_command_along_when_killed(start: Start) -> None:
    process = start("sleep", "60")
    child = child_of(process)
    process.kill()
    process.wait(timeout=5)
    assert_ended([child], within_s=2)


@as_root
def test_becomes_another_user_without_other_groups(start: Start) -> None:
    process = start("sh", "-c", "id -u; id -G", options=("--user", "nobody"))
    child_of(process)
    uid, groups = line_of(process), line_of(process).split()
    assert uid != "0"
    assert len(groups) == 1


@as_root
@on_linux
def test_takes_another_users_command_along_when_killed(start: Start) -> None:
    process = start("sleep", "60", options=("--user", "nobody"))
    child = child_of(process)
    process.kill()
    process.wait(timeout=5)
    assert_ended([child], within_s=2)


def test_says_why_a_command_cannot_be_run(start: Start, folder: Path) -> None:
    process = start(str(folder / "missing"))
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    assert said == f"failed cannot run {folder}/missing: there is no such program"
    assert process.wait(timeout=5) == guard.NOT_STARTED


def test_refuses_a_user_that_does_not_exist(start: Start) -> None:
    process = start("true", options=("--user", "no-such-user"))
    assert process.stdout is not None
    assert "no user 'no-such-user'" in process.stdout.readline()
    assert process.wait(timeout=5) == guard.NOT_STARTED
