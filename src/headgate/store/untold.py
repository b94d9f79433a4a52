"""Alerts that are in no message yet: table ``delivery``."""

from collections.abc import Mapping, Sequence

from headgate.model.alert import Alert
from headgate.store.channel_rows import (
    ALERT,
    Untold,
)
from headgate.store.database import Database


class UntoldStore:
    """What channels are to be told of, or are not because of a silence."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, channel: str, limit: int) -> list[Untold]:
        """Return the alerts that are in no message yet, in order.

        Not those about what a message tells of that is still to be taken: they come after it, and
        nothing that is told together with them should have to wait for it.

        Of more than ``limit`` those about no tenant come first: they are few, wait for no group,
        and thousands of tenants should not stand between them and the people on call.
        """
        rows = await self._database.fetch(
            "WITH held AS MATERIALIZED (SELECT DISTINCT i.subject FROM alert_message m "
            "JOIN alert_in_message i ON i.channel = m.channel AND i.message_id = m.id "
            "WHERE m.channel = $1 AND m.state = 'pending') "
            "SELECT a.content, (extract(epoch FROM now() - d.created_at) * 1000)::bigint AS waited,"
            # Told once is told, though what was said again later may have been silenced.
            " coalesce(begun.is_known, false) AS is_known, "
            "CASE WHEN begun.is_unheard THEN begun.silence END AS silence "
            "FROM (SELECT d.alert_id FROM delivery d JOIN alert a ON a.id = d.alert_id "
            "WHERE d.channel = $1 AND d.state = 'pending' "
            "AND a.subject NOT IN (SELECT subject FROM held) "
            "ORDER BY a.tenant IS NOT NULL, a.seq LIMIT $2) first "
            "JOIN delivery d ON d.alert_id = first.alert_id AND d.channel = $1 "
            "JOIN alert a ON a.id = d.alert_id "
            "LEFT JOIN LATERAL (SELECT bool_or(o.state IN ('composed', 'delivered')) AS is_known, "
            "bool_and(o.state = 'silenced') AS is_unheard, max(o.silence_id) AS silence "
            "FROM alert p JOIN delivery o ON o.alert_id = p.id AND o.channel = d.channel "
            "WHERE a.status = 'resolved' AND a.key <> '' AND p.key = a.key AND p.key <> '' "
            "AND p.status = 'firing' AND p.seq < a.seq AND p.seq > coalesce((SELECT max(r.seq) "
            "FROM alert r WHERE r.key = a.key AND r.key <> '' AND r.status = 'resolved' "
            "AND r.seq < a.seq), 0)) begun ON true ORDER BY a.seq",
            channel,
            limit,
        )
        return [
            Untold(
                Alert.model_validate(row["content"]), row["waited"], row["is_known"], row["silence"]
            )
            for row in rows
        ]

    async def ending(self, channel: str, message: str, alerts: Sequence[str]) -> list[Alert]:
        """Return what waits about what is over by now though no message of it was taken, in order.

        Nothing where another message waits about the same subject: it comes first.

        Args:
            channel: Its name.
            message: The id of the message that was not taken.
            alerts: The ids of what it tells of.
        """
        rows = await self._database.fetch(
            "SELECT DISTINCT f.subject FROM alert f WHERE f.id = ANY ($3) AND f.status = 'firing' "
            "AND f.key <> '' AND EXISTS (SELECT FROM (SELECT id, status FROM alert "
            "WHERE key = f.key AND key <> '' AND seq > f.seq OFFSET 0) r JOIN delivery d "
            "ON d.alert_id = r.id AND d.channel = $1 WHERE r.status = 'resolved' "
            "AND d.state = 'pending') AND NOT EXISTS (SELECT FROM alert_message m "
            "JOIN alert_in_message i ON i.channel = m.channel AND i.message_id = m.id "
            "WHERE m.channel = $1 AND m.state = 'pending' AND m.id <> $2 "
            "AND i.subject = f.subject)",
            channel,
            message,
            list(alerts),
        )
        if not rows:
            return []
        found = await self._database.fetch(
            "SELECT a.content FROM delivery d JOIN alert a ON a.id = d.alert_id "
            "WHERE d.channel = $1 AND d.state = 'pending' AND a.subject = ANY ($2) ORDER BY a.seq",
            channel,
            [row["subject"] for row in rows],
        )
        return [Alert.model_validate(row["content"]) for row in found]

    async def silence(
        self, channel: str, silences: Mapping[str, str], unheard: Mapping[str, str]
    ) -> None:
        """Write down that alerts are not told of.

        Args:
            channel: Its name.
            silences: The silence of each, by alert; it counts as long as it holds.
            unheard: By alert, of what is over, the silence that kept its beginning from there;
                whether it still holds does not matter.
        """
        async with self._database.connection() as connection, connection.transaction():
            # Locked: none is lifted before what it keeps silent stands there, to be found by that.
            rows = await connection.fetch(
                "SELECT id FROM silence WHERE id = ANY($1) AND ended_at IS NULL AND until > now() "
                "AND NOT lifted ORDER BY id FOR SHARE",
                sorted({*silences.values()}),
            )
            held = {row["id"] for row in rows}
            covered = {alert: id for alert, id in silences.items() if id in held}
            await connection.executemany(
                "UPDATE delivery SET state = 'silenced', silence_id = $3, note = $4 "
                "WHERE channel = $1 AND alert_id = $2 AND state = 'pending'",
                [
                    (channel, alert, id, f"silenced by {id}")
                    for alert, id in {**unheard, **covered}.items()
                ],
            )

    async def lift(self, channels: Sequence[str]) -> None:
        """Have told what silences that have ended kept from channels and that is still so.

        Of each thing the latest word, where nothing has been told of it since; what stands alone
        has passed.
        """
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(
                "UPDATE silence SET lifted = true "
                "WHERE NOT lifted AND (ended_at IS NOT NULL OR until <= now()) RETURNING id"
            )
            if not rows:
                return
            await connection.execute(
                "UPDATE delivery d SET state = 'pending', created_at = now(), silence_id = NULL, "  # noqa: S608 - constants only
                "note = NULL FROM (SELECT s.alert_id, s.channel FROM delivery s "
                f"CROSS JOIN LATERAL {ALERT} a WHERE s.state = 'silenced' "
                "AND s.silence_id = ANY($1) AND s.channel = ANY($2) AND a.status = 'firing' "
                "AND a.key <> '' AND NOT EXISTS (SELECT FROM (SELECT l.id, l.status FROM alert l "
                "WHERE l.key = a.key AND l.key <> '' AND l.seq > a.seq OFFSET 0) l "
                "WHERE l.status = 'resolved' OR EXISTS (SELECT FROM (SELECT channel FROM delivery "
                "WHERE alert_id = l.id OFFSET 0) o WHERE o.channel = s.channel)) OFFSET 0) lasts "
                "WHERE d.alert_id = lasts.alert_id AND d.channel = lasts.channel",
                [row["id"] for row in rows],
                list(channels),
            )
