"""A database that is used again is as one just made, and nobody else's."""

import asyncpg

from headgate.devstack.stack import Stack
from tests.store.fresh_database import migrated_database


async def _used_next(stack: Stack) -> str:
    async with migrated_database(stack.dsn) as address:
        return address


async def test_one_that_somebody_still_uses_is_not_used_again(stack: Stack) -> None:
    async with migrated_database(stack.dsn) as left:
        pass
    assert await _used_next(stack) == left
    async with migrated_database(stack.dsn) as used:
        stranger = await asyncpg.connect(used)
    assert await _used_next(stack) != used
    stranger.terminate()
