"""Silences: the table ``silence``."""

from collections.abc import Sequence

import asyncpg

from headgate.model.audit import AuditEntry
from headgate.model.silence import Silence
from headgate.store.audit import write_audit
from headgate.store.database import Database


class SilenceStore:
    """What people do not want to hear of for a while."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def in_force(self) -> list[Silence]:
        """Return all that hold now, the first to end first."""
        rows = await self._database.fetch(
            "SELECT id, kind, severity, subject, tenant, actor, reason, "
            "(extract(epoch FROM until) * 1000)::bigint AS until_ms FROM silence "
            "WHERE ended_at IS NULL AND until > now() ORDER BY until, id"
        )
        return [Silence.model_validate(dict(row)) for row in rows]

    async def add(self, silence: Silence, entries: Sequence[AuditEntry]) -> None:
        """Write one down, and the audit with it."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO silence (id, kind, severity, subject, tenant, until, actor, reason) "
                "VALUES ($1, $2, $3, $4, $5, to_timestamp($6::bigint / 1000.0), $7, $8)",
                silence.id,
                silence.kind,
                silence.severity,
                silence.subject,
                silence.tenant,
                silence.until_ms,
                silence.actor,
                silence.reason,
            )
            await write_audit(connection, entries)

    async def end(self, id: str, entries: Sequence[AuditEntry]) -> bool:
        """End one, and write the audit with it; False: none of that id holds."""
        async with self._database.connection() as connection, connection.transaction():
            found: asyncpg.Record | None = await connection.fetchrow(
                "UPDATE silence SET ended_at = now() "
                "WHERE id = $1 AND ended_at IS NULL AND until > now() RETURNING id",
                id,
            )
            if found is not None:
                await write_audit(connection, entries)
            return found is not None
