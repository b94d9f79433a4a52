"""Applying the migrations: in order, once, checksummed, under a lock."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from headgate.model.errors import ConfigurationError
from headgate.store import migrations
from headgate.store.database import SCHEMA, Database

_LOCK: Final = 0x6865_6164_6761_7465  # "headgate"
_PATIENCE_S: Final = 600.0
"""How long a migration, and the wait for another process that migrates, may take."""

_FILE: Final = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known() -> list[Migration]:
    """Return the migrations of this version of Headgate, oldest first."""
    found = (
        Migration(int(match[1]), match[2], file.read_text("utf-8"))
        for file in resources.files(migrations).iterdir()
        if (match := _FILE.match(file.name))
    )
    return sorted(found, key=lambda migration: migration.version)


async def migrate(database: Database) -> list[Migration]:
    """Apply what is missing, each file in a transaction of its own.

    Several processes may call this at once: one does the work, the others wait for it.

    Returns:
        What was applied.

    Raises:
        ConfigurationError: The database is newer than this code, or an applied file has changed.
    """
    async with database.connection() as connection:
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_PATIENCE_S)
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, "
                "name text NOT NULL, checksum text NOT NULL, "
                "applied_at timestamptz NOT NULL DEFAULT now())"
            )
            missing = await _missing(connection, database.address)
            for migration in missing:
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=_PATIENCE_S)
                    await connection.execute(
                        "INSERT INTO migration (version, name, checksum) VALUES ($1, $2, $3)",
                        migration.version,
                        migration.name,
                        migration.checksum,
                    )
            return missing
        finally:
            # Also of a wait that was given up just as it ended; nobody else cleans this connection.
            await connection.execute("SELECT pg_advisory_unlock_all()")


async def pending(database: Database) -> list[Migration]:
    """Return what ``migrate`` would apply; changes nothing.

    Raises:
        ConfigurationError: As for ``migrate``.
    """
    async with database.connection() as connection:
        return await _missing(connection, database.address)


async def require_current(database: Database) -> None:
    """Make sure that the schema is the one that this code expects.

    Raises:
        ConfigurationError: It is older (run ``headgate migrate``) or newer.
    """
    missing = await pending(database)
    if missing:
        raise ConfigurationError(
            f"the database at {database.address} lacks {len(missing)} migration(s), the first "
            f"{missing[0].version:04d}_{missing[0].name}: run headgate migrate"
        )


async def _missing(connection: asyncpg.Connection, address: str) -> list[Migration]:
    exists = await connection.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.migration")
    rows = await connection.fetch("SELECT version, checksum FROM migration") if exists else []
    applied = {row["version"]: row["checksum"] for row in rows}
    ours = {migration.version: migration for migration in known()}
    newest = max(applied, default=0)
    if newest > max(ours, default=0):
        raise ConfigurationError(
            f"the database at {address} is newer than this Headgate: it has migration "
            f"{newest:04d}, this version knows {max(ours, default=0):04d}; upgrade headgate"
        )
    for version, checksum in sorted(applied.items()):
        if version not in ours or ours[version].checksum != checksum:
            raise ConfigurationError(
                f"migration {version:04d} of the database at {address} is not the one of this "
                "Headgate: an applied file must never change; install the version that applied it"
            )
    return [migration for version, migration in sorted(ours.items()) if version not in applied]
