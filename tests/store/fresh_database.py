"""A database of a test's own, on the server that the tests share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg


@asynccontextmanager
async def fresh_database(dsn: str) -> AsyncIterator[str]:
    """Make an empty database and yield its address; it is gone afterwards."""
    name = f"test_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield f"{dsn.rpartition('/')[0]}/{name}"
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()
