"""The alerts, and which channel is to be told of which: tables ``alert`` and ``delivery``."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import asyncpg

from headgate.model.alert import Alert
from headgate.model.contract import Message
from headgate.model.notifier import tenant_of
from headgate.store.database import Database

_log = logging.getLogger("headgate.notifier")

DeliveryState = Literal["pending", "composed", "delivered", "silenced", "abandoned"]
"""How far an alert has come with a channel."""


_OLD: Final = (
    "SELECT {key} AS key FROM {table} WHERE {at} < now() - $1 * interval '1 s' AND {key} > $2 "
    "ORDER BY {key} LIMIT 1000"
)
"""A batch: after a storm more grows old at once than one statement deletes in its time.

What belongs to the rows of a batch is looked up for each of them (``MATERIALIZED``, ``OFFSET 0``):
joined with all there is, every batch would cost as much as the whole.
"""

_DELETE_OLD_ALERTS: Final = """
WITH ended AS MATERIALIZED (
    SELECT key, max(seq) AS seq FROM alert WHERE status = 'resolved' AND key <> ''
    AND key = ANY (ARRAY(SELECT DISTINCT key FROM alert WHERE seq = ANY ($1))) GROUP BY key
), gone AS (
    DELETE FROM alert a WHERE seq = ANY ($1)
    AND NOT EXISTS (
        SELECT FROM delivery d WHERE d.alert_id = a.id AND d.state IN ('pending', 'composed')
    ) AND {which} RETURNING id
)
DELETE FROM delivery d USING gone WHERE d.alert_id = gone.id
"""
_IS_OVER: Final = (
    "(a.status <> 'firing' OR a.key = '' OR EXISTS "
    "(SELECT FROM ended e WHERE e.key = a.key AND e.seq > a.seq))"
)
_DELETE_ALERTS: Final = {
    keeps_open: _DELETE_OLD_ALERTS.format(which=_IS_OVER if keeps_open else "true")
    for keeps_open in (True, False)
}
_DELETE_MESSAGES: Final = (
    "DELETE FROM alert_message m WHERE seq = ANY ($1) AND state <> 'pending' AND NOT EXISTS "
    "(SELECT FROM alert_in_message i JOIN alert a ON a.id = i.alert_id "
    "WHERE i.channel = m.channel AND i.message_id = m.id OFFSET 0)"
)
_DELETE_ATTEMPTS: Final = (
    "DELETE FROM alert_attempt t WHERE id = ANY ($1) AND NOT EXISTS "
    "(SELECT FROM alert_message m WHERE m.channel = t.channel AND m.id = t.message_id OFFSET 0)"
)


class Delivery(Message):
    """How far an alert has come with one channel.

    Attributes:
        channel: Where to.
        state: ``pending``: no message has been made of it yet. ``composed``: one waits to be taken.
        note: Why it was not delivered.
        message: What tells of it: itself, or a group or a summary with others.
        attempts: At that message.
        error: What its last failure was.
        delivered_at_ms: When it was taken, Unix time.
        is_together: It is told of in one message with others.
    """

    channel: str
    state: DeliveryState
    note: str | None = None
    message: str | None = None
    attempts: int = 0
    error: str | None = None
    delivered_at_ms: int | None = None
    is_together: bool = False


class Told(Message):
    """An alert, and where it went.

    Attributes:
        seq: Its place among all, in the order they came.
        alert: As it was decided.
        is_open: It fires, and no later one with the same key has come.
        taken_at_ms: When it was written down, Unix time.
        deliveries: By channel.
    """

    seq: int
    alert: Alert
    is_open: bool
    taken_at_ms: int
    deliveries: list[Delivery]


class Attempt(Message):
    """One attempt to deliver a message.

    Attributes:
        channel: To which.
        message: Which one.
        at_ms: When, Unix time.
        took_ms: How long.
        outcome: ``delivered``, ``refused``, ``unreachable`` or ``misconfigured``.
        status: Of HTTP.
        error: What went wrong.
    """

    channel: str
    message: str
    at_ms: int
    took_ms: int
    outcome: str
    status: int | None = None
    error: str | None = None


_IS_OPEN: Final = (
    "(a.status = 'firing' AND a.key <> '' AND NOT EXISTS "
    "(SELECT FROM alert l WHERE l.key = a.key AND l.key <> '' AND l.seq > a.seq))"
)
_TOLD: Final = (
    "SELECT a.seq, a.content AS alert, "  # noqa: S608 - constants only
    f"(extract(epoch FROM a.taken_at) * 1000)::bigint AS taken_at_ms, {_IS_OPEN} AS is_open, "
    "coalesce(d.list, '[]'::jsonb) AS deliveries "
    "FROM alert a LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object("
    "'channel', d.channel, 'state', d.state, 'note', d.note, 'message', d.message_id, "
    "'is_together', coalesce(d.message_id <> d.alert_id, false), "
    "'attempts', coalesce(m.attempts, 0), 'error', m.last_error, "
    "'delivered_at_ms', (extract(epoch FROM d.delivered_at) * 1000)::bigint) ORDER BY d.channel) "
    "AS list FROM delivery d LEFT JOIN alert_message m "
    "ON m.channel = d.channel AND m.id = d.message_id WHERE d.alert_id = a.id "
    "AND ($1::text[] IS NULL OR d.channel = ANY ($1))) d ON true"
)


class AlertStore:
    """What workflows have told of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, alerts: Sequence[Alert], channels: Mapping[str, Sequence[str]]) -> int:
        """Write down alerts and where they are to go; from here on none is lost.

        An alert that is there already is left as it is: a workflow tells again when it does not
        know whether it has been heard. One that says something else under an id that is there gets
        another id.

        Args:
            alerts: In order.
            channels: Where to, by the id of the alert.

        Returns:
            How many were new.
        """
        new = 0
        async with self._database.connection() as connection, connection.transaction():
            for alert in alerts:
                new += await write_alert(connection, alert, channels[alert.id])
        return new

    async def forget_old(self, after_s: float, *, keeps_open: bool = False) -> None:
        """Delete what was told long ago, with its messages and attempts; not what still waits.

        Args:
            after_s: How long ago.
            keeps_open: Nor what has not been told to be over: what lasts is not told again.
        """
        for old, delete in (
            (_OLD.format(table="alert", at="taken_at", key="seq"), _DELETE_ALERTS[keeps_open]),
            (_OLD.format(table="alert_message", at="created_at", key="seq"), _DELETE_MESSAGES),
            (_OLD.format(table="alert_attempt", at="at", key="id"), _DELETE_ATTEMPTS),
        ):
            last = 0
            while rows := await self._database.fetch(old, after_s, last):
                keys = [row["key"] for row in rows]
                await self._database.execute(delete, keys)
                last = keys[-1]

    async def recent(
        self,
        limit: int,
        *,
        kind: str | None = None,
        severity: str | None = None,
        tenant: str | None = None,
        state: str | None = None,
        channel: str | None = None,
        search: str | None = None,
        key: str | None = None,
        is_open: bool | None = None,
        before: int | None = None,
        among: Sequence[str] | None = None,
    ) -> list[Told]:
        """Return the latest alerts with where they went, newest first.

        Args:
            limit: At most so many.
            kind: Only of this one; ``quota.*``: all that begin so.
            severity: Only of this one.
            tenant: Only what is its.
            state: Only those that have come so far with a channel.
            channel: Only those that went there.
            search: Only those with this in their subject or title, in any case.
            key: Only those about the same, from the first one to the one that resolves it.
            is_open: Only what is still so; False: only what is over, or cannot be over.
            before: Only those that came before the one with this ``seq``.
            among: As if there were no channels but these.
        """
        rows = await self._database.fetch(
            f"{_TOLD} WHERE ($3::text IS NULL OR a.kind LIKE $3) "
            "AND ($4::text IS NULL OR a.severity = $4) AND ($5::text IS NULL OR a.tenant = $5) "
            "AND (($6::text IS NULL AND $7::text IS NULL) OR EXISTS (SELECT FROM delivery s "
            "WHERE s.alert_id = a.id AND ($6::text IS NULL OR s.state = $6) "
            "AND ($7::text IS NULL OR s.channel = $7) "
            "AND ($1::text[] IS NULL OR s.channel = ANY ($1)))) "
            "AND ($8::text IS NULL OR strpos(lower(a.subject || ' ' || (a.content->>'title')), "
            "lower($8)) > 0) AND ($9::text IS NULL OR a.key = $9) "
            f"AND ($10::boolean IS NULL OR {_IS_OPEN} = $10) "
            "AND ($11::bigint IS NULL OR a.seq < $11) ORDER BY a.seq DESC LIMIT $2",
            None if among is None else list(among),
            limit,
            None if kind is None else kind.replace("_", r"\_").replace("*", "%"),
            severity,
            tenant,
            state,
            channel,
            search,
            key,
            is_open,
            before,
        )
        return [Told.model_validate(dict(row)) for row in rows]

    async def one(self, alert_id: str, among: Sequence[str] | None = None) -> Told | None:
        """Return an alert with where it went, as ``recent`` does; None: there is none."""
        rows = await self._database.fetch(
            f"{_TOLD} WHERE a.id = $2", None if among is None else list(among), alert_id
        )
        return Told.model_validate(dict(rows[0])) if rows else None

    async def last_word(self, alert_id: str) -> Alert | None:
        """Return what was said last about the same after an alert; None: that alert is it."""
        rows = await self._database.fetch(
            "SELECT l.content FROM alert a JOIN alert l ON l.key = a.key AND l.key <> '' "
            "AND l.seq > a.seq WHERE a.id = $1 ORDER BY l.seq DESC LIMIT 1",
            alert_id,
        )
        return Alert.model_validate(rows[0]["content"]) if rows else None

    async def attempts(self, alert_id: str, among: Sequence[str] | None = None) -> list[Attempt]:
        """Return every attempt at the messages that tell of an alert or have told, oldest first."""
        rows = await self._database.fetch(
            "SELECT t.channel, t.message_id AS message, "
            "(extract(epoch FROM t.at) * 1000)::bigint AS at_ms, t.took_ms, t.outcome, t.status, "
            "t.error FROM alert_in_message i JOIN alert_attempt t ON t.channel = i.channel "
            "AND t.message_id = i.message_id WHERE i.alert_id = $1 "
            "AND ($2::text[] IS NULL OR i.channel = ANY ($2)) ORDER BY t.id",
            alert_id,
            None if among is None else list(among),
        )
        return [Attempt.model_validate(dict(row)) for row in rows]


async def write_alert(
    connection: asyncpg.Connection, alert: Alert, channels: Sequence[str]
) -> bool:
    """Write down an alert and where it is to go; False: it is there already."""
    if await _insert(connection, alert, channels):
        return True
    known = await connection.fetchval("SELECT content FROM alert WHERE id = $1", alert.id)
    if known is not None and Alert.model_validate(known) == alert:
        return False
    # Such as of a workflow that was set back in time, and numbers its alerts as it did before.
    other = alert.model_copy(update={"id": _other_id(alert)})
    if not await _insert(connection, other, channels):
        return False
    _log.warning("alert %s is there and says something else; kept as %s", alert.id, other.id)
    return True


def _other_id(alert: Alert) -> str:
    """Return an id for an alert whose own is taken: the same each time that it comes."""
    digest = hashlib.sha256(alert.model_dump_json().encode()).hexdigest()[:12]
    before, colon, kind = alert.id.rpartition(":")
    return f"{before}-{digest}:{kind}" if colon else f"{alert.id}-{digest}"


async def _insert(connection: asyncpg.Connection, alert: Alert, channels: Sequence[str]) -> bool:
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
        known = await _told_of_its_beginning(connection, alert)
        await connection.executemany(
            "INSERT INTO delivery (alert_id, channel) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(alert.id, channel) for channel in (channels if known is None else known)],
        )
    return bool(new)


async def _told_of_its_beginning(connection: asyncpg.Connection, alert: Alert) -> list[str] | None:
    """Return where it was told that something began that is over now; None: nobody knows.

    There it is told that it is over, and nowhere else, whatever the routes say of the other kind
    and severity that the end has: where its beginning went nowhere, or was silenced, nowhere.
    Channels that are no more (nothing is known of them, and nothing waits for them) do not count:
    where there is no other, the routes decide. They do so as well of what began unheard: its alert
    was left out of a full outbox, or was told too long ago.
    """
    if alert.status != "resolved" or not alert.key:
        return None
    rows = await connection.fetch(
        "SELECT d.channel, bool_or(d.state <> 'silenced') AS is_told, bool_or(d.state = 'pending' "
        "OR EXISTS (SELECT FROM channel c WHERE c.name = d.channel)) AS is_there "
        "FROM alert a LEFT JOIN delivery d ON d.alert_id = a.id "
        "WHERE a.key = $2 AND a.key <> '' AND a.status = 'firing' "
        "AND a.seq > coalesce((SELECT max(seq) FROM alert WHERE key = $2 AND key <> '' "
        "AND status = 'resolved' AND id <> $1), 0) GROUP BY d.channel",
        alert.id,
        alert.key,
    )
    went = [row for row in rows if row["channel"] is not None]
    there = [row for row in went if row["is_there"]]
    if not rows or (went and not there):
        return None
    return [row["channel"] for row in there if row["is_told"]]
