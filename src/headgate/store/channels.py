"""What channels are like, and who serves them: table ``channel``."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from headgate.model.alert import Alert
from headgate.model.audit import AuditEntry
from headgate.store.alerts import write_alert
from headgate.store.audit import write_once
from headgate.store.channel_rows import (
    STATE,
    ChannelState,
    Tell,
)
from headgate.store.channel_steps import (
    note_failure,
    note_works,
    tell_of,
    try_now,
)
from headgate.store.database import Database

GIVE_UP_S: Final = 3 * 86_400.0
"""What a channel has not taken for so long is given up, and another channel told."""


class ChannelStore:
    """The channels, each served by one worker at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def with_work(self) -> set[str]:
        """Return the channels for which something waits."""
        rows = await self._database.fetch(
            "SELECT w.channel FROM (SELECT channel FROM delivery WHERE state = 'pending' "
            "UNION SELECT channel FROM alert_message WHERE state = 'pending') w "
            "LEFT JOIN channel c ON c.name = w.channel "
            "WHERE c.name IS NULL OR (c.claimed_until <= now())"
        )
        return {row["channel"] for row in rows}

    async def claim(
        self, name: str, worker: str, fingerprint: str, for_s: float
    ) -> ChannelState | None:
        """Become the one that serves a channel, or go on being that; None: another one is.

        Other settings than before make a channel be tried again at once, also a disabled one, with
        all that it refused, from the beginning of each message: another kind takes other parts.
        """
        rows = await self._database.fetch(
            "WITH was AS (SELECT fingerprint FROM channel WHERE name = $1), "  # noqa: S608 - constants only
            "claimed AS (INSERT INTO channel AS c "
            "(name, fingerprint, claimed_by, claimed_until) "
            "VALUES ($1, $3, $2, now() + $4 * interval '1 s') ON CONFLICT (name) DO UPDATE SET "
            "claimed_by = $2, claimed_until = now() + $4 * interval '1 s', fingerprint = $3, "
            "disabled_at = CASE WHEN c.fingerprint = $3 THEN c.disabled_at END, "
            "not_before = CASE WHEN c.fingerprint = $3 THEN c.not_before ELSE '-infinity' END "
            "WHERE c.claimed_until <= now() OR c.claimed_by = $2 "
            f"RETURNING {STATE}), "
            "due AS (UPDATE alert_message m SET due_at = now(), parts_taken = 0 FROM was, claimed "
            "WHERE was.fingerprint <> $3 AND m.channel = $1 AND m.state = 'pending') "
            "SELECT * FROM claimed",
            name,
            worker,
            fingerprint,
            for_s,
        )
        return ChannelState(**dict(rows[0])) if rows else None

    async def hold(
        self, name: str, worker: str, for_s: float, message: str, parts_taken: int
    ) -> bool:
        """Write down how much of a message was taken, and go on serving its channel.

        Returns:
            Whether this worker still serves it: another one may have taken over meanwhile.
        """
        held = await self._database.fetch_value(
            "WITH held AS (UPDATE channel SET claimed_until = now() + $3 * interval '1 s' "
            "WHERE name = $1 AND claimed_by = $2 RETURNING name) "
            "UPDATE alert_message m SET parts_taken = $5 FROM held "
            "WHERE m.channel = held.name AND m.id = $4 RETURNING true",
            name,
            worker,
            for_s,
            message,
            parts_taken,
        )
        return bool(held)

    async def release(self, name: str, worker: str) -> None:
        """Let another worker serve a channel."""
        await self._database.execute(
            "UPDATE channel SET claimed_until = '-infinity' WHERE name = $1 AND claimed_by = $2",
            name,
            worker,
        )

    async def unserved(self) -> set[str]:
        """Return the channels that something is known of, and that nobody serves right now."""
        rows = await self._database.fetch("SELECT name FROM channel WHERE claimed_until <= now()")
        return {row["name"] for row in rows}

    async def failing(self) -> set[str]:
        """Return the channels that have failed lately, and that nobody serves right now."""
        rows = await self._database.fetch(
            "SELECT name FROM channel WHERE claimed_until <= now() AND failing_since IS NOT NULL"
        )
        return {row["name"] for row in rows}

    async def state(self, channel: str) -> ChannelState | None:
        """Return what a channel is like; None: it has not been used yet."""
        return (await self.states([channel])).get(channel)

    async def states(self, channels: Sequence[str]) -> dict[str, ChannelState]:
        """Return what channels are like, by name; not those that have not been used yet."""
        rows = await self._database.fetch(
            f"SELECT name, {STATE} FROM channel WHERE name = ANY($1)",  # noqa: S608 - constants only
            list(channels),
        )
        fields = [dict(row) for row in rows]
        return {one.pop("name"): ChannelState(**one) for one in fields}

    async def lately(self, channel: str) -> int:
        """Return how many messages a channel was sent, or should have taken, in the last minute."""
        found: int = await self._database.fetch_value(
            "SELECT count(*) FROM alert_attempt WHERE channel = $1 "
            "AND at > now() - interval '1 minute'",
            channel,
        )
        return found

    async def look(self, channel: str, tell: Tell) -> int:
        """Give up what was not taken for three days, and tell what time makes worth telling.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                "UPDATE alert_message SET state = 'abandoned', done_at = now() WHERE channel = $1 "
                "AND state = 'pending' AND created_at < now() - $2 * interval '1 s'",
                channel,
                GIVE_UP_S,
            )
            rows = await connection.fetch(
                "UPDATE delivery d SET state = 'abandoned', note = coalesce("
                "(SELECT m.last_error FROM alert_message m WHERE m.channel = d.channel "
                "AND m.id = d.message_id), (SELECT c.last_error FROM channel c "
                "WHERE c.name = d.channel), 'not taken for three days') "
                "WHERE d.channel = $1 AND (d.state = 'composed' AND EXISTS (SELECT FROM "
                "alert_message m WHERE m.channel = d.channel AND m.id = d.message_id "
                "AND m.state = 'abandoned') OR d.state = 'pending' "
                "AND d.created_at < now() - $2 * interval '1 s') RETURNING d.note",
                channel,
                GIVE_UP_S,
            )
            counts = Counter(row["note"] for row in rows)
            given_up = [(count, note) for note, count in sorted(counts.items())]
            return await tell_of(connection, channel, tell, given_up)

    async def works(self, channel: str, tell: Tell) -> int:
        """Write down that a channel can be served, though nothing was sent to it just now.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await note_works(connection, channel)
            return await tell_of(connection, channel, tell)

    async def failed_otherwise(
        self, channel: str, error: str, *, again_s: float, tell: Tell
    ) -> int:
        """Write down that a channel cannot be served, though no message of it has failed.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await note_failure(connection, channel, error, again_s, disable=False)
            return await tell_of(connection, channel, tell)

    async def forget(self, channel: str, tell: Tell) -> int:
        """Give up what waits for a channel that is configured no more, and what is known of it.

        Returns:
            How many alerts ``tell`` has led to.
        """
        note = "the channel is configured no more"
        async with self._database.connection() as connection, connection.transaction():
            gone = await connection.fetch(
                "UPDATE delivery SET state = 'abandoned', note = $2 "
                "WHERE state IN ('pending', 'composed') AND channel = $1 RETURNING alert_id",
                channel,
                note,
            )
            await connection.execute(
                "UPDATE alert_message SET state = 'abandoned', done_at = now(), last_error = $2 "
                "WHERE state = 'pending' AND channel = $1",
                channel,
                note,
            )
            given_up = [(len(gone), note)] if gone else []
            told = await tell_of(connection, channel, tell, given_up, is_configured=False)
            await connection.execute("DELETE FROM channel WHERE name = $1", channel)
            return told

    async def enable(self, channel: str, entry: AuditEntry) -> bool:
        """Try a channel again at once; False: nothing was known of it. Written to the audit.

        What has been done for the same request is not done again.
        """
        async with self._database.connection() as connection, connection.transaction():
            found = await connection.fetchval(
                "SELECT true FROM channel WHERE name = $1 FOR UPDATE", channel
            )
            if found and await write_once(connection, entry):
                await connection.execute(
                    "UPDATE channel SET disabled_at = NULL WHERE name = $1", channel
                )
                await try_now(connection, channel)
            return bool(found)

    async def trial(self, channel: str, alert: Alert, entry: AuditEntry) -> None:
        """Tell a channel of a test, at once and with all that it was to be told; likewise once."""
        async with self._database.connection() as connection, connection.transaction():
            if await write_once(connection, entry):
                await write_alert(connection, alert, [channel])
                await try_now(connection, channel)

    async def try_refused(self) -> None:
        """Try at once what was refused, as when a secret may have been put right.

        A channel that wants to be asked later (429, Retry-After), or that was not reached, is left
        alone: no secret helps there.
        """
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute(
                "UPDATE alert_message SET due_at = now() WHERE state = 'pending' AND refused"
            )
            await connection.execute(
                "UPDATE channel c SET not_before = '-infinity' WHERE not_before > now() AND "
                "(SELECT t.status BETWEEN 300 AND 499 AND t.status NOT IN (408, 425, 429) "
                "FROM alert_attempt t WHERE t.channel = c.name ORDER BY t.at DESC LIMIT 1)"
            )
