"""A real Alertmanager for tests: Debian's (``make peers``), started and ended by who needs it."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.process import GuardedProcess

PACKAGE: Final = "prometheus-alertmanager"
_PLACES: Final = (PACKAGE, "alertmanager")
_TIMEOUT_S: Final = 300
_CONFIGURATION: Final = "route: {receiver: none}\nreceivers: [{name: none}]\n"


def program() -> str | None:
    """Return where Alertmanager is, or None when it is not installed."""
    return next((found for name in _PLACES if (found := shutil.which(name))), None)


def install() -> str | None:
    """Install the package where that is possible; return in words why it is not there."""
    if program() is not None:
        return None
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return f"{PACKAGE} is not installed, and only root with apt-get can: install it yourself"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ([apt, "update"], [apt, "install", "-y", "--no-install-recommends", PACKAGE]):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} did not end within {_TIMEOUT_S} s"
        if done.returncode != 0:
            return f"{' '.join(command)}: {' '.join(done.stderr.split())[-300:]}"
    return None if program() is not None else f"{PACKAGE} was installed and is not found"


@asynccontextmanager
async def alertmanager(folder: Path, port: int | None = None) -> AsyncIterator[str]:
    """Run one for the block; it ends with it, and with this process.

    Args:
        folder: Its own.
        port: Where it listens; None: on any.

    Yields:
        Its address.
    """
    found = program()
    assert found is not None
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "alertmanager.yml"
    configuration.write_text(_CONFIGURATION)
    port = port or free_port()
    url = f"http://{LOOPBACK}:{port}"
    process = await GuardedProcess.start(
        [
            found,
            f"--config.file={configuration}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--cluster.listen-address=",
        ],
        name="Alertmanager",
        log=folder / "alertmanager.log",
        settle_s=0,
    )

    async def ready() -> bool:
        try:
            async with httpx2.AsyncClient() as client:
                return (await client.get(f"{url}/-/ready")).is_success
        except httpx2.HTTPError:
            return False

    try:
        await process.until(ready, timeout_s=30)
        yield url
    finally:
        await process.stop()


async def alerts_of(url: str) -> list[dict[str, Any]]:
    """Return the alerts that fire, as the API has them."""
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{url}/api/v2/alerts")
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return sorted(found, key=lambda one: str(one["labels"]))


if __name__ == "__main__":
    # Not an error: the tests that need it are skipped, and say so.
    missing = install()
    if missing is not None:
        sys.stderr.write(f"Alertmanager: {missing}; its tests are skipped\n")
