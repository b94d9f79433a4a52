"""What tests need from npm, in ``.peers`` (``make peers``): nothing of it is committed."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE.parent.parent / ".peers"
NODE_MODULES = PEERS / "node" / "node_modules"

_TIMEOUT_S = 180


def node_modules() -> Path | str:
    """Return where the packages of the JavaScript job are, or in words why they are not there.

    They are installed when that has not been done yet: about 30 s, once.
    """
    return installed(HERE / "package.json", "node", "@temporalio/worker")


def axe() -> Path | str:
    """Return the script of axe-core, which looks at pages (tests/browser), or why it is not there.

    It is installed when that has not been done yet.
    """
    found = installed(HERE.parent / "browser" / "package.json", "axe", "axe-core")
    return found if isinstance(found, str) else found / "axe-core" / "axe.min.js"


def installed(listed: Path, into: str, package: str) -> Path | str:
    """Return the folder of the packages that a ``package.json`` lists, or why it is not there.

    Args:
        listed: The ``package.json``.
        into: Whose folder in ``.peers`` it is.
        package: One of them: when it is there, nothing is installed.
    """
    folder = PEERS / into
    if (folder / "node_modules" / package).is_dir():
        return folder / "node_modules"
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are not installed"
    # Beside its place, so that what was cut short is not taken for what is complete.
    unfinished = PEERS / f"{into}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    shutil.copy(listed, unfinished)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            command, cwd=unfinished, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"npm did not install the packages within {_TIMEOUT_S} s"
    if done.returncode != 0:
        return f"npm cannot install the packages: {' '.join(done.stderr.split())[:300]}"
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder / "node_modules"


if __name__ == "__main__":
    missing = [found for found in (node_modules(), axe()) if isinstance(found, str)]
    sys.exit("; ".join(dict.fromkeys(missing)) or None)
