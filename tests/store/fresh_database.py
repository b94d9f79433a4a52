"""Databases of a test's own, on the server that the tests share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from headgate.store.database import SCHEMA, Database
from headgate.store.migrate import migrate

_spare: dict[str, list[str]] = {}
"""Migrated databases that nobody uses and that are empty, by the address of their server."""

_SHAPE = """
    SELECT count(*) || ' ' || (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)
        || ' ' || (SELECT count(*) FROM pg_proc WHERE pronamespace = $1::regnamespace)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = $1::regnamespace
"""
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_LEAVE_S = 2
"""How long a process of Postgres may take to end after its client has gone."""

_shapes: set[str] = set()
"""How many columns, triggers and functions there are in one just migrated."""


@asynccontextmanager
async def fresh_database(dsn: str) -> AsyncIterator[str]:
    """Make an empty database and yield its address; it is gone afterwards."""
    address = await _create(dsn)
    try:
        yield address
    finally:
        await _drop(dsn, address)


@asynccontextmanager
async def migrated_database(dsn: str) -> AsyncIterator[str]:
    """Yield the address of a migrated database with nothing in it.

    It is emptied and used by another test afterwards: to make one takes ten times as long.
    """
    spare = _spare.setdefault(dsn, [])
    if spare:
        address = spare.pop()
    else:
        address = await _create(dsn)
        async with Database(address) as database:
            await migrate(database)
            _shapes.add(await database.fetch_value(_SHAPE, SCHEMA))
    is_empty = False
    try:
        yield address
        is_empty = await _empty(address)
    finally:
        if is_empty:
            spare.append(address)
        else:
            await _drop(dsn, address)


async def _create(dsn: str) -> str:
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
    return f"{dsn.rpartition('/')[0]}/{name}"


async def _drop(dsn: str, address: str) -> None:
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {address.rpartition('/')[2]} WITH (FORCE)")
    finally:
        await admin.close()


async def _empty(address: str) -> bool:
    """Empty the database; return whether it is now as one just migrated, and nobody's any more."""
    connection = await asyncpg.connect(address)
    try:
        # Who is still there would go on in the next test: a process that has not been ended, say.
        async with asyncio.timeout(_LEAVE_S):
            while await connection.fetchval(_OTHERS):
                await asyncio.sleep(0.005)
        tables = await connection.fetchval(
            "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables "
            "WHERE schemaname = $1 AND tablename <> 'migration'",
            SCHEMA,
        )
        await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
        return await connection.fetchval(_SHAPE, SCHEMA) in _shapes
    except TimeoutError:
        return False
    finally:
        await connection.close()
