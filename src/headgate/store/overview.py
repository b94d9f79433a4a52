"""What the overview, the lists of people and the metrics read: a few queries over snapshots."""

from typing import Final, Literal

import asyncpg

from headgate.model.breaker import BreakerView
from headgate.model.contract import Message
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView
from headgate.store.database import Database
from headgate.store.workers import WorkerStore
from headgate.view.standing import (
    BreakerStanding,
    PoolStanding,
    TenantStanding,
    breaker_standing,
    pool_standing,
    tenant_standing,
)
from headgate.view.status import Status, Totals, status

TenantOrder = Literal["name", "waiting", "held", "usage", "changed"]

_HELD: Final = "(SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(view->'units_held'))"
_WAITING: Final = "(SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(view->'waiting'))"
_USAGE: Final = (
    "(SELECT coalesce(max(held.value::numeric / nullif(least("
    "(view->'limits'->held.key->>'max_active')::numeric, "
    "(view->'limits'->held.key->>'allocated')::numeric), 0)), 0) "
    "FROM jsonb_each_text(view->'units_held') held)"
)
_ORDERS: Final[dict[str, str]] = {
    "name": "subject",
    "waiting": f"{_WAITING} DESC, subject",
    "held": f"{_HELD} DESC, subject",
    "usage": f"{_USAGE} DESC, subject",
    "changed": "at_ms DESC, subject",
}
_LEDGERS: Final = "FROM snapshot WHERE kind = 'ledger' AND view IS NOT NULL"
_NEEDS_ATTENTION: Final = (
    f"({_WAITING} > 0 OR jsonb_path_exists(view, '$.limits.*.paused') "
    "OR jsonb_typeof(view->'paused') = 'string')"
)


class TenantPage(Message):
    """Some tenants of many.

    Attributes:
        tenants: In the order that was asked for.
        matching: How many there are that match.
    """

    tenants: list[TenantStanding]
    matching: int


class OverviewStore:
    """Reads how all that is governed stands, from the table ``snapshot``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def breakers(self, now_ms: int) -> list[BreakerStanding]:
        """Return every breaker, by name."""
        return [
            breaker_standing(BreakerView.model_validate(row["view"]), row["at_ms"], now_ms)
            for row in await self._rows("breaker")
        ]

    async def pools(self) -> list[PoolStanding]:
        """Return every pool, by name."""
        return [
            pool_standing(PoolView.model_validate(row["view"]), row["at_ms"])
            for row in await self._rows("governor")
        ]

    async def tenants(
        self,
        now_ms: int,
        *,
        search: str = "",
        order: TenantOrder = "name",
        limit: int = 50,
        offset: int = 0,
    ) -> TenantPage:
        """Return some tenants; Postgres sorts and cuts, so that thousands of them cost little.

        Args:
            now_ms: Unix time.
            search: A part of the name, in any case.
            order: By name; or the most waiting, held, used of what they may, or lately changed
                first.
            limit: At most so many.
            offset: Leave out so many.
        """
        where = f"{_LEDGERS} AND strpos(lower(subject), lower($1)) > 0"
        if not search:
            where = f"{_LEDGERS} AND $1 = ''"
        rows = await self._database.fetch(
            f"SELECT view, at_ms {where} ORDER BY {_ORDERS[order]} LIMIT $2 OFFSET $3",
            search,
            limit,
            offset,
        )
        matching = await self._database.fetch_value(f"SELECT count(*) {where}", search)
        return TenantPage(tenants=[_tenant(row, now_ms) for row in rows], matching=matching)

    async def needing_attention(self, now_ms: int, at_most: int = 50) -> list[TenantStanding]:
        """Return tenants that wait or are paused, the most waiting first."""
        rows = await self._database.fetch(
            f"SELECT view, at_ms {_LEDGERS} AND {_NEEDS_ATTENTION} "
            f"ORDER BY {_ORDERS['waiting']} LIMIT $1",
            at_most,
        )
        return [_tenant(row, now_ms) for row in rows]

    async def totals(self) -> Totals:
        """Return how much there is of everything."""
        rows = await self._database.fetch(
            f"SELECT kind, count(*) AS there, "  # noqa: S608
            f"coalesce(sum(waiting), 0)::bigint AS waiting, "
            f"count(*) FILTER (WHERE waiting > 0) AS waiting_tenants FROM "
            f"(SELECT kind, CASE WHEN kind = 'ledger' THEN {_WAITING} END AS waiting "
            "FROM snapshot WHERE view IS NOT NULL) AS each GROUP BY kind"
        )
        of = {row["kind"]: row for row in rows}
        ledgers = of.get("ledger")
        return Totals(
            breakers=of["breaker"]["there"] if "breaker" in of else 0,
            tenants=ledgers["there"] if ledgers else 0,
            pools=of["governor"]["there"] if "governor" in of else 0,
            waiting=ledgers["waiting"] if ledgers else 0,
            waiting_tenants=ledgers["waiting_tenants"] if ledgers else 0,
        )

    async def saved_at_ms(self) -> int | None:
        """Return when anything was last saved."""
        found = await self._database.fetch_value(
            "SELECT max(at_ms) FROM snapshot WHERE view IS NOT NULL"
        )
        return None if found is None else int(found)

    async def status(self, now_ms: int) -> Status:
        """Return whether work flows, and what needs attention first."""
        return status(
            await self.breakers(now_ms),
            await self.needing_attention(now_ms),
            await self.pools(),
            await self.totals(),
            now_ms,
            await WorkerStore(self._database).last_seen_ms(),
            await self.saved_at_ms(),
        )

    async def _rows(self, kind: str) -> list[asyncpg.Record]:
        return await self._database.fetch(
            "SELECT view, at_ms FROM snapshot WHERE kind = $1 AND view IS NOT NULL "
            "ORDER BY subject",
            kind,
        )


def _tenant(row: asyncpg.Record, now_ms: int) -> TenantStanding:
    return tenant_standing(LedgerView.model_validate(row["view"]), row["at_ms"], now_ms)
