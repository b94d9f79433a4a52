"""A Notifier on a database of the test's own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from headgate.devstack.stack import Stack
from headgate.store.database import Database
from tests.notifier.site import SECRET, VARIABLE, Site
from tests.store.fresh_database import migrated_database


@pytest_asyncio.fixture
async def desk(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setenv(VARIABLE, SECRET)
    async with (
        migrated_database(stack.dsn) as dsn,
        Database(dsn) as database,
        AsyncExitStack() as resources,
    ):
        yield Site(database, resources)
