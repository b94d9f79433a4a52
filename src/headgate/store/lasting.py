"""What channels were told of that is still so, and what is over."""

from collections.abc import Sequence

from headgate.model.alert import Alert
from headgate.store.channel_rows import (
    ALERT,
    REMINDER,
    Failure,
    Tell,
)
from headgate.store.channel_steps import (
    note_attempt,
    note_failed_attempt,
    note_failure,
    note_works,
    tell_of,
)
from headgate.store.database import Database


class LastingStore:
    """What channels have been told and may have to be told again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def incidents_over(self, channel: str, alerts: Sequence[str]) -> list[str]:
        """Return the incidents of a channel that are over once it is told of these alerts.

        Only of what the channel was told since the last time that it was told that it was over:
        what ended before that has ended its incidents then. What a message is sent again for is
        not such a time, so its own end is left out.

        Args:
            channel: Its name.
            alerts: The ids of all alerts of the message; only those that are resolved end anything.

        Returns:
            The keys of those that had an incident of their own, then the ids of the groups and
            summaries of which nothing fires any more; each in the order in which it began.
        """
        rows = await self._database.fetch(
            # OFFSET 0 keeps the order in which tables are read, and by which of their indexes: from
            # the few alerts to theirs, also where Postgres does not know yet how much history there
            # is. In a storm it takes tables for empty that have just been filled, and any index of
            # theirs for as good as another.
            "WITH over AS MATERIALIZED (SELECT a.key, max(a.seq) AS seq, coalesce((SELECT r.seq "
            "FROM alert r WHERE r.key = a.key AND r.key <> '' AND r.status = 'resolved' "
            "AND r.seq < max(a.seq) AND r.id <> ALL ($2) AND EXISTS (SELECT FROM "
            "(SELECT channel, state FROM delivery WHERE alert_id = r.id OFFSET 0) s "
            "WHERE s.channel = $1 AND s.state IN ('composed', 'delivered')) "
            "ORDER BY r.seq DESC LIMIT 1), 0) AS since "
            "FROM (SELECT key, seq, status FROM alert WHERE id = ANY ($2) OFFSET 0) a "
            "WHERE a.status = 'resolved' AND a.key <> '' GROUP BY a.key), "
            "begun AS MATERIALIZED (SELECT m.id, m.form, min(m.seq) AS seq, "
            "CASE m.form WHEN 'alert' THEN o.key END AS key FROM over o "
            "CROSS JOIN LATERAL (SELECT f.id FROM alert f WHERE f.key = o.key AND f.key <> '' "
            "AND f.status = 'firing' AND f.seq > o.since AND f.seq < o.seq OFFSET 0) f "
            "CROSS JOIN LATERAL (SELECT i.message_id FROM alert_in_message i "
            "WHERE i.alert_id = f.id AND i.channel = $1 OFFSET 0) i "
            "CROSS JOIN LATERAL (SELECT m.id, m.form, m.seq FROM alert_message m "
            "WHERE m.channel = $1 AND m.id = i.message_id OFFSET 0) m GROUP BY 1, 2, 4) "
            "SELECT coalesce(b.key, b.id) AS incident FROM begun b "
            "WHERE b.form = 'alert' OR NOT EXISTS (SELECT FROM (SELECT e.alert_id "
            "FROM alert_in_message e WHERE e.channel = $1 AND e.message_id = b.id OFFSET 0) e "
            "CROSS JOIN LATERAL (SELECT l.key, l.seq, l.status FROM alert l "
            "WHERE l.id = e.alert_id OFFSET 0) f "
            "WHERE f.status = 'firing' AND f.key <> '' "
            "AND NOT EXISTS (SELECT FROM over o WHERE o.key = f.key AND o.seq > f.seq) "
            # What was given up is over as well; what still waits ends it when it is told.
            "AND NOT EXISTS (SELECT FROM alert r WHERE r.key = f.key AND r.key <> '' "
            "AND r.status = 'resolved' AND r.seq > f.seq AND EXISTS (SELECT FROM "
            "(SELECT channel, state FROM delivery WHERE alert_id = r.id OFFSET 0) s "
            "WHERE s.channel = $1 AND s.state <> 'pending'))) "
            "GROUP BY incident, b.form ORDER BY b.form <> 'alert', min(b.seq)",
            channel,
            list(alerts),
        )
        return [row["incident"] for row in rows]

    async def still(self, channel: str) -> list[Alert]:
        """Return what a channel was told that is still so, the latest word of each."""
        rows = await self._database.fetch(
            "SELECT DISTINCT ON (a.key) a.content FROM delivery s "  # noqa: S608 - constants only
            f"CROSS JOIN LATERAL {ALERT} a WHERE s.channel = $1 AND s.state = 'delivered' "
            "AND a.status = 'firing' AND a.key <> '' AND NOT EXISTS (SELECT FROM "
            "(SELECT r.status FROM alert r WHERE r.key = a.key AND r.key <> '' AND r.seq > a.seq "
            "OFFSET 0) r WHERE r.status = 'resolved') ORDER BY a.key, a.seq DESC",
            channel,
        )
        return [Alert.model_validate(row["content"]) for row in rows]

    async def to_remind(self, channels: Sequence[str], after_ms: int) -> set[str]:
        """Return those of the channels that have not been reminded for so long."""
        rows = await self._database.fetch(
            "SELECT name FROM channel WHERE name = ANY($1) AND disabled_at IS NULL "
            "AND not_before <= now() AND claimed_until <= now() "
            "AND reminded_at <= now() - $2 * interval '1 ms'",
            list(channels),
            after_ms,
        )
        return {row["name"] for row in rows}

    async def reminded(self, channel: str, took_ms: int | None, tell: Tell) -> int:
        """Write down that a channel was told all that is still so.

        Args:
            channel: Its name.
            took_ms: How long it took; None: nothing is so, and nothing was sent.
            tell: What to tell of it.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            if took_ms is not None:
                await note_attempt(connection, channel, REMINDER, took_ms, "delivered", None, None)
                await note_works(connection, channel)
            await connection.execute(
                "UPDATE channel SET reminded_at = now() WHERE name = $1", channel
            )
            return await tell_of(connection, channel, tell)

    async def not_reminded(
        self,
        channel: str,
        failure: Failure,
        tell: Tell,
    ) -> int:
        """Write down that a channel did not take a reminder, and when to try again.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await note_failed_attempt(connection, channel, REMINDER, failure)
            if failure.of_message:
                # What is not liked is not pressed upon it: at the next time, with what is so then.
                await connection.execute(
                    "UPDATE channel SET reminded_at = now() WHERE name = $1", channel
                )
            else:
                await note_failure(
                    connection, channel, failure.error, failure.again_s, failure.disable
                )
            return await tell_of(connection, channel, tell)
