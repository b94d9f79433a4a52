"""What the overview, the lists of people and the metrics read: a few queries over snapshots."""

from collections.abc import Collection
from typing import Final, Literal

import asyncpg

from headgate.model.breaker import BreakerView
from headgate.model.contract import Message
from headgate.model.ledger import LedgerSummary
from headgate.model.pool import PoolView
from headgate.store.database import Database
from headgate.store.pages import USAGE
from headgate.store.workers import WorkerStore
from headgate.view.standing import (
    BreakerStanding,
    PoolStanding,
    ResourceStanding,
    TenantStanding,
    breaker_standing,
    pool_standing,
    tenant_standing,
)
from headgate.view.status import TURNED_AWAY_FOR_MS, ChannelTrouble, Status, Totals, status

_FAILS_FOR_LONG_MS: Final = 300_000

TenantOrder = Literal["name", "waiting", "held", "usage", "changed"]

_HELD: Final = "(SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(view->'units_held'))"
_WAITING: Final = "(SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(view->'waiting'))"
_ORDERS: Final[dict[str, str]] = {
    "name": "subject",
    "waiting": f"{_WAITING} DESC, subject",
    "held": f"{_HELD} DESC, subject",
    "usage": f"{USAGE} DESC, subject",
    "changed": "at_ms DESC, subject",
}
_LEDGERS: Final = "FROM snapshot WHERE kind = 'ledger' AND view IS NOT NULL"
_NEEDS_ATTENTION: Final = (
    f"({_WAITING} > 0 OR jsonb_path_exists(view, '$.limits.*.paused') "
    "OR jsonb_typeof(view->'paused') = 'string')"
)

_PERMITS: Final = (
    "SELECT key AS resource, "  # noqa: S608 - of constants only
    + ", ".join(
        f"sum(coalesce((value->>'{event}')::bigint, 0))::bigint AS {event}"
        for event in ("granted", "denied", "released", "expired", "reclaimed")
    )
    + f" FROM (SELECT view {_LEDGERS}) AS ledgers, jsonb_each(view->'accounts') "
    "GROUP BY key ORDER BY key"
)
_OTHERS: Final = f"""
WITH others AS (SELECT view {_LEDGERS} AND NOT subject = ANY ($1)),
named AS (
    SELECT view, key AS resource FROM others, jsonb_object_keys(
        coalesce(view->'limits', '{{}}') || (view->'units_held') || (view->'waiting')
    ) AS key WHERE key <> '*'
),
each AS (
    SELECT resource,
        coalesce((view->'units_held'->>resource)::bigint, 0) AS held,
        coalesce((view->'leased'->>resource)::bigint, 0) AS leased,
        coalesce((view->'waiting'->>resource)::bigint, 0) AS waiting,
        view->'limits'->resource AS limits FROM named
)
SELECT resource, sum(held)::bigint AS held, sum(least(held, leased))::bigint AS leased,
    sum(waiting)::bigint AS waiting,
    sum(CASE WHEN limits ? 'pool' THEN greatest(0,
        held - coalesce((limits->>'guaranteed')::bigint, 0)) ELSE 0 END)::bigint AS borrowed,
    CASE WHEN bool_and(limits ?| array['max_active', 'allocated']) THEN sum(least(
        (limits->>'max_active')::bigint, (limits->>'allocated')::bigint))::bigint END AS room
FROM each GROUP BY resource ORDER BY resource
"""  # noqa: S608 - of constants only


class TenantPage(Message):
    """Some tenants of many.

    Attributes:
        tenants: In the order that was asked for.
        matching: How many there are that match.
    """

    tenants: list[TenantStanding]
    matching: int


class PermitCounts(Message):
    """The permits of one resource, of all tenants since their ledgers began."""

    resource: str
    granted: int
    denied: int
    released: int
    expired: int
    reclaimed: int


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
            f"SELECT kind, count(*) AS there, "  # noqa: S608 - constants only
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

    async def states(self) -> dict[str, int]:
        """Return how many breakers are in each state, the most frequent first."""
        rows = await self._database.fetch(
            "SELECT view->>'state' AS state, count(*) AS there FROM snapshot "
            "WHERE kind = 'breaker' AND view IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        )
        return {row["state"]: row["there"] for row in rows}

    async def saved_at_ms(self) -> int | None:
        """Return when anything was last saved."""
        found = await self._database.fetch_value(
            "SELECT max(at_ms) FROM snapshot WHERE view IS NOT NULL"
        )
        return None if found is None else int(found)

    async def saved_by_kind_ms(self) -> dict[str, int]:
        """Return when anything of each kind was last saved."""
        rows = await self._database.fetch(
            "SELECT kind, max(at_ms) AS at_ms FROM snapshot WHERE view IS NOT NULL GROUP BY kind"
        )
        return {row["kind"]: row["at_ms"] for row in rows}

    async def permits(self) -> list[PermitCounts]:
        """Return how many permits there have been, by resource."""
        rows = await self._database.fetch(_PERMITS)
        return [PermitCounts.model_validate(dict(row)) for row in rows]

    async def resources_without(self, named: Collection[str]) -> list[ResourceStanding]:
        """Return what all tenants but those named have together, by resource.

        What they may hold is added up only where each of them has a limit.
        """
        rows = await self._database.fetch(_OTHERS, list(named))
        return [
            ResourceStanding(
                tenant="",
                resource=row["resource"],
                used=row["held"] - row["leased"],
                leased=row["leased"],
                borrowed=row["borrowed"],
                free=None,
                room=row["room"],
                max_active=None,
                allocated=None,
                guaranteed=0,
                pool=None,
                waiting=row["waiting"],
                denied=0,
                window=None,
                paused=None,
                is_changed=False,
            )
            for row in rows
        ]

    async def turned_away(self, since_ms: int) -> dict[str, int]:
        """Return how many calls gates did not let pass from ``since_ms`` on, by downstream."""
        rows = await self._database.fetch(
            "SELECT downstream, sum(rejected)::bigint AS rejected FROM outcome_span "
            "WHERE at_ms >= $1 AND rejected > 0 GROUP BY downstream ORDER BY downstream",
            since_ms,
        )
        return {row["downstream"]: row["rejected"] for row in rows}

    async def status(self, now_ms: int) -> Status:
        """Return whether work flows, and what needs attention first."""
        # First, so that breakers know at least of whom these were.
        turned_away = await self.turned_away(now_ms - TURNED_AWAY_FOR_MS)
        seen = await WorkerStore(self._database).last_seen()
        return status(
            await self.breakers(now_ms),
            await self.needing_attention(now_ms),
            await self.pools(),
            await self.totals(),
            now_ms,
            seen.worker_ms,
            seen.temporal_ms,
            await self.saved_at_ms(),
            turned_away,
            await self.silent_channels(),
        )

    async def silent_channels(self) -> list[ChannelTrouble]:
        """Return the channels that are disabled, or have taken no alert for minutes, by name."""
        rows = await self._database.fetch(
            "SELECT name, disabled_at IS NOT NULL AS is_disabled, (extract(epoch FROM "
            "coalesce(failing_since, disabled_at)) * 1000)::bigint AS since_ms, "
            "coalesce(last_error, 'unknown') AS error FROM channel WHERE disabled_at IS NOT NULL "
            "OR failing_since < now() - $1 * interval '1 ms' ORDER BY name",
            _FAILS_FOR_LONG_MS,
        )
        return [ChannelTrouble(**dict(row)) for row in rows]

    async def _rows(self, kind: str) -> list[asyncpg.Record]:
        return await self._database.fetch(
            "SELECT view, at_ms FROM snapshot WHERE kind = $1 AND view IS NOT NULL "
            "ORDER BY subject",
            kind,
        )


def _tenant(row: asyncpg.Record, now_ms: int) -> TenantStanding:
    return tenant_standing(LedgerSummary.model_validate(row["view"]), row["at_ms"], now_ms)
