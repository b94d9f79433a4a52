"""The real ``headgate`` command in a process of its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HEADGATE = str(Path(sys.executable).with_name("headgate"))

ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("TEMPORAL_") and name != "HEADGATE_DATABASE_URL"
}
"""The environment without anything that would lead a command elsewhere."""


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line on standard error, after making sure that it is all there is."""
        assert self.out == ""
        assert self.err.startswith("headgate: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        assert self.code == 2
        return self.err.removeprefix("headgate: ").rstrip("\n")


async def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Answer:
    """Run ``headgate`` with these arguments until it ends."""
    process = await asyncio.create_subprocess_exec(
        *(HEADGATE, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**ENVIRON, **(environ or {})},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return Answer(process.returncode, out.decode(), err.decode())


def run_now(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command that needs neither Temporal nor Postgres, and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "headgate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file for a command to read."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file
