"""A process that never outlives the one that started it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from headgate.model.errors import UnavailableError

GUARD = Path(__file__).with_name("guard.py")

POLL_S = 0.02
KILL_S = 2.0
"""How long the guard may take to notice that its command was killed."""

LOG_TAIL_BYTES = 8192
LOG_TAIL_LINES = 6


class GuardedProcess:
    """A command run under a guard (see `guard.py`), its output appended to a log file.

    Made by `start`. When this Python process ends, even by SIGKILL, the command is ended too.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        *,
        name: str,
        log: Path,
        log_start: int,
        stop_signal: signal.Signals,
    ) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._log_start = log_start
        self._stop_signal = stop_signal
        self._pid = 0

    @classmethod
    async def start(
        cls,
        cmd: Sequence[str | Path],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        settle_s: float = 0.05,
    ) -> Self:
        """Starts a command.

        Args:
            cmd: The program and its arguments.
            name: What people call it, for messages.
            log: Where its output is appended; the folder is made when it is missing.
            env: Its environment; this process's own when None.
            cwd: The folder it starts in.
            user: An existing user to run it as, without supplementary groups; needs root.
            stop_signal: What asks it to end.
            settle_s: How long to watch for an end straight after the start. Use 0 when `until`
                follows, which watches as well.

        Raises:
            UnavailableError: It could not be started, or ended within `settle_s`.
        """
        options = ["--signal", stop_signal.name.removeprefix("SIG")]
        if user is not None:
            options += ["--user", user]
        output, log_start = _open_log(name, log)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(GUARD), *options, "--", *map(str, cmd)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env=env,
                cwd=cwd,
                # Ctrl-C in a terminal reaches this process only, which then stops things in order.
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"{name} could not be started: {error}") from error
        finally:
            os.close(output)
        self = cls(process, name=name, log=log, log_start=log_start, stop_signal=stop_signal)
        try:
            await self._started(settle_s)
        except BaseException:
            await self.stop()
            raise
        return self

    async def _started(self, settle_s: float) -> None:
        assert self._process.stdout is not None
        word, _, rest = (await self._process.stdout.readline()).decode().strip().partition(" ")
        if word != "started":
            raise self.failure(f"could not be started: {rest or 'its guard ended'}")
        self._pid = int(rest)
        if settle_s > 0 and await self._ends_within(settle_s):
            raise self.failure("ended as soon as it was started")

    @property
    def pid(self) -> int:
        """The pid of the command itself, not of its guard."""
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Waits for the end.

        Returns:
            The exit code; 128 + n when signal n ended the command.
        """
        return await self._process.wait()

    async def until(self, ready: Callable[[], Awaitable[bool]], *, timeout_s: float) -> None:
        """Waits until the command does its work.

        Args:
            ready: Whether it does; asked again until it is true.
            timeout_s: How long it may take.

        Raises:
            UnavailableError: It ended, or was not ready in time; with the last lines of its log.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not await ready():
            if await self._ends_within(POLL_S):
                raise self.failure("ended while it was starting")
            if loop.time() > deadline:
                raise self.failure(f"was not ready within {timeout_s:g} s")

    async def stop(self, timeout_s: float = 4.0) -> int:
        """Asks the command to end and kills it when it takes too long. May be called again.

        Args:
            timeout_s: How long it may take.

        Returns:
            The exit code, as `wait` does.
        """
        if self.running:
            self._signal_group(self._stop_signal)
            if not await self._ends_within(timeout_s):
                self._signal_group(signal.SIGKILL)
                if not await self._ends_within(KILL_S):
                    self._process.kill()
        code = await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await self._process.stdin.wait_closed()
        return code

    def kill(self) -> None:
        """Kills the command with SIGKILL, to see what happens then. `wait` for the end."""
        if self.running and self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> list[str]:
        """The last lines that this run has written to its log, without empty ones."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-lines:]

    def failure(self, what: str) -> UnavailableError:
        """An error on one line: what happened to this process, and how its log ends."""
        code = self._process.returncode
        ending = f" ({_meaning(code)})" if code is not None and self._pid else ""
        tail = self.log_tail()
        log = f"{self.log} ends: {' | '.join(tail)}" if tail else f"nothing in {self.log}"
        return UnavailableError(f"{self.name} {what}{ending}; {log}")

    async def _ends_within(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._process.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _signal_group(self, number: signal.Signals) -> None:
        if not self._pid:  # nothing runs yet but the guard, which ends what it may have started
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)


def _open_log(name: str, log: Path) -> tuple[int, int]:
    """Opens a log for appending; returns its descriptor and where the new run begins in it."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise UnavailableError(
            f"the log of {name} cannot be written at {log}: {error.strerror}"
        ) from error
    return descriptor, os.fstat(descriptor).st_size


def _meaning(code: int) -> str:
    number = code - 128 if code > 128 else -code
    if number in set(signal.Signals):
        return f"signal {signal.Signals(number).name}"
    return f"exit code {code}"
