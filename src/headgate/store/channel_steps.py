"""Steps of the transactions that change a channel: what several of them have in common."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from headgate.model.alert import Alert
from headgate.model.channel_alerts import LASTING, key_of
from headgate.store.alerts import write_alert
from headgate.store.channel_rows import (
    NEVER_TRIED,
    STATE,
    ChannelState,
    Failure,
    Part,
    Standing,
    Tell,
)
from headgate.store.database import Database


@asynccontextmanager
async def changing(database: Database, channel: str) -> AsyncIterator[asyncpg.Connection]:
    """One transaction that changes what is known of a channel, and what waits for it.

    The channel is locked before any of its messages, here and wherever several things are changed:
    else an operator who enables it and a worker who is told what it took wait for each other.
    """
    async with database.connection() as connection, connection.transaction():
        await connection.execute("SELECT FROM channel WHERE name = $1 FOR UPDATE", channel)
        yield connection


async def put_message(
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
    await note_alerts(connection, channel, message)
    told = await connection.fetch(
        "UPDATE delivery SET state = 'composed', message_id = $2, note = NULL "
        "WHERE channel = $1 AND alert_id = ANY($3) AND state = coalesce($4, state) RETURNING true",
        channel,
        message["id"],
        list(alerts),
        state,
    )
    return len(told)


async def note_alerts(
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


async def put_parts(
    connection: asyncpg.Connection, channel: str, message: str, parts: Sequence[Part]
) -> None:
    """Put several messages in the place of one; what was tried of it stays on record.

    They may also tell of what was in no message yet.
    """
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
        await note_alerts(connection, channel, part.message)
        await connection.execute(
            "UPDATE delivery SET state = 'composed', message_id = $3 WHERE channel = $1 "
            "AND alert_id = ANY($4) "
            "AND (message_id = $2 AND state = 'composed' OR state = 'pending')",
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


async def try_now(connection: asyncpg.Connection, channel: str) -> None:
    """Let all that waits in a channel be tried at once, also what was refused."""
    await connection.execute("UPDATE channel SET not_before = '-infinity' WHERE name = $1", channel)
    await connection.execute(
        "UPDATE alert_message SET due_at = now() WHERE channel = $1 AND state = 'pending'", channel
    )


async def note_attempt(
    connection: asyncpg.Connection,
    channel: str,
    message: str,
    took_ms: int,
    outcome: str,
    status: int | None,
    error: str | None,
) -> None:
    """Record an attempt."""
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


async def note_failed_attempt(
    connection: asyncpg.Connection, channel: str, message: str, failure: Failure
) -> None:
    """Record an attempt that failed."""
    await note_attempt(
        connection,
        channel,
        message,
        failure.took_ms,
        failure.outcome,
        failure.status,
        failure.error,
    )


async def note_failure(
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


async def note_works(connection: asyncpg.Connection, channel: str) -> None:
    """Write down that a channel fails no more."""
    await connection.execute(
        "UPDATE channel SET failures = 0, failing_since = NULL, "
        # What was away may have forgotten what it knew.
        "reminded_at = CASE WHEN failing_since IS NULL THEN reminded_at ELSE 'epoch' END, "
        "last_error = NULL, not_before = '-infinity' WHERE name = $1",
        channel,
    )


async def tell_of(
    connection: asyncpg.Connection,
    channel: str,
    tell: Tell,
    given_up: Sequence[tuple[int, str]] = (),
    is_configured: bool = True,
) -> int:
    """Write down what there is to tell of a channel, in the transaction that changes it."""
    found = await connection.fetchrow(
        f"SELECT {STATE} FROM channel WHERE name = $1 FOR UPDATE",  # noqa: S608 - constants only
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
