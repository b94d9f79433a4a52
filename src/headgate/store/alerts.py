"""The alerts, and which channel is to be told of which: tables ``alert`` and ``delivery``."""

from collections.abc import Mapping, Sequence

import asyncpg

from headgate.model.alert import Alert
from headgate.model.notifier import tenant_of
from headgate.store.database import Database


class AlertStore:
    """What workflows have told of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, alerts: Sequence[Alert], channels: Mapping[str, Sequence[str]]) -> int:
        """Write down alerts and where they are to go; from here on none is lost.

        An alert that is there already is left as it is: a workflow tells again when it does not
        know whether it has been heard.

        Args:
            alerts: In order.
            channels: Where to, by the id of the alert.

        Returns:
            How many were new.
        """
        new = 0
        async with self._database.connection() as connection, connection.transaction():
            for alert in alerts:
                new += await _insert(connection, alert, channels[alert.id])
        return new

    async def forget_old(self, after_s: float) -> None:
        """Delete what was told long ago, with its messages and attempts; not what still waits."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM alert a WHERE taken_at < now() - $1 * interval '1 s' AND NOT EXISTS "
                "(SELECT FROM delivery d WHERE d.alert_id = a.id "
                "AND d.state IN ('pending', 'composed'))",
                after_s,
            )
            await connection.execute(
                "DELETE FROM delivery d WHERE NOT EXISTS "
                "(SELECT FROM alert a WHERE a.id = d.alert_id)"
            )
            await connection.execute(
                "DELETE FROM alert_message m WHERE state <> 'pending' AND "
                "created_at < now() - $1 * interval '1 s' AND NOT EXISTS (SELECT FROM delivery d "
                "WHERE d.channel = m.channel AND d.message_id = m.id)",
                after_s,
            )
            await connection.execute(
                "DELETE FROM alert_attempt t WHERE at < now() - $1 * interval '1 s' AND NOT EXISTS "
                "(SELECT FROM alert_message m WHERE m.channel = t.channel AND m.id = t.message_id)",
                after_s,
            )

    async def recent(
        self,
        limit: int,
        kind: str | None = None,
        tenant: str | None = None,
        state: str | None = None,
        channel: str | None = None,
    ) -> list[asyncpg.Record]:
        """Return the latest alerts with where they went, newest first.

        ``deliveries`` is a list of objects with channel, state, note, attempts and error.
        """
        return await self._database.fetch(
            "SELECT a.content, a.taken_at, coalesce(d.list, '[]'::jsonb) AS deliveries "
            "FROM alert a LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object("
            "'channel', d.channel, 'state', d.state, 'note', d.note, 'message', d.message_id, "
            "'attempts', coalesce(m.attempts, 0), 'error', m.last_error, "
            "'delivered_at', d.delivered_at) ORDER BY d.channel) AS list "
            "FROM delivery d LEFT JOIN alert_message m "
            "ON m.channel = d.channel AND m.id = d.message_id WHERE d.alert_id = a.id) d ON true "
            "WHERE ($2::text IS NULL OR a.kind LIKE $2) AND ($3::text IS NULL OR a.tenant = $3) "
            "AND (($4::text IS NULL AND $5::text IS NULL) OR EXISTS (SELECT FROM delivery s "
            "WHERE s.alert_id = a.id AND ($4::text IS NULL OR s.state = $4) "
            "AND ($5::text IS NULL OR s.channel = $5))) ORDER BY a.seq DESC LIMIT $1",
            limit,
            None if kind is None else kind.replace("_", r"\_").replace("*", "%"),
            tenant,
            state,
            channel,
        )

    async def one(self, alert_id: str) -> asyncpg.Record | None:
        """Return an alert with where it went, as ``recent`` does; None: there is none."""
        rows = await self._database.fetch(
            "SELECT a.content, a.taken_at, coalesce((SELECT jsonb_agg(jsonb_build_object("
            "'channel', d.channel, 'state', d.state, 'note', d.note, 'message', d.message_id, "
            "'attempts', coalesce(m.attempts, 0), 'error', m.last_error, "
            "'delivered_at', d.delivered_at) ORDER BY d.channel) FROM delivery d "
            "LEFT JOIN alert_message m ON m.channel = d.channel AND m.id = d.message_id "
            "WHERE d.alert_id = a.id), '[]'::jsonb) AS deliveries FROM alert a WHERE a.id = $1",
            alert_id,
        )
        return rows[0] if rows else None

    async def attempts(self, alert_id: str) -> list[asyncpg.Record]:
        """Return every attempt at the messages that tell of an alert, oldest first."""
        return await self._database.fetch(
            "SELECT t.channel, t.message_id, t.at, t.took_ms, t.outcome, t.status, t.error "
            "FROM alert_attempt t JOIN delivery d ON d.channel = t.channel "
            "AND d.message_id = t.message_id WHERE d.alert_id = $1 ORDER BY t.id",
            alert_id,
        )


async def _insert(connection: asyncpg.Connection, alert: Alert, channels: Sequence[str]) -> int:
    new = await connection.fetchval(
        "INSERT INTO alert (id, kind, severity, subject, tenant, status, key, at_ms, content) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING 1",
        alert.id,
        alert.kind,
        alert.severity,
        alert.subject,
        tenant_of(alert),
        alert.status,
        alert.key,
        alert.at_ms,
        alert.model_dump(mode="json"),
    )
    if new:
        await connection.executemany(
            "INSERT INTO delivery (alert_id, channel) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(alert.id, channel) for channel in channels],
        )
    return 1 if new else 0
