"""One folder, one stack."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.devstack.statedir import StateDir, default_state_dir
from headgate.model.errors import UnavailableError

HOLD = """
import sys, time
from pathlib import Path
from headgate.devstack.statedir import StateDir
StateDir(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_use_is_refused_by_name(folder: Path) -> None:
    holder = StateDir(folder / "state")
    with holder:
        lock = (holder.path / "lock").read_text().splitlines()
        assert lock[0] == str(os.getpid())
        assert lock[1]
        with pytest.raises(UnavailableError) as refusal:
            StateDir(folder / "state").acquire()
    assert str(refusal.value) == (
        f"{folder}/state is already in use by headgate dev (pid {os.getpid()});"
        " stop it or pass another --state-dir"
    )
    with StateDir(folder / "state"):
        pass


def test_the_hold_ends_with_the_process(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(UnavailableError, match=rf"\(pid {holder.pid}\)"):
                StateDir(folder).acquire()
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait(timeout=5)
    with StateDir(folder):
        pass


def test_the_folder_is_open_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with StateDir(folder / "a" / "b"):
            pass
    finally:
        os.umask(before)
    for path in (folder / "a", folder / "a" / "b", folder / "a" / "b" / "logs"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_folder_that_was_there_keeps_its_mode(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with StateDir(closed):
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_what_is_in_the_way_is_named(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(UnavailableError, match=rf"Not a directory: {folder}/file"):
        StateDir(folder / "file" / "state").acquire()


def test_the_default_is_kept_out_of_version_control(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert default_state_dir() == folder / ".headgate"
    with StateDir():
        assert (folder / ".headgate" / ".gitignore").read_text() == "*\n"
