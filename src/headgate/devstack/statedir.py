"""The folder where an embedded stack keeps its data, used by one stack at a time."""

import fcntl
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from headgate.model.errors import UnavailableError


def default_state_dir() -> Path:
    """Where a stack keeps its data when nobody says otherwise."""
    return Path.cwd() / ".headgate"


class StateDir:
    """A folder that this process holds for itself while it runs.

    The hold is a lock of the operating system on the file ``lock`` and ends with the process. The
    folder can be searched by every user, because Postgres may have to run as another one; secrets
    in it have mode 0600.

    Args:
        path: The folder; `default_state_dir` when None. It is made by `acquire`.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or default_state_dir()).expanduser().absolute()
        self._lock: int | None = None

    @property
    def logs(self) -> Path:
        """Where the logs of the processes go."""
        return self.path / "logs"

    def acquire(self) -> None:
        """Makes the folder when it is missing, and holds it.

        Raises:
            UnavailableError: Another process holds it, or it cannot be written.
        """
        try:
            make_searchable(self.path)
            make_searchable(self.logs)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UnavailableError(
                f"the state folder {self.path} cannot be used: {error.strerror}: {error.filename};"
                " correct that or pass another --state-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 64, 0).decode(errors="replace").partition("\n")[0]
            os.close(lock)
            raise UnavailableError(
                f"{self.path} is already in use by headgate dev (pid {holder or 'unknown'});"
                " stop it or pass another --state-dir"
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n{' '.join(sys.argv)}\n".encode(), 0)
        self._lock = lock

    def release(self) -> None:
        """Gives the folder up; does nothing when it is not held."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def make_searchable(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, so that every user can pass through.

    A folder that is already there is left as it is: it may be somebody's, and closed on purpose.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)  # whatever the umask
    if folder in missing and folder.name == ".headgate":
        # It lies in somebody's project and holds a password.
        (folder / ".gitignore").write_text("*\n")
