"""Migrations on a real Postgres: once, in order, checksummed, and never downwards."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.store import migrate as migrations
from headgate.store.database import Database
from headgate.store.migrate import Migration, known, migrate, pending, require_current
from headgate.store.pages import PageStore

BROKEN = Migration(9998, "broken", "CREATE TABLE half (id int); SELECT no_such_column")
LATER = Migration(9999, "later", "CREATE TABLE later (id int)")


@pytest_asyncio.fixture
async def own_database(empty_dsn: str) -> AsyncIterator[Database]:
    """Of nobody else: these tests spoil it."""
    async with Database(empty_dsn) as database:
        await migrate(database)
        yield database


async def test_every_migration_is_applied_once_whoever_calls_at_the_same_time(
    empty_dsn: str,
) -> None:
    databases = [Database(empty_dsn) for _ in range(6)]
    try:
        applied = await asyncio.gather(*(migrate(database) for database in databases))
        assert sorted(len(one) for one in applied) == [0] * 5 + [len(known())]
        rows = await databases[0].fetch("SELECT version, name FROM migration ORDER BY version")
        assert [tuple(row) for row in rows] == [(m.version, m.name) for m in known()]
    finally:
        for database in databases:
            await database.close()


async def test_looking_at_what_is_missing_changes_nothing(empty_dsn: str) -> None:
    async with Database(empty_dsn) as database:
        assert await pending(database) == known()
        assert await database.fetch_value("SELECT to_regnamespace('headgate')") is None
        with pytest.raises(ConfigurationError, match=rf"lacks {len(known())} .*headgate migrate"):
            await require_current(database)
        await migrate(database)
        assert await pending(database) == []
        assert await migrate(database) == []
        await require_current(database)


async def test_an_applied_file_must_not_change(own_database: Database) -> None:
    await own_database.execute("UPDATE migration SET checksum = 'other' WHERE version = 1")
    for call in (migrate, pending, require_current):
        with pytest.raises(ConfigurationError, match=r"migration 0001 .* is not the one"):
            await call(own_database)


async def test_a_database_that_is_newer_is_left_alone(own_database: Database) -> None:
    await own_database.execute("INSERT INTO migration VALUES (9999, 'future', 'x')")
    for call in (migrate, pending, require_current):
        with pytest.raises(ConfigurationError, match=r"newer than this Headgate.*9999"):
            await call(own_database)


async def test_one_that_fails_leaves_nothing_of_itself_and_no_lock(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = known()
    monkeypatch.setattr(migrations, "known", lambda: [*real, BROKEN, LATER])
    with pytest.raises(UnavailableError, match="no_such_column"):
        await migrate(own_database)
    assert await own_database.fetch_value("SELECT to_regclass('half')") is None
    monkeypatch.setattr(migrations, "known", lambda: [*real, LATER])
    assert await migrate(own_database) == [LATER]
    assert await own_database.fetch_value("SELECT to_regclass('later')") is not None


async def test_the_files_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in known()] == list(range(1, len(known()) + 1))


async def test_breakers_that_are_there_began_when_the_oldest_that_is_known_of_them_was(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, minute_ms = known(), 60_000
    async with Database(empty_dsn) as database:
        monkeypatch.setattr(migrations, "known", lambda: real[:14])
        await migrate(database)
        for name, at_ms in (("saved", 9), ("tripped", 9), ("called", 9)):
            await database.execute(
                "INSERT INTO snapshot (kind, subject, incarnation, revision, at_ms) "
                "VALUES ('breaker', $1, 1, 1, $2)",
                name,
                at_ms * minute_ms,
            )
        await database.execute(
            "INSERT INTO breaker_transition VALUES "
            "('tripped', 2, $1, 'CLOSED', 'OPEN', 'failure_rate', 'it failed', '{}')",
            5 * minute_ms,
        )
        await database.execute(
            "INSERT INTO outcome_span VALUES ('called', $1, 1, 1, 0, 0, 0, 0, 5)", 3 * minute_ms
        )
        monkeypatch.setattr(migrations, "known", lambda: real)
        await migrate(database)
        pages = PageStore(database)
        found = [await pages.created_ms("breaker", one) for one in ("saved", "tripped", "called")]
        assert found == [9 * minute_ms, 5 * minute_ms, 3 * minute_ms]
        assert await pages.created_ms("breaker", "nobody") == 0
