"""A migrated database of the test's own: tests of the store look at whole tables."""

from collections.abc import AsyncIterator

import pytest_asyncio

from headgate.devstack.stack import Stack
from headgate.store.database import Database
from tests.store.fresh_database import fresh_database, migrated_database


@pytest_asyncio.fixture
async def empty_dsn(stack: Stack) -> AsyncIterator[str]:
    async with fresh_database(stack.dsn) as dsn:
        yield dsn


@pytest_asyncio.fixture
async def own_database(stack: Stack) -> AsyncIterator[Database]:
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        yield database
