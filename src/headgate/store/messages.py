"""What is sent to channels: tables ``alert_message`` and ``alert_in_message``."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from headgate.model.audit import AuditEntry
from headgate.store.audit import write_once
from headgate.store.channel_rows import (
    REMINDER,
    Failure,
    Part,
    Row,
    Tell,
)
from headgate.store.channel_steps import (
    note_attempt,
    note_failed_attempt,
    note_failure,
    note_works,
    put_message,
    put_parts,
    tell_of,
)
from headgate.store.database import Database


class _MovedOnError(Exception):
    """What a message was to tell of is told of by another one; undoes the transaction."""


class MessageStore:
    """The messages that wait for a channel, in their order, and what has become of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since_groups(self, channel: str) -> dict[str, int]:
        """Return how many milliseconds ago the last group was made, by topic."""
        rows = await self._database.fetch(
            "SELECT topic, (extract(epoch FROM now() - max(created_at)) * 1000)::bigint AS ago "
            "FROM alert_message WHERE channel = $1 AND form = 'group' "
            "AND created_at > now() - interval '1 hour' GROUP BY topic",
            channel,
        )
        return {row["topic"]: row["ago"] for row in rows}

    async def add(
        self, channel: str, message: dict[str, Any], topic: str, alerts: Sequence[str]
    ) -> bool:
        """Keep a message, and write down which alerts it tells of.

        Returns:
            False: one of them has gone another way meanwhile, such as by ``again``; compose anew.
        """
        with suppress(_MovedOnError):
            async with self._database.connection() as connection, connection.transaction():
                # First the message, then what it tells of, as everywhere: nobody waits in a ring.
                told = await put_message(connection, channel, message, topic, alerts, "pending")
                if told < len(alerts):
                    raise _MovedOnError
                return True
        return False

    async def again(
        self, alert: str, messages: Mapping[str, tuple[dict[str, Any], str]], entry: AuditEntry
    ) -> None:
        """Send an alert once more, whatever has become of it; written to the audit.

        A message that is there is sent as it is: its id stands for its content. What has been done
        for the same request is not done again.

        Args:
            alert: Its id.
            messages: The message and its topic, by channel.
            entry: For the audit.
        """
        async with self._database.connection() as connection, connection.transaction():
            if not await write_once(connection, entry):
                return
            for channel, (message, topic) in sorted(messages.items()):
                await connection.execute(
                    "INSERT INTO delivery (alert_id, channel) VALUES ($1, $2) "
                    "ON CONFLICT DO NOTHING",
                    alert,
                    channel,
                )
                await connection.execute(
                    "UPDATE alert_message SET state = 'pending', due_at = now(), "
                    "created_at = now(), parts_taken = 0, refused = false "
                    "WHERE channel = $1 AND id = $2",
                    channel,
                    message["id"],
                )
                await put_message(connection, channel, message, topic, [alert])
                await connection.execute(
                    "UPDATE channel SET not_before = '-infinity' WHERE name = $1", channel
                )

    async def next(self, channel: str) -> Row | None:
        """Return the first message that may be tried now; None: there is none.

        What is about the same keeps its order. When there is no other, also one that was never
        tried and of which only a part has to wait for an earlier message.
        """
        rows = await self._database.fetch(
            "WITH open AS MATERIALIZED (SELECT m.id, m.due_at <= now() AS is_due, m.attempts, "
            "m.parts_taken, coalesce(m.place, ARRAY[m.seq]) AS place, i.alert_id, i.subject "
            "FROM alert_message m JOIN alert_in_message i ON i.channel = m.channel "
            "AND i.message_id = m.id WHERE m.channel = $1 AND m.state = 'pending'), "
            "ordered AS (SELECT *, first_value(id) OVER "
            "(PARTITION BY subject ORDER BY place) = id AS is_first FROM open), "
            "next AS (SELECT o.id, bool_and(is_first) AS is_whole, "
            "coalesce(array_agg(o.alert_id) FILTER (WHERE d.state = 'composed'), '{}') AS members, "
            "coalesce(array_agg(o.alert_id) FILTER (WHERE d.state = 'composed' AND NOT is_first), "
            "'{}') AS held FROM ordered o LEFT JOIN delivery d ON d.channel = $1 "
            "AND d.alert_id = o.alert_id AND d.message_id = o.id "
            "WHERE is_due GROUP BY o.id, place, attempts, parts_taken "
            "HAVING bool_and(is_first) "
            "OR bool_or(is_first) AND attempts = 0 AND parts_taken = 0 "
            "ORDER BY 2 DESC, place LIMIT 1) "
            "SELECT m.content, m.attempts, m.parts_taken, n.members, "
            "CASE WHEN n.is_whole THEN '{}' ELSE n.held END AS held "
            "FROM next n JOIN alert_message m ON m.channel = $1 AND m.id = n.id",
            channel,
        )
        return Row(**dict(rows[0])) if rows else None

    async def adopt(self) -> None:
        """Write down which alerts messages tell of that an older process has left without that."""
        await self._database.execute(
            "INSERT INTO alert_in_message (channel, message_id, alert_id, subject) "
            "SELECT m.channel, m.id, one->>'id', one->>'subject' FROM alert_message m, "
            "jsonb_array_elements(m.content->'alerts') one WHERE m.state = 'pending' "
            "AND NOT EXISTS (SELECT FROM alert_in_message i WHERE i.channel = m.channel "
            "AND i.message_id = m.id) ON CONFLICT DO NOTHING"
        )

    async def divide(self, channel: str, message: str, parts: Sequence[Part]) -> None:
        """Put several messages in the place of one that was not taken; see ``Row.members``."""
        async with self._database.connection() as connection, connection.transaction():
            await put_parts(connection, channel, message, parts)

    async def has_taken_since(self, channel: str, message: str) -> bool:
        """Return whether a channel has taken any message since that one was made."""
        found = await self._database.fetch_value(
            "SELECT true FROM alert_message m WHERE m.channel = $1 AND m.id = $2 AND EXISTS "
            "(SELECT FROM alert_attempt t WHERE t.channel = $1 AND t.at > m.created_at "
            "AND t.outcome = 'delivered' AND t.message_id <> $3)",
            channel,
            message,
            REMINDER,
        )
        return bool(found)

    async def delivered(self, channel: str, message: str, took_ms: int, tell: Tell) -> int:
        """Write down that a message was taken, and with it all its alerts.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                "UPDATE alert_message SET state = 'delivered', attempts = attempts + 1, "
                "done_at = now(), last_error = NULL, refused = false "
                "WHERE channel = $1 AND id = $2",
                channel,
                message,
            )
            await connection.execute(
                "UPDATE delivery SET state = 'delivered', delivered_at = now(), note = NULL "
                "WHERE channel = $1 AND message_id = $2",
                channel,
                message,
            )
            await note_attempt(connection, channel, message, took_ms, "delivered", None, None)
            await note_works(connection, channel)
            return await tell_of(connection, channel, tell)

    async def failed(
        self,
        channel: str,
        message: str,
        failure: Failure,
        tell: Tell,
        parts: Sequence[Part] = (),
    ) -> int:
        """Write down a failed attempt, and when to try again: the message, or all the channel.

        Args:
            channel: Its name.
            message: The id of what was tried.
            failure: What happened.
            tell: What to tell of it.
            parts: What to try at once in place of the message.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                "UPDATE alert_message SET attempts = attempts + 1, last_error = $3, "
                "due_at = now() + $4 * interval '1 s', refused = refused OR $5 "
                "WHERE channel = $1 AND id = $2",
                channel,
                message,
                failure.error,
                failure.again_s if failure.of_message else 0.0,
                failure.of_message and not parts,
            )
            await note_failed_attempt(connection, channel, message, failure)
            if parts:
                await put_parts(connection, channel, message, parts)
            if not failure.of_message:
                await note_failure(
                    connection, channel, failure.error, failure.again_s, failure.disable
                )
            return await tell_of(connection, channel, tell)
