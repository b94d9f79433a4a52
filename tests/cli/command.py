"""The real ``headgate`` command, in a process of its own or in this one."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from headgate.cli.main import main

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


async def run_here(*arguments: str, environ: Mapping[str, str] | None = None) -> Answer:
    """Run ``headgate`` in this process, in a thread: nothing has to be imported once more.

    Output and environment are those of the whole process meanwhile, so one comes after the other.
    """
    async with _ONE_AT_A_TIME:
        return await asyncio.to_thread(_run_here, arguments, {**ENVIRON, **(environ or {})})


_ONE_AT_A_TIME = asyncio.Lock()


def _run_here(arguments: Sequence[str], environ: Mapping[str, str]) -> Answer:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ, environ, clear=True),
        mock.patch.object(sys, "argv", ["headgate", *arguments]),
        mock.patch("headgate.cli.main._leave", sys.exit),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return Answer(code, out.getvalue(), err.getvalue())


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
