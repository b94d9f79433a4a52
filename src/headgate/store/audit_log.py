"""Reading the audit."""

from headgate.model.audit import AuditEntry
from headgate.store.database import Database

_MS = "(extract(epoch FROM at) * 1000)::bigint"


class AuditLog:
    """The table ``audit``, for readers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(
        self,
        *,
        actor: str | None = None,
        target: str | None = None,
        action: str | None = None,
        since_ms: int = 0,
        limit: int = 50,
    ) -> list[AuditEntry]:
        """Return entries, the latest first.

        Args:
            actor: Only of this one.
            target: Only those with this in their target.
            action: Only of this kind.
            since_ms: Only from then on.
            limit: At most so many.
        """
        rows = await self._database.fetch(
            f"SELECT {_MS} AS at_ms, actor, reason, action, target, "  # noqa: S608
            "coalesce(before, '{}') AS before, coalesce(after, '{}') AS after, "
            "coalesce(request_id, '') AS request_id FROM audit "
            f"WHERE {_MS} >= $1 AND ($2::text IS NULL OR actor = $2) "
            "AND ($3::text IS NULL OR strpos(lower(target), lower($3)) > 0) "
            "AND ($4::text IS NULL OR action = $4) ORDER BY at DESC, id DESC LIMIT $5",
            since_ms,
            actor,
            target,
            action,
            limit,
        )
        return [AuditEntry.model_validate(dict(row)) for row in rows]
