"""Silences: the table ``silence``."""

from collections.abc import Sequence
from typing import Final

from headgate.model.audit import AuditEntry
from headgate.model.silence import Silence
from headgate.store.audit import is_written, write_audit
from headgate.store.database import Database

_FIELDS: Final = (
    "id, kind, severity, subject, tenant, actor, reason, "
    "(extract(epoch FROM until) * 1000)::bigint AS until_ms"
)


class SilenceStore:
    """What people do not want to hear of for a while."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def in_force(self) -> list[Silence]:
        """Return all that hold now, the first to end first."""
        rows = await self._database.fetch(
            f"SELECT {_FIELDS} FROM silence "  # noqa: S608 - constants only
            "WHERE ended_at IS NULL AND until > now() ORDER BY until, id"
        )
        return [Silence.model_validate(dict(row)) for row in rows]

    async def one(self, id: str) -> Silence | None:
        """Return one, also one that holds no more; None: there has been none of that id."""
        rows = await self._database.fetch(
            f"SELECT {_FIELDS} FROM silence WHERE id = $1",  # noqa: S608 - constants only
            id,
        )
        return Silence.model_validate(dict(rows[0])) if rows else None

    async def add(self, silence: Silence, entries: Sequence[AuditEntry]) -> bool:
        """Write one down, and the audit with it; False: one of that id is there already."""
        async with self._database.connection() as connection, connection.transaction():
            new = await connection.fetchval(
                "INSERT INTO silence (id, kind, severity, subject, tenant, until, actor, reason) "
                "VALUES ($1, $2, $3, $4, $5, to_timestamp($6::bigint / 1000.0), $7, $8) "
                "ON CONFLICT DO NOTHING RETURNING 1",
                silence.id,
                silence.kind,
                silence.severity,
                silence.subject,
                silence.tenant,
                silence.until_ms,
                silence.actor,
                silence.reason,
            )
            if new:
                await write_audit(connection, entries)
            return bool(new)

    async def end(self, id: str, entry: AuditEntry) -> bool:
        """End one, and write the audit with it; False: none of that id holds.

        One that the same request has ended counts as ended by it.
        """
        async with self._database.connection() as connection, connection.transaction():
            found = await connection.fetchval(
                "UPDATE silence SET ended_at = now() "
                "WHERE id = $1 AND ended_at IS NULL AND until > now() RETURNING 1",
                id,
            )
            if found:
                await write_audit(connection, [entry])
            return bool(found) or await is_written(connection, entry)
