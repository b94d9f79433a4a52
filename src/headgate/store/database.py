"""The connection pool, and errors in words that help."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import asyncpg

from headgate.model.errors import UnavailableError
from headgate.store.address import DATABASE_URL, public_part

SCHEMA: Final = "headgate"
_CLOSE_S: Final = 2.0


class Database:
    """A pool of connections to the schema ``headgate`` of one Postgres database.

    Nothing is connected until the first use, so a worker that only replays histories needs none.
    After ``close`` the next use connects anew; after a block (``async with``) none does, so that
    whoever outlives the block, such as a worker whose shutdown hangs, leaves the database alone.

    Args:
        dsn: ``postgresql://user:password@host:port/database``.
        max_size: Connections at most.
        named: What has the address, for messages: what people are told to look at.

    Attributes:
        address: Host, port and database, without the secret.

    Raises:
        ConfigurationError: ``dsn`` is not an address of Postgres.
    """

    def __init__(self, dsn: str, max_size: int = 8, named: str = DATABASE_URL) -> None:
        self.address, self._password = public_part(dsn, named)
        self._dsn = dsn
        self._named = named
        self._max_size = max_size
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._is_over = False
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await self.close()

    async def close(self) -> None:
        """Close every connection; those that Postgres does not close in time are cut."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), _CLOSE_S)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection.

        Raises:
            UnavailableError: Postgres does not answer, does not let us in, or does not do what the
                block asks of it.
        """
        try:
            pool = await self._open()
            async with pool.acquire(timeout=10) as connection:
                yield connection
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if self._is_over:
                raise UnavailableError(f"Postgres at {self.address} is used no more here") from None
            reason = " ".join(str(error).split()) or "no answer in time"
            if isinstance(error, ConnectionRefusedError):
                reason = "connection refused"
            if self._password:
                reason = reason.replace(self._password, "***")
            # Not "from" the cause: its text may show the password in a traceback.
            raise UnavailableError(
                f"cannot use Postgres at {self.address}: {reason}; check {self._named}",
                "Postgres does not do what is asked of it; the log of headgate serve has the "
                "details",
            ) from None

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._is_over:
                raise asyncpg.InterfaceError("it was closed")
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._max_size,
                    command_timeout=10,
                    timeout=5,
                    init=_prepare,
                    reset=_leave,
                    server_settings={
                        "search_path": SCHEMA,
                        "application_name": "headgate",
                        # Planned by what is there now: a plan that was kept from when tables were
                        # small reads them whole for each row, when a storm has filled them.
                        "plan_cache_mode": "force_custom_plan",
                    },
                )
            return self._pool

    async def execute(self, sql: str, *values: Any) -> None:
        """Run one statement."""
        async with self.connection() as connection:
            await connection.execute(sql, *values)

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Return the rows of one query."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *values)
            return rows

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        """Return the first column of the first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *values)


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


async def _leave(_: asyncpg.Connection) -> None:
    """Do nothing: the pool ends open transactions by itself, and nothing else is left behind.

    What it would send by default, after every single query, doubles what Postgres has to answer.
    """
