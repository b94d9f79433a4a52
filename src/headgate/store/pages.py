"""Saved workflows page by page, sorted and searched by Postgres; and what has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from headgate.model.breaker import Transition
from headgate.model.ids import Kind
from headgate.store.database import Database

Order = Literal["name", "waiting", "held", "usage", "changed", "trouble"]

USAGE: Final = (
    "(SELECT coalesce(max(held.value::numeric / nullif(least("
    "(view->'limits'->held.key->>'max_active')::numeric, "
    "(view->'limits'->held.key->>'allocated')::numeric), 0)), 0) "
    "FROM jsonb_each_text(view->'units_held') held)"
)
"""What a tenant holds of the limit that it has used most of, as SQL."""
_VALUES: Final[dict[Order, str]] = {
    "name": "0",
    "waiting": "waiting",
    "held": "held",
    "usage": f"floor(1000000 * {USAGE})::bigint",
    "changed": "at_ms",
    "trouble": "(view ->> 'state' <> 'CLOSED')::int",
}
"""By what each order sorts, the most first; and then by name."""


def _page(order: Order) -> str:
    value = _VALUES[order]
    after, by = f"{value} < $5 OR {value} = $5 AND subject > $4", f"{value} DESC, subject"
    if order == "name":
        after, by = "subject > $4 AND $5::bigint IS NOT NULL", "subject"
    return (
        f"SELECT subject, revision, at_ms, view::text AS view, waiting, held, {value} AS value "  # noqa: S608 - of constants only
        "FROM snapshot WHERE kind = $1 AND view IS NOT NULL "
        "AND ($2::text IS NULL OR strpos(lower(subject), lower($2)) > 0) "
        "AND ($3::text[] IS NULL OR view ->> 'state' = ANY ($3)) "
        f"AND ($4::text IS NULL OR ({after})) ORDER BY {by} LIMIT $6"
    )


PAGES: Final = {order: _page(order) for order in _VALUES}

NOW: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS now"
_BETWEEN: Final = "changed >= $1 AND changed < mark.now"
_CHANGED: Final = f"""
WITH mark AS MATERIALIZED ({NOW}),
saved AS (
    SELECT s.* FROM mark, LATERAL (
        SELECT kind, subject, revision, changed FROM snapshot
        WHERE {_BETWEEN} AND view IS NOT NULL ORDER BY changed LIMIT $2) s
),
touched AS (
    SELECT id FROM mark, alert WHERE {_BETWEEN}
    UNION SELECT alert_id FROM mark, delivery WHERE {_BETWEEN}
    UNION SELECT d.alert_id FROM mark, delivery d JOIN alert_message m
        ON m.channel = d.channel AND m.id = d.message_id
        WHERE m.changed >= $1 AND m.changed < mark.now
),
told AS (
    SELECT tenant FROM alert JOIN touched USING (id)
    UNION SELECT tenant FROM mark, silence WHERE {_BETWEEN}
)
SELECT mark.now, saved.* FROM mark LEFT JOIN saved ON true
UNION ALL SELECT mark.now, 'alerts', coalesce(tenant, ''), 0, 0 FROM mark, told
UNION ALL SELECT mark.now, 'audit', '', 0, 0 FROM mark
    WHERE EXISTS (SELECT FROM audit WHERE {_BETWEEN})
"""  # noqa: S608 - of constants only

_OTHER_KINDS: Final = (None, "alerts", "audit")
"""What is told of without a mark of its own."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One saved workflow as readers see it.

    Attributes:
        subject: Which downstream, tenant or pool.
        revision: Its revision.
        saved_at_ms: When it last changed and was saved.
        view: As the workflow shows itself, in JSON: whoever validates it reads it at once.
        waiting: What waits, of a ledger.
        held: What is held, of a ledger, in units.
        value: By what the page is sorted, where that is not the name.
    """

    subject: str
    revision: int
    saved_at_ms: int
    view: str
    waiting: int = 0
    held: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """A workflow that has changed since.

    Or alerts have, then the subject is the tenant's name; or the audit, which has no subject.
    """

    kind: Kind | Literal["alerts", "audit"]
    subject: str
    revision: int


class PageStore:
    """The table ``snapshot``, for readers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self,
        kind: Kind,
        limit: int,
        *,
        search: str | None = None,
        states: Sequence[str] | None = None,
        order: Order = "name",
        after: str | None = None,
        after_value: int = 0,
    ) -> list[Saved]:
        """Return a page.

        Args:
            kind: Of what.
            limit: At most so many.
            search: Only those with this in their name.
            states: Only breakers in these states.
            order: By name; or by what waits, is held, is used of what may be held, or when it was
                saved, the most first; or breakers that are not CLOSED first.
            after: Only those that come after the one of this name...
            after_value: ...and of this value.
        """
        rows = await self._database.fetch(
            PAGES[order], kind, search, states, after, after_value, limit
        )
        return [
            Saved(
                row["subject"],
                row["revision"],
                row["at_ms"],
                row["view"],
                row["waiting"],
                row["held"],
                row["value"],
            )
            for row in rows
        ]

    async def one(self, kind: Kind, subject: str) -> Saved | None:
        """Return one, or None."""
        rows = await self._database.fetch(
            "SELECT revision, at_ms, view::text AS view FROM snapshot "
            "WHERE kind = $1 AND subject = $2 AND view IS NOT NULL",
            kind,
            subject,
        )
        if not rows:
            return None
        return Saved(subject, rows[0]["revision"], rows[0]["at_ms"], rows[0]["view"])

    async def named(self, kind: Kind, subjects: Sequence[str]) -> list[Saved]:
        """Return those of these names that are saved."""
        rows = await self._database.fetch(
            "SELECT subject, revision, at_ms, view::text AS view FROM snapshot "
            "WHERE kind = $1 AND subject = ANY ($2) AND view IS NOT NULL",
            kind,
            list(subjects),
        )
        return [Saved(row["subject"], row["revision"], row["at_ms"], row["view"]) for row in rows]

    async def totals(self, kind: Kind) -> tuple[int, int, int]:
        """Return how many there are, and what waits and is held of them all."""
        rows = await self._database.fetch(
            "SELECT count(*) AS count, coalesce(sum(waiting), 0)::bigint AS waiting, "
            "coalesce(sum(held), 0)::bigint AS held FROM snapshot "
            "WHERE kind = $1 AND view IS NOT NULL",
            kind,
        )
        return rows[0]["count"], rows[0]["waiting"], rows[0]["held"]

    async def state(self, kind: Kind, subject: str) -> str | None:
        """Return the whole saved state of one, in JSON."""
        state: str | None = await self._database.fetch_value(
            "SELECT state FROM snapshot WHERE kind = $1 AND subject = $2", kind, subject
        )
        return state

    async def states(self, kind: Kind, subjects: Sequence[str]) -> dict[str, str]:
        """Return the same of those of these names that have been saved."""
        rows = await self._database.fetch(
            "SELECT subject, state FROM snapshot "
            "WHERE kind = $1 AND subject = ANY ($2) AND state IS NOT NULL",
            kind,
            list(subjects),
        )
        return {row["subject"]: row["state"] for row in rows}

    async def transitions(
        self,
        downstream: str,
        limit: int,
        before_epoch: int | None = None,
        since_ms: int = 0,
    ) -> list[Transition]:
        """Return the transitions of a breaker, the latest first."""
        rows = await self._database.fetch(
            "SELECT * FROM breaker_transition WHERE downstream = $1 AND at_ms >= $2 "
            "AND ($3::bigint IS NULL OR epoch < $3) ORDER BY epoch DESC LIMIT $4",
            downstream,
            since_ms,
            before_epoch,
            limit,
        )
        return [Transition.model_validate(dict(row)) for row in rows]

    async def created_ms(self, kind: Kind, subject: str) -> int:
        """Return since when there has been this one, in Unix time; 0: there is none."""
        created_ms: int | None = await self._database.fetch_value(
            "SELECT (extract(epoch FROM created_at) * 1000)::bigint FROM snapshot "
            "WHERE kind = $1 AND subject = $2",
            kind,
            subject,
        )
        return created_ms or 0

    async def now(self) -> int:
        """Return a mark: what is written after it is found by ``changed`` since it."""
        mark: int = await self._database.fetch_value(NOW)
        return mark

    async def changed(self, since: int, limit: int = 2_000) -> tuple[int, list[Changed]]:
        """Return what has changed since a mark, and the next mark.

        A mark is the oldest transaction that may still be writing, so nothing that commits late is
        missed, and a mark means the same to every process.
        """
        rows = await self._database.fetch(_CHANGED, since, limit)
        found = [
            Changed(row["kind"], row["subject"], row["revision"])
            for row in rows
            if row["kind"] is not None
        ]
        # A full page may have ended within a transaction: go on with that one, once more.
        marks = [row["changed"] for row in rows if row["kind"] not in _OTHER_KINDS]
        last: int = max(marks) if len(marks) == limit else rows[0]["now"]
        return max(last, since), found
