"""What tests in other languages need, in ``.peers`` (``make peers``)."""

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
    if (NODE_MODULES / "@temporalio" / "worker").is_dir():
        return NODE_MODULES
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "node and npm are not installed"
    # Beside its place, so that what was cut short is not taken for what is complete.
    unfinished = PEERS / "node.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    shutil.copy(HERE / "package.json", unfinished)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1"]
    try:
        done = subprocess.run(
            command, cwd=unfinished, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"npm did not install the packages within {_TIMEOUT_S} s"
    if done.returncode != 0:
        return f"npm cannot install the packages: {' '.join(done.stderr.split())[:300]}"
    shutil.rmtree(PEERS / "node", ignore_errors=True)
    unfinished.rename(PEERS / "node")
    return NODE_MODULES


if __name__ == "__main__":
    found = node_modules()
    sys.exit(found if isinstance(found, str) else None)
