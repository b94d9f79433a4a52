"""The embedded Postgres: programs from a wheel, data in the state folder, loopback only.

For development: a commit may be lost when the machine (not the server) fails within the next
moments, because ``synchronous_commit`` is off. The data stays consistent in every case.
"""

import asyncio
import functools
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from headgate.devstack.ports import LOOPBACK, free_port, require_free
from headgate.devstack.postgres_account import (
    USER_VARIABLE,
    Account,
    account_for_postgres,
    first_closed_folder,
)
from headgate.devstack.postgres_binaries import Binaries, find_binaries, runnable_by
from headgate.devstack.predecessor import wait_for_end, working_in
from headgate.devstack.process import GuardedProcess
from headgate.model.errors import UnavailableError

ROLE = DATABASE = "headgate"
INITDB_S = 60.0
READY_S = 30.0
CONNECT_S = 2.0

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """A Postgres server with one database, whose data survives its end.

    As root it runs as the user ``nobody``, or the one that ``HEADGATE_POSTGRES_USER`` names.

    Args:
        state_dir: Where its data, password and log go; the folder exists.
        port: The port to serve on; a free one when None.
        environ: The environment; the process's own when None.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        # Postgres changes to its data directory and is found again by it: no symlinks, no dots.
        self._state_dir = state_dir.resolve()
        self._data = self._state_dir / "postgres"
        self._password_file = self._state_dir / "postgres.password"
        self._environ = os.environ if environ is None else environ
        self._port = port
        self._password = ""
        self._process: GuardedProcess | None = None

    @property
    def dsn(self) -> str:
        """The address with the password in it; known from the first start on."""
        return f"postgresql://{ROLE}:{self._password}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def port(self) -> int:
        """The port it serves on; known from the first start on."""
        assert self._port is not None, "Postgres has not been started"
        return self._port

    @property
    def pid(self) -> int:
        """The pid of the postmaster."""
        assert self._process is not None, "Postgres has not been started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.running

    async def start(self) -> None:
        """Starts the server and waits until it can be used; does nothing when it runs.

        Raises:
            UnavailableError: It cannot be started; the message says what is in the way.
            ConfigurationError: ``HEADGATE_POSTGRES_USER`` is wrong.
        """
        if self.running:
            return
        account = account_for_postgres(self._environ)
        self._require_way(account)
        binaries = runnable_by(
            find_binaries(self._environ, self._data_version()),
            account,
            self._state_dir / "postgres-bin",
        )
        if self._data_version() is None:
            self._password = self._new_password(account)
            await self._initdb(binaries, account)
        else:
            self._require_owner(account)
            self._password = self._read_password()
            await self._predecessor_ended()
        if self._port is None:
            self._port = free_port()
        else:
            require_free(self._port, "Postgres")
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        self._process = await self._run(
            [binaries.postgres, "-D", self._data, "-p", str(self._port), *settings],
            "Postgres",
            account,
        )
        try:
            await self._process.until(self._serves, timeout_s=READY_S)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the server at once, but in good order; does nothing when it does not run."""
        if self._process is not None:
            await self._process.stop()

    async def restart(self) -> None:
        """Ends the server and starts it again on the same port and data."""
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """Kills the postmaster with SIGKILL, for fault tests, and waits until it is gone."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def _run(
        self, command: list[str | Path], name: str, account: Account | None
    ) -> GuardedProcess:
        # Settings of the caller's own Postgres, and a locale this machine may not have.
        env = {key: value for key, value in self._environ.items() if not key.startswith("PG")}
        return await GuardedProcess.start(
            command,
            name=name,
            log=self._state_dir / "logs" / "postgres.log",
            env=env | {"LC_ALL": "C"},
            cwd=self._state_dir,
            user=account.name if account else None,
            stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients to leave
            settle_s=0,
        )

    async def _initdb(self, binaries: Binaries, account: Account | None) -> None:
        """Makes the data directory under another name first: it is there whole or not at all."""
        unfinished = self._state_dir / "postgres.unfinished"
        _make_empty(unfinished, account)
        arguments = ["--auth=scram-sha-256", f"--pwfile={self._password_file}", "--encoding=UTF8"]
        arguments += ["--locale=C", "--no-sync", "--no-instructions"]
        process = await self._run(
            [binaries.initdb, "-D", unfinished, "-U", ROLE, *arguments], "initdb", account
        )
        try:
            code = await asyncio.wait_for(process.wait(), INITDB_S)
        except TimeoutError as error:
            raise process.failure(f"did not finish within {INITDB_S:g} s") from error
        finally:
            await process.stop()
        if code != 0:
            raise process.failure("could not make the data directory of Postgres")
        unfinished.rename(self._data)

    async def _serves(self) -> bool:
        """Whether the database can be used; makes it the first time."""
        if not self._says_ready():
            return False  # connecting would only fill the log
        try:
            try:
                connection = await self._connect(DATABASE)
            except asyncpg.InvalidCatalogNameError:
                connection = await self._connect("postgres")
                await connection.execute(f"CREATE DATABASE {DATABASE}")
            await connection.close()
        except asyncpg.InvalidPasswordError as error:
            raise UnavailableError(
                f"the password in {self._password_file} is not the one of {self._data}; restore it,"
                " or remove both to begin anew"
            ) from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def _connect(self, database: str) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            host=LOOPBACK,
            port=self._port,
            user=ROLE,
            password=self._password,
            database=database,
            ssl=False,
            timeout=CONNECT_S,
        )

    def _says_ready(self) -> bool:
        """Whether the server has written into its pid file (line 8) that it takes connections."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    async def _predecessor_ended(self) -> None:
        """Waits for a server that still uses the data, then clears away what it left.

        Postgres itself only asks whether a process with the noted pid exists, so a zombie or a
        stranger with that pid would keep it from starting. The servers that matter are those that
        work in this directory, and also the backends of a postmaster that was killed.
        """
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists():
            servers = functools.partial(working_in, self._data, "postgres")
            await wait_for_end(servers, f"Postgres that uses {self._data}")
            pid_file.unlink(missing_ok=True)

    def _data_version(self) -> str | None:
        """The major version that the data is of; None when there is no data."""
        try:
            return (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise self._foreign_data() from error

    def _require_way(self, account: Account | None) -> None:
        closed = first_closed_folder(self._state_dir, account) if account else None
        if account and closed:
            raise UnavailableError(
                f"user {account.name!r}, which runs Postgres because root cannot, has no access to"
                f" {closed}; chmod o+x it, or pass another --state-dir"
            )

    def _require_owner(self, account: Account | None) -> None:
        if self._data.stat().st_uid != (account.uid if account else os.geteuid()):
            raise self._foreign_data()

    def _foreign_data(self) -> UnavailableError:
        owner = self._data.stat().st_uid
        remedy = f"set {USER_VARIABLE} to that user" if os.geteuid() == 0 else "run as root"
        return UnavailableError(
            f"{self._data} belongs to the user with id {owner}, who must run Postgres on it;"
            f" {remedy}, or pass another --state-dir"
        )

    def _new_password(self, account: Account | None) -> str:
        """Keeps a new password in a file of the server's user, as initdb has to read it."""
        password = secrets.token_urlsafe(24)
        self._password_file.unlink(missing_ok=True)
        descriptor = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{password}\n")
        if account:
            os.chown(self._password_file, account.uid, account.gid)
        return password

    def _read_password(self) -> str:
        try:
            return self._password_file.read_text().strip()
        except OSError as error:
            raise UnavailableError(
                f"the password of Postgres cannot be read from {self._password_file}:"
                f" {error.strerror}; restore it, or remove {self._data} to begin anew"
            ) from error


def _make_empty(folder: Path, account: Account | None) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    if account:
        os.chown(folder, account.uid, account.gid)
