"""The audit: who changed what, and why."""

from collections.abc import Sequence

import asyncpg

from headgate.model.audit import AuditEntry


async def write_audit(connection: asyncpg.Connection, entries: Sequence[AuditEntry]) -> None:
    """Write entries; one that is there is left alone, so that writing may be tried again."""
    await connection.executemany(
        "INSERT INTO audit (at, actor, reason, action, target, before, after, request_id) "
        "VALUES (to_timestamp($1::bigint / 1000.0), $2, $3, $4, $5, $6, $7, $8) "
        "ON CONFLICT DO NOTHING",
        [
            (
                entry.at_ms,
                entry.actor,
                entry.reason,
                entry.action,
                entry.target,
                entry.before or None,
                entry.after or None,
                entry.request_id,
            )
            for entry in entries
        ],
    )
