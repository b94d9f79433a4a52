"""Writes of the API by their request id: one id stands for one thing asked by one actor."""

from typing import Final

from headgate.store.database import Database

KEPT_S: Final = 24 * 3_600
"""How long an id stands for what it was first used for."""

_FORGOTTEN_AT_ONCE: Final = 100


class RequestStore:
    """The table ``api_request``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self,
        id: str,
        actor: str,
        how: str,
        fingerprint: bytes,
        target: str,
        workflow: str | None,
    ) -> bool:
        """Write down that ``id`` is for this, before it is done; and forget some of long ago.

        Returns:
            Whether it is: False when it has stood for something else, or for somebody else.
        """
        row = await self._database.fetch(
            "WITH mine AS (INSERT INTO api_request (id, actor, how, fingerprint, target, workflow) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING "
            "RETURNING actor, fingerprint) "
            "SELECT * FROM mine UNION ALL "
            "SELECT actor, fingerprint FROM api_request WHERE id = $1",
            id,
            actor,
            how,
            fingerprint,
            target,
            workflow,
        )
        # Two at the same moment: the row of the other may not be visible to this statement yet.
        if not row:
            row = await self._database.fetch(
                "SELECT actor, fingerprint FROM api_request WHERE id = $1", id
            )
        await self._database.execute(
            "DELETE FROM api_request WHERE id IN (SELECT id FROM api_request "
            "WHERE at < now() - $1 * interval '1 s' ORDER BY at LIMIT $2)",
            KEPT_S,
            _FORGOTTEN_AT_ONCE,
        )
        return bool(row) and row[0]["actor"] == actor and row[0]["fingerprint"] == fingerprint
