"""Worker processes of the embedded stack, started again when they die."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from headgate.devstack.process import GuardedProcess
from headgate.devstack.stack import TEMPORAL_VARIABLE, Stack
from headgate.model.errors import HeadgateError
from headgate.store.address import DATABASE_URL

GOVERNANCE: Final = ("-m", "headgate", "worker")
JOBS: Final = ("-m", "headgate.devstack.job_worker")
_RESTART_PAUSE_S: Final = 0.5


class SupervisedWorker:
    """A worker process that is started again whenever it ends without being asked to.

    Args:
        name: For people, and for its log file.
        arguments: Of the Python interpreter.
        environment: Of the process.
        log: Where its output goes.
        tell: Told of every start and end.
    """

    def __init__(
        self,
        name: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        log: Path,
        tell: Callable[[str], None],
    ) -> None:
        self.name = name
        self.restarts = 0
        self._arguments = arguments
        self._environment = environment
        self._log = log
        self._tell = tell
        self._process: GuardedProcess | None = None

    @property
    def pid(self) -> int:
        """The pid of the process that runs now."""
        return self._process.pid if self._process is not None else 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SupervisedWorker"]:
        """Keep it running for the block; at the end it may finish what it is doing."""
        await self._start()
        watch = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            assert self._process is not None
            await self._process.stop()

    async def _start(self) -> None:
        self._process = await GuardedProcess.start(
            (sys.executable, *self._arguments),
            name=self.name,
            log=self._log,
            env=self._environment,
            stop_signal=signal.SIGINT,
        )
        self._tell(f"{self.name} runs as pid {self._process.pid}")

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            self._tell(f"{self.name} ended with code {code} (log: {self._log}); starting it again")
            await self._process.stop()
            await self._start_again()
            self.restarts += 1

    async def _start_again(self) -> None:
        while True:
            await asyncio.sleep(_RESTART_PAUSE_S)  # one that cannot start must not spin
            try:
                await self._start()
            except HeadgateError as error:
                self._tell(str(error))
            else:
                return


def worker_environment(stack: Stack, **more: str) -> dict[str, str]:
    """Return the environment by which a worker finds the stack.

    What the user's environment and profile say of another Temporal does not hold for the embedded
    one: it has neither that namespace nor that key.
    """
    environ = dict(os.environ)
    if stack.temporal is not None:
        environ = {
            name: value for name, value in environ.items() if not name.startswith("TEMPORAL_")
        }
        environ["TEMPORAL_CONFIG_FILE"] = os.devnull
    if stack.searchable:
        more["HEADGATE_SEARCH_ATTRIBUTES"] = "1"
    return {
        **environ,
        TEMPORAL_VARIABLE: stack.temporal_address,
        DATABASE_URL: stack.dsn,
        **more,
    }
