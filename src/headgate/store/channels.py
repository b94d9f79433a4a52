"""What channels are like and what is sent to them: tables ``channel`` and ``alert_message``."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import asyncpg

from headgate.model.alert import Alert
from headgate.model.audit import AuditEntry
from headgate.model.channel_alerts import LASTING, key_of
from headgate.store.alerts import write_alert
from headgate.store.audit import write_once
from headgate.store.database import Database

GIVE_UP_S: Final = 3 * 86_400.0
"""What a channel has not taken for so long is given up, and another channel told."""

REMINDER: Final = "reminder"
"""Stands in the place of a message in the attempts at telling what is still so."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What a channel is like, once it has been claimed.

    Attributes:
        is_disabled: It is not tried until it is enabled again, or its settings change.
        is_waiting: It has failed lately, and is not tried yet.
        failing_ms: For how long it has been failing; None: it is not.
        failing_since_ms: Since when, Unix time.
        last_error: What its last failure was.
        failures: How many there were in a row.
        reminded_ms: How long ago it was last told all that is still so.
    """

    is_disabled: bool
    is_waiting: bool
    failing_ms: int | None
    failing_since_ms: int | None
    last_error: str | None
    failures: int
    reminded_ms: int


NEVER_TRIED: Final = ChannelState(False, False, None, None, None, 0, 0)

_ALERT: Final = "(SELECT key, seq, status, content FROM alert WHERE id = s.alert_id OFFSET 0)"
"""The alert of a delivery ``s``, found by its id whatever is asked of it.

OFFSET 0 keeps what is asked of it outside. In a storm Postgres takes tables for empty that have
just been filled, and an index in which there are only alerts with a key for the way to any.
"""

_STATE: Final = (
    "disabled_at IS NOT NULL AS is_disabled, not_before > now() AS is_waiting, "
    "(extract(epoch FROM now() - failing_since) * 1000)::bigint AS failing_ms, "
    "(extract(epoch FROM failing_since) * 1000)::bigint AS failing_since_ms, "
    "last_error, failures, (extract(epoch FROM now() - reminded_at) * 1000)::bigint AS reminded_ms"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What there may be to tell of a channel.

    Attributes:
        state: What it is like.
        refused: How many messages wait that it did not like.
        refusal: How it said so of the first.
        given_up: How many alerts were given up just now, by the reason.
        told: What people know of it and is not over, by kind.
        is_configured: It is one of the channels that there are.
        outcome: Of the attempt that failed last, as in the record of attempts.
        status: Its HTTP status, if there was an answer.
    """

    state: ChannelState
    refused: int
    refusal: str | None
    given_up: Sequence[tuple[int, str]]
    told: Mapping[str, Alert]
    is_configured: bool = True
    outcome: str | None = None
    status: int | None = None


Tell = Callable[[Standing], Sequence[tuple[Alert, Sequence[str]]]]
"""What there is to tell of a channel, and to which others. It is written down together with what
it is about, so that neither is lost without the other and nothing is told twice."""


class Untold(NamedTuple):
    """An alert that is in no message yet.

    Attributes:
        alert: The alert.
        waited_ms: For how long it has waited.
        is_known: It resolves one of which the channel has been told.
        silence: It resolves what the channel has not been told of, by this silence.
    """

    alert: Alert
    waited_ms: int
    is_known: bool
    silence: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A message that was not taken yet.

    Attributes:
        content: What was composed.
        attempts: How often it was tried.
        parts_taken: How much of it has been taken, where it takes several requests.
        members: The alerts that only it tells of: none that was sent again alone meanwhile.
        held: Those of them that have to wait for an earlier message about the same.
    """

    content: dict[str, Any]
    attempts: int
    parts_taken: int
    members: list[str]
    held: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the messages that a message is divided into.

    Attributes:
        message: What is sent.
        topic: What makes alerts fit into one group.
        alerts: The ids of those that it tells of.
    """

    message: dict[str, Any]
    topic: str
    alerts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed.

    Attributes:
        took_ms: How long it took.
        outcome: The kind of failure, as in the record of attempts.
        status: The HTTP status, if there was an answer.
        error: In words.
        again_s: After what time to try again.
        of_message: The message is not liked, rather than the channel out of reach.
        disable: The channel is gone for good.
    """

    took_ms: int
    outcome: str
    status: int | None
    error: str
    again_s: float
    of_message: bool
    disable: bool

    async def attempt(self, connection: asyncpg.Connection, channel: str, what: str) -> None:
        """Record the attempt."""
        await _attempt(
            connection, channel, what, self.took_ms, self.outcome, self.status, self.error
        )

    async def fail(self, connection: asyncpg.Connection, channel: str) -> None:
        """Note that the channel is out of reach, or gone."""
        await _fail(connection, channel, self.error, self.again_s, self.disable)


class ChannelStore:
    """The queue of each channel, served by one worker at a time."""

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
            f"RETURNING {_STATE}), "
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

    # What waits --------------------------------------------------------------------------------

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
                f"CROSS JOIN LATERAL {_ALERT} a WHERE s.state = 'silenced' "
                "AND s.silence_id = ANY($1) AND s.channel = ANY($2) AND a.status = 'firing' "
                "AND a.key <> '' AND NOT EXISTS (SELECT FROM (SELECT l.id, l.status FROM alert l "
                "WHERE l.key = a.key AND l.key <> '' AND l.seq > a.seq OFFSET 0) l "
                "WHERE l.status = 'resolved' OR EXISTS (SELECT FROM (SELECT channel FROM delivery "
                "WHERE alert_id = l.id OFFSET 0) o WHERE o.channel = s.channel)) OFFSET 0) lasts "
                "WHERE d.alert_id = lasts.alert_id AND d.channel = lasts.channel",
                [row["id"] for row in rows],
                list(channels),
            )

    async def lately(self, channel: str) -> int:
        """Return how many messages a channel was sent, or should have taken, in the last minute."""
        found: int = await self._database.fetch_value(
            "SELECT count(*) FROM alert_attempt WHERE channel = $1 "
            "AND at > now() - interval '1 minute'",
            channel,
        )
        return found

    async def since_groups(self, channel: str) -> dict[str, int]:
        """Return how many milliseconds ago the last group was made, by topic."""
        rows = await self._database.fetch(
            "SELECT topic, (extract(epoch FROM now() - max(created_at)) * 1000)::bigint AS ago "
            "FROM alert_message WHERE channel = $1 AND form = 'group' "
            "AND created_at > now() - interval '1 hour' GROUP BY topic",
            channel,
        )
        return {row["topic"]: row["ago"] for row in rows}

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

    async def still(self, channel: str) -> list[Alert]:
        """Return what a channel was told that is still so, the latest word of each."""
        rows = await self._database.fetch(
            "SELECT DISTINCT ON (a.key) a.content FROM delivery s "  # noqa: S608 - constants only
            f"CROSS JOIN LATERAL {_ALERT} a WHERE s.channel = $1 AND s.state = 'delivered' "
            "AND a.status = 'firing' AND a.key <> '' AND NOT EXISTS (SELECT FROM "
            "(SELECT r.status FROM alert r WHERE r.key = a.key AND r.key <> '' AND r.seq > a.seq "
            "OFFSET 0) r WHERE r.status = 'resolved') ORDER BY a.key, a.seq DESC",
            channel,
        )
        return [Alert.model_validate(row["content"]) for row in rows]

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
                await _attempt(connection, channel, REMINDER, took_ms, "delivered", None, None)
                await _works(connection, channel)
            await connection.execute(
                "UPDATE channel SET reminded_at = now() WHERE name = $1", channel
            )
            return await _tell(connection, channel, tell)

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
            await failure.attempt(connection, channel, REMINDER)
            if failure.of_message:
                # What is not liked is not pressed upon it: at the next time, with what is so then.
                await connection.execute(
                    "UPDATE channel SET reminded_at = now() WHERE name = $1", channel
                )
            else:
                await failure.fail(connection, channel)
            return await _tell(connection, channel, tell)

    # Messages ----------------------------------------------------------------------------------

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
                if await _add(connection, channel, message, topic, alerts, "pending") < len(alerts):
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
                await _add(connection, channel, message, topic, [alert])
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
            await _divide(connection, channel, message, parts)

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
            await _attempt(connection, channel, message, took_ms, "delivered", None, None)
            await _works(connection, channel)
            return await _tell(connection, channel, tell)

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
            await failure.attempt(connection, channel, message)
            if parts:
                await _divide(connection, channel, message, parts)
            if not failure.of_message:
                await failure.fail(connection, channel)
            return await _tell(connection, channel, tell)

    async def failed_otherwise(
        self, channel: str, error: str, *, again_s: float, tell: Tell
    ) -> int:
        """Write down that a channel cannot be served, though no message of it has failed.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await _fail(connection, channel, error, again_s, disable=False)
            return await _tell(connection, channel, tell)

    async def works(self, channel: str, tell: Tell) -> int:
        """Write down that a channel can be served, though nothing was sent to it just now.

        Returns:
            How many alerts ``tell`` has led to.
        """
        async with self._database.connection() as connection, connection.transaction():
            await _works(connection, channel)
            return await _tell(connection, channel, tell)

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
            return await _tell(connection, channel, tell, given_up)

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
            told = await _tell(connection, channel, tell, given_up, is_configured=False)
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
                await _try_now(connection, channel)
            return bool(found)

    async def trial(self, channel: str, alert: Alert, entry: AuditEntry) -> None:
        """Tell a channel of a test, at once and with all that it was to be told; likewise once."""
        async with self._database.connection() as connection, connection.transaction():
            if await write_once(connection, entry):
                await write_alert(connection, alert, [channel])
                await _try_now(connection, channel)

    async def state(self, channel: str) -> ChannelState | None:
        """Return what a channel is like; None: it has not been used yet."""
        return (await self.states([channel])).get(channel)

    async def states(self, channels: Sequence[str]) -> dict[str, ChannelState]:
        """Return what channels are like, by name; not those that have not been used yet."""
        rows = await self._database.fetch(
            f"SELECT name, {_STATE} FROM channel WHERE name = ANY($1)",  # noqa: S608 - constants only
            list(channels),
        )
        fields = [dict(row) for row in rows]
        return {one.pop("name"): ChannelState(**one) for one in fields}

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


async def _try_now(connection: asyncpg.Connection, channel: str) -> None:
    """Let all that waits in a channel be tried at once, also what was refused."""
    await connection.execute("UPDATE channel SET not_before = '-infinity' WHERE name = $1", channel)
    await connection.execute(
        "UPDATE alert_message SET due_at = now() WHERE channel = $1 AND state = 'pending'", channel
    )


class _MovedOnError(Exception):
    """What a message was to tell of is told of by another one; undoes the transaction."""


async def _add(
    connection: asyncpg.Connection,
    channel: str,
    message: dict[str, Any],
    topic: str,
    alerts: Sequence[str],
    state: str | None = None,
) -> int:
    """Keep a message; return of how many alerts it tells: of those in a state, or of all."""
    await connection.execute(
        "INSERT INTO alert_message (channel, id, form, topic, content) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        channel,
        message["id"],
        message["form"],
        topic,
        message,
    )
    await _note_alerts(connection, channel, message)
    told = await connection.fetch(
        "UPDATE delivery SET state = 'composed', message_id = $2, note = NULL "
        "WHERE channel = $1 AND alert_id = ANY($3) AND state = coalesce($4, state) RETURNING true",
        channel,
        message["id"],
        list(alerts),
        state,
    )
    return len(told)


async def _note_alerts(
    connection: asyncpg.Connection, channel: str, message: dict[str, Any]
) -> None:
    """Write down which alerts a message tells of."""
    await connection.execute(
        "INSERT INTO alert_in_message (channel, message_id, alert_id, subject) "
        "SELECT $1, $2, one->>'id', one->>'subject' FROM jsonb_array_elements($3::jsonb) one "
        "ON CONFLICT DO NOTHING",
        channel,
        message["id"],
        message["alerts"],
    )


async def _divide(
    connection: asyncpg.Connection, channel: str, message: str, parts: Sequence[Part]
) -> None:
    """Put several messages in the place of one; what was tried of it stays on record."""
    for number, part in enumerate(parts):
        await connection.execute(
            "INSERT INTO alert_message AS o "
            "(channel, id, form, topic, content, created_at, refused, place) "
            "SELECT channel, $3, $4, $5, $6, created_at, refused, "
            "coalesce(place, ARRAY[seq]) || $7::bigint "
            "FROM alert_message WHERE channel = $1 AND id = $2 ON CONFLICT (channel, id) DO UPDATE "
            "SET state = 'pending', due_at = now(), created_at = excluded.created_at, "
            "refused = excluded.refused, place = excluded.place, parts_taken = 0",
            channel,
            message,
            part.message["id"],
            part.message["form"],
            part.topic,
            part.message,
            number,
        )
        await _note_alerts(connection, channel, part.message)
        await connection.execute(
            "UPDATE delivery SET message_id = $3 WHERE channel = $1 AND message_id = $2 "
            "AND alert_id = ANY($4) AND state = 'composed'",
            channel,
            message,
            part.message["id"],
            list(part.alerts),
        )
    await connection.execute(
        "UPDATE alert_message SET state = 'abandoned', done_at = now(), refused = false "
        "WHERE channel = $1 AND id = $2 AND attempts > 0",
        channel,
        message,
    )
    await connection.execute(
        "DELETE FROM alert_message WHERE channel = $1 AND id = $2 AND attempts = 0",
        channel,
        message,
    )


async def _fail(
    connection: asyncpg.Connection, channel: str, error: str, again_s: float, disable: bool
) -> None:
    """Write down that a channel has failed, and when it is tried again."""
    await connection.execute(
        "UPDATE channel SET failures = failures + 1, last_error = $2, "
        "failing_since = coalesce(failing_since, now()), "
        "not_before = now() + $3 * interval '1 s', "
        "disabled_at = CASE WHEN $4 THEN coalesce(disabled_at, now()) END WHERE name = $1",
        channel,
        error,
        again_s,
        disable,
    )


async def _works(connection: asyncpg.Connection, channel: str) -> None:
    """Write down that a channel fails no more."""
    await connection.execute(
        "UPDATE channel SET failures = 0, failing_since = NULL, "
        # What was away may have forgotten what it knew.
        "reminded_at = CASE WHEN failing_since IS NULL THEN reminded_at ELSE 'epoch' END, "
        "last_error = NULL, not_before = '-infinity' WHERE name = $1",
        channel,
    )


async def _tell(
    connection: asyncpg.Connection,
    channel: str,
    tell: Tell,
    given_up: Sequence[tuple[int, str]] = (),
    is_configured: bool = True,
) -> int:
    """Write down what there is to tell of a channel, in the transaction that changes it."""
    found = await connection.fetchrow(
        f"SELECT {_STATE} FROM channel WHERE name = $1 FOR UPDATE",  # noqa: S608 - constants only
        channel,
    )
    if found is None and not given_up:
        return 0  # never tried
    refused = await connection.fetchrow(
        "SELECT count(*) AS count, (array_agg(last_error ORDER BY seq))[1] AS first "
        "FROM alert_message WHERE channel = $1 AND state = 'pending' AND refused",
        channel,
    )
    latest = await connection.fetch(
        "SELECT DISTINCT ON (key) kind, status, content FROM alert "
        "WHERE key = ANY($1) AND key <> '' ORDER BY key, seq DESC",
        [key_of(kind, channel) for kind in LASTING],
    )
    last = await connection.fetchrow(
        "SELECT t.outcome, t.status FROM alert_attempt t JOIN channel c ON c.name = t.channel "
        "WHERE c.name = $1 AND t.error = c.last_error ORDER BY t.at DESC, t.id DESC LIMIT 1",
        channel,
    )
    standing = Standing(
        NEVER_TRIED if found is None else ChannelState(**dict(found)),
        refused["count"],
        refused["first"],
        given_up,
        {
            row["kind"]: Alert.model_validate(row["content"])
            for row in latest
            if row["status"] == "firing"
        },
        is_configured,
        **({} if last is None else dict(last)),
    )
    return sum([await write_alert(connection, one, ways) for one, ways in tell(standing)])


async def _attempt(
    connection: asyncpg.Connection,
    channel: str,
    message: str,
    took_ms: int,
    outcome: str,
    status: int | None,
    error: str | None,
) -> None:
    await connection.execute(
        "INSERT INTO alert_attempt (channel, message_id, took_ms, outcome, status, error) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        channel,
        message,
        took_ms,
        outcome,
        status,
        error,
    )
