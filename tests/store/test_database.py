"""What is said when Postgres cannot be used."""

import asyncio
import traceback

import pytest

from headgate.devstack.ports import LOOPBACK, free_port
from headgate.devstack.stack import Stack
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.store.database import Database


async def test_a_statement_that_fails_is_an_error_in_words(database: Database) -> None:
    with pytest.raises(UnavailableError, match=r'cannot use Postgres at .*"no_such_table"') as said:
        await database.fetch("SELECT * FROM no_such_table")
    assert "\n" not in str(said.value)
    assert await database.fetch_value("SELECT 1") == 1


async def test_an_error_of_the_caller_stays_what_it_is(database: Database) -> None:
    with pytest.raises(KeyError):
        async with database.connection():
            raise KeyError("mine")
    assert await database.fetch_value("SELECT 1") == 1


async def test_the_password_is_never_shown(stack: Stack) -> None:
    secret = "hunter2%2Fx"
    host = stack.dsn.rpartition("@")[2]
    async with Database(f"postgresql://headgate:{secret}@{host}") as wrong:
        with pytest.raises(UnavailableError, match="password authentication failed") as said:
            await wrong.fetch("SELECT 1")
    text = "".join(traceback.format_exception(said.value))
    assert "hunter2" not in text


async def test_an_unreachable_server_is_named() -> None:
    address = f"{LOOPBACK}:{free_port()}/headgate"
    async with Database(f"postgresql://headgate:secret@{address}") as nowhere:
        with pytest.raises(UnavailableError, match=f"Postgres at {address}: .*HEADGATE_DATABASE"):
            await nowhere.fetch("SELECT 1")


@pytest.mark.parametrize(
    "dsn", ["", "nonsense", "mysql://h/db", "postgresql://u:a#b@h/db", "postgresql://h:port/db"]
)
async def test_what_is_no_address_is_refused_at_once(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="HEADGATE_DATABASE_URL is not of the form"):
        Database(dsn)


async def test_after_its_block_it_is_used_by_nobody(stack: Stack) -> None:
    async with Database(stack.dsn) as database:
        assert await database.fetch_value("SELECT 1") == 1
        await database.close()
        assert await database.fetch_value("SELECT 1") == 1, "closed, and used again"
    with pytest.raises(UnavailableError, match=r"^Postgres at .* is used no more here$"):
        await database.fetch_value("SELECT 1")


async def test_closing_does_not_wait_for_those_who_never_finish(stack: Stack) -> None:
    database = Database(stack.dsn)
    begun = asyncio.Event()

    async def sleep() -> None:
        async with database.connection() as connection:
            begun.set()
            await connection.execute("SELECT pg_sleep(60)")

    sleeper = asyncio.create_task(sleep())
    await begun.wait()
    await asyncio.wait_for(database.close(), 10)
    with pytest.raises(UnavailableError):
        await sleeper
