"""The audit: who changed what, and why."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from headgate.model.audit import AuditEntry
from headgate.model.contract import Message
from headgate.store.database import Database


class AuditLine(Message):
    """One line of the audit as it is read.

    Attributes:
        id: Rises from line to line.
        at_ms: When, Unix time.
        actor: Who.
        how: How the actor was authenticated, when it came through the API.
        action: What was done, or ``denied``.
        target: To what.
        reason: Why.
        before: As it was.
        after: As it was then.
        request_id: Of the command.
        workflow: That was told, when it came through the API.
    """

    id: int
    at_ms: int
    actor: str
    how: str | None = None
    action: str
    target: str
    reason: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    request_id: str | None = None
    workflow: str | None = None


class AuditStore:
    """The table ``audit``, for readers, and for what no workflow writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(
        self,
        limit: int,
        *,
        before_id: int | None = None,
        actor: str | None = None,
        target: str | None = None,
        search: str | None = None,
        action: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> list[AuditLine]:
        """Return lines, the latest first.

        Args:
            limit: At most so many.
            before_id: Only older lines than this one.
            actor: Only of this one.
            target: Only of this one, and of what is below it.
            search: Only those with this in their target, in any case.
            action: Only this.
            since_ms: Only from then on.
            until_ms: Only until then.
        """
        rows = await self._database.fetch(
            "SELECT a.id, (extract(epoch FROM a.at) * 1000)::bigint AS at_ms, a.actor, "
            "coalesce(a.how, r.how) AS how, a.action, a.target, a.reason, a.before, a.after, "
            "a.request_id, coalesce(a.workflow, r.workflow) AS workflow "
            "FROM audit a LEFT JOIN api_request r ON r.id = a.request_id "
            "AND a.action NOT LIKE '%\\_ended' "
            "WHERE ($2::bigint IS NULL OR a.id < $2) AND ($3::text IS NULL OR a.actor = $3) "
            "AND ($4::text IS NULL OR a.target = $4 OR starts_with(a.target, $4 || '/')) "
            "AND ($5::text IS NULL OR a.action = $5) "
            "AND ($6::bigint IS NULL OR a.at >= to_timestamp($6::bigint / 1000.0)) "
            "AND ($7::bigint IS NULL OR a.at < to_timestamp($7::bigint / 1000.0)) "
            "AND ($8::text IS NULL OR strpos(lower(a.target), lower($8)) > 0) "
            "ORDER BY a.id DESC LIMIT $1",
            limit,
            before_id,
            actor,
            target,
            action,
            since_ms,
            until_ms,
            search,
        )
        return [AuditLine.model_validate(dict(row)) for row in rows]

    async def note(
        self,
        actor: str,
        how: str,
        action: str,
        target: str,
        reason: str,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Write down what no workflow does, such as a denial."""
        await self._database.execute(
            "INSERT INTO audit (actor, how, action, target, reason, after) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            actor,
            how,
            action,
            target,
            reason,
            after,
        )


async def write_once(connection: asyncpg.Connection, entry: AuditEntry) -> bool:
    """Write an entry unless its request has been done; False: it has.

    Call it first in the transaction that does it: of two at the same moment, one waits.
    """
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", entry.request_id
    )
    if await is_written(connection, entry):
        return False
    await write_audit(connection, [entry])
    return True


async def is_written(connection: asyncpg.Connection, entry: AuditEntry) -> bool:
    """Return whether what an entry tells of has been done for the same request."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM audit WHERE target = $1 AND action = $2 AND request_id = $3)",
        entry.target,
        entry.action,
        entry.request_id,
    )
    return found


async def write_audit(
    connection: asyncpg.Connection, entries: Sequence[AuditEntry], workflow: str | None = None
) -> None:
    """Write entries; one that is there is left alone, so that writing may be tried again.

    What is known of the request, how its actor was authenticated and which workflow was told, is
    written down with it: requests are forgotten before the audit is. When the time of what it has
    set is over, nobody was.

    Args:
        connection: In a transaction, where more is written.
        entries: To write.
        workflow: That was told; None: as is known of the request.
    """
    await connection.executemany(
        "INSERT INTO audit "
        "(at, actor, reason, action, target, before, after, request_id, how, workflow) "
        "SELECT to_timestamp($1::bigint / 1000.0), $2, $3, $4, $5, $6, $7, $8, r.how, "
        "coalesce($9, r.workflow) "
        "FROM (SELECT) AS entry LEFT JOIN api_request r ON r.id = $8 "
        "AND $4 NOT LIKE '%\\_ended' "
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
                workflow,
            )
            for entry in entries
        ],
    )
