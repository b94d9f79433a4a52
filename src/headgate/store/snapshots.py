"""Snapshots of governance workflows, and the transitions of breakers."""

import asyncio
import json
from typing import Final, TypeVar

import asyncpg
from pydantic import BaseModel

from headgate.model.audit import HEADGATE, AuditEntry
from headgate.model.breaker import BreakerState, BreakerView, OutcomeSpan, Transition
from headgate.model.errors import ConfigurationError
from headgate.model.ids import Kind, workflow_id
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView
from headgate.model.snapshot import SaveResult, Snapshot
from headgate.packed import PACKED, unpack
from headgate.store.audit import write_audit
from headgate.store.database import Database

_SET_BY_PEOPLE: Final[dict[Kind, str]] = {
    "ledger": "view -> 'overrides' <> '[]' OR view -> 'throttles' <> '[]' "
    "AND view -> 'throttles' IS DISTINCT FROM view -> 'resource_throttles'",
    "governor": "view -> 'override' <> 'null'",
    "breaker": "view -> 'override' <> 'null' OR view -> 'throttle' <> 'null'",
}

_ENDED: Final = {
    BreakerState.FORCED_OPEN: "force_open_ended",
    BreakerState.FORCED_CLOSED: "force_closed_ended",
    BreakerState.SHADOW: "shadow_ended",
}
"""What is over when a breaker leaves these by itself."""

_PACKED_AT_ONCE: Final = 20

View = TypeVar("View", bound=BaseModel)


class SnapshotStore:
    """The tables ``snapshot`` and ``breaker_transition``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_incarnation(self, kind: Kind, subject: str) -> tuple[int, str | None]:
        """Count a start without carried state.

        Returns:
            The number of this start, higher than any before, and the last saved state in JSON.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                "INSERT INTO snapshot AS s (kind, subject, incarnation, revision, at_ms) "
                "VALUES ($1, $2, 1, -1, 0) ON CONFLICT (kind, subject) "
                "DO UPDATE SET incarnation = s.incarnation + 1 RETURNING incarnation, state",
                kind,
                subject,
            )
            return row["incarnation"], row["state"]

    async def save(self, snapshot: Snapshot) -> SaveResult:
        """Save a snapshot unless the one that is there is as new, with its transitions.

        Raises:
            ConfigurationError: The snapshot is not JSON.
        """
        try:
            # Postgres keeps no NUL in jsonb; nobody's name or words are worth a lost snapshot.
            view = json.loads(unpack(snapshot.view).replace("\\u0000", "\\ufffd"))
        except ValueError as error:
            raise ConfigurationError(f"snapshot of {snapshot.subject} is not JSON") from error
        async with self._database.connection() as connection, connection.transaction():
            revision = await connection.fetchval(
                "INSERT INTO snapshot AS s "
                "(kind, subject, incarnation, revision, at_ms, state, view) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, subject) DO UPDATE SET "
                "incarnation = greatest(s.incarnation, excluded.incarnation), "
                "revision = excluded.revision, at_ms = excluded.at_ms, "
                "state = excluded.state, view = excluded.view "
                "WHERE excluded.revision > s.revision RETURNING revision",
                snapshot.kind,
                snapshot.subject,
                snapshot.incarnation,
                snapshot.revision,
                snapshot.at_ms,
                snapshot.state,
                view,
            )
            await self._save_transitions(connection, snapshot)
            await self._save_spans(connection, snapshot)
            told = workflow_id(snapshot.kind, snapshot.subject)
            await write_audit(connection, snapshot.audit, told)
            if revision is not None:
                return SaveResult(saved=True, revision=revision)
            there = await connection.fetchval(
                "SELECT revision FROM snapshot WHERE kind = $1 AND subject = $2",
                snapshot.kind,
                snapshot.subject,
            )
            return SaveResult(saved=False, revision=there)

    @staticmethod
    async def _save_transitions(connection: asyncpg.Connection, snapshot: Snapshot) -> None:
        for step in snapshot.transitions:
            added = await connection.fetchval(
                "INSERT INTO breaker_transition "
                "(downstream, epoch, at_ms, source, target, rule, reason, numbers, actor, "
                "enforced) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
                "ON CONFLICT DO NOTHING RETURNING true",
                snapshot.subject,
                step.epoch,
                step.at_ms,
                step.source,
                step.target,
                step.rule,
                step.reason,
                step.numbers,
                step.actor,
                step.enforced,
            )
            entry = _of_people(snapshot.subject, step)
            if added and entry is not None:
                await write_audit(connection, [entry], workflow_id("breaker", snapshot.subject))

    @staticmethod
    async def _save_spans(connection: asyncpg.Connection, snapshot: Snapshot) -> None:
        # What is saved again has only grown, and a delayed older snapshot must not shrink it.
        await connection.executemany(
            "INSERT INTO outcome_span AS o (downstream, at_ms, incarnation, successes, failures, "
            "ignored, slow, rejected, duration_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
            "ON CONFLICT (downstream, at_ms, incarnation) DO UPDATE SET "
            "successes = greatest(o.successes, excluded.successes), "
            "failures = greatest(o.failures, excluded.failures), "
            "ignored = greatest(o.ignored, excluded.ignored), "
            "slow = greatest(o.slow, excluded.slow), "
            "rejected = greatest(o.rejected, excluded.rejected), "
            "duration_ms = greatest(o.duration_ms, excluded.duration_ms)",
            [
                (
                    snapshot.subject,
                    span.at_ms,
                    snapshot.incarnation,
                    span.successes,
                    span.failures,
                    span.ignored,
                    span.slow,
                    span.rejected,
                    span.duration_ms,
                )
                for span in snapshot.spans
            ],
        )

    async def outcome_spans(
        self, downstream: str | None, since_ms: int
    ) -> list[tuple[str, OutcomeSpan]]:
        """Return (downstream, outcomes) from ``since_ms`` on, in the order of time.

        Args:
            downstream: Only this one; None: every one.
            since_ms: Unix time.
        """
        rows = await self._database.fetch(
            "SELECT downstream, at_ms, sum(successes)::bigint AS successes, "
            "sum(failures)::bigint AS failures, sum(ignored)::bigint AS ignored, "
            "sum(slow)::bigint AS slow, sum(rejected)::bigint AS rejected, "
            "sum(duration_ms)::bigint AS duration_ms FROM outcome_span "
            "WHERE at_ms >= $1 AND ($2::text IS NULL OR downstream = $2) "
            "GROUP BY downstream, at_ms ORDER BY at_ms, downstream",
            since_ms,
            downstream,
        )
        return [(row["downstream"], OutcomeSpan.model_validate(dict(row))) for row in rows]

    async def subjects(self, kind: Kind) -> list[str]:
        """Return whoever has ever been governed, by name."""
        rows = await self._database.fetch(
            "SELECT subject FROM snapshot WHERE kind = $1 ORDER BY subject", kind
        )
        return [row["subject"] for row in rows]

    async def breakers(self) -> list[BreakerView]:
        """Return every saved breaker, by name."""
        return [BreakerView.model_validate(view) for view in await self._views("breaker")]

    async def ledgers(self) -> list[LedgerView]:
        """Return every saved ledger, by tenant."""
        return [LedgerView.model_validate(view) for view in await self._views("ledger")]

    async def set_by_people(self, kind: Kind, view: type[View]) -> list[tuple[View, int]]:
        """Return those of a kind for which people have set something that may still hold.

        Of ledgers those with overrides, or throttles that not all have; of the others those that
        are not left to themselves.

        Returns:
            The view of each and when it was saved, Unix time; by name.
        """
        rows = await self._database.fetch(
            # Of constants only, so there is nothing to inject.
            "SELECT view, at_ms FROM snapshot WHERE kind = $1 AND view IS NOT NULL "  # noqa: S608
            f"AND ({_SET_BY_PEOPLE[kind]}) ORDER BY subject",
            kind,
        )
        return [(view.model_validate(row["view"]), row["at_ms"]) for row in rows]

    async def pools(self) -> list[PoolView]:
        """Return every saved pool, by name."""
        return [PoolView.model_validate(view) for view in await self._views("governor")]

    async def ledger(self, tenant: str) -> LedgerView | None:
        """Return one saved ledger, or None."""
        view = await self._view("ledger", tenant)
        return None if view is None else LedgerView.model_validate(view)

    async def pool(self, pool: str) -> PoolView | None:
        """Return one saved pool, or None."""
        view = await self._view("governor", pool)
        return None if view is None else PoolView.model_validate(view)

    async def breaker(self, downstream: str) -> BreakerView | None:
        """Return one saved breaker, or None."""
        view = await self._view("breaker", downstream)
        return None if view is None else BreakerView.model_validate(view)

    async def saved_at(self, kind: Kind) -> dict[str, int]:
        """Return when each last changed and was saved, in Unix milliseconds by name."""
        rows = await self._database.fetch(
            "SELECT subject, at_ms FROM snapshot WHERE kind = $1 AND view IS NOT NULL", kind
        )
        return {row["subject"]: row["at_ms"] for row in rows}

    async def tenants_naming(self, text: str, at_most: int = 20) -> list[str]:
        """Return the tenants in whose saved ledgers a JSON string is exactly ``text``.

        Such as the id of a permit or of a workflow, held, waiting or lately ended; those saved last
        first. All ledgers are read for it, so it is for people and not for jobs.
        """
        needle = json.dumps(text, ensure_ascii=False)
        found: list[str] = []
        async with self._database.connection() as connection, connection.transaction():
            # Postgres looks into what is plain; what is compressed comes here, a few at a time.
            rows = connection.cursor(
                "SELECT subject, CASE WHEN starts_with(state, $2) THEN state END AS packed "
                "FROM snapshot WHERE kind = 'ledger' AND (strpos(state, $1) > 0 "
                "OR starts_with(state, $2)) ORDER BY at_ms DESC, subject",
                needle,
                PACKED,
                prefetch=_PACKED_AT_ONCE,
            )
            async for row in rows:
                packed = row["packed"]
                if packed is None or needle in await asyncio.to_thread(unpack, packed):
                    found.append(row["subject"])
                if len(found) >= at_most:
                    break
        return found

    async def transitions(
        self, since_ms: int = 0, downstream: str | None = None
    ) -> list[tuple[str, Transition]]:
        """Return (downstream, transition) from ``since_ms`` on, in the order of time.

        Args:
            since_ms: Unix time.
            downstream: Of this one alone; None: of all.
        """
        rows = await self._database.fetch(
            "SELECT * FROM breaker_transition WHERE at_ms >= $1 "
            "AND ($2::text IS NULL OR downstream = $2) ORDER BY at_ms, downstream, epoch",
            since_ms,
            downstream,
        )
        return [(row["downstream"], Transition.model_validate(dict(row))) for row in rows]

    async def _views(self, kind: Kind) -> list[object]:
        rows = await self._database.fetch(
            "SELECT view FROM snapshot WHERE kind = $1 AND view IS NOT NULL ORDER BY subject", kind
        )
        return [row["view"] for row in rows]

    async def _view(self, kind: Kind, subject: str) -> object:
        return await self._database.fetch_value(
            "SELECT view FROM snapshot WHERE kind = $1 AND subject = $2", kind, subject
        )


def _of_people(downstream: str, step: Transition) -> AuditEntry | None:
    """Return the audit of a transition that people have made, or whose time is over; else None."""
    action, actor = step.action or "breaker", step.actor
    if step.rule == "expiry":
        # A throttle lies beside the state, and leaves it as it is.
        action = "throttle_ended" if step.source is step.target else _ENDED[step.source]
        actor = HEADGATE
    if actor is None:
        return None
    return AuditEntry(
        at_ms=step.at_ms,
        actor=actor,
        reason=step.reason,
        action=action,
        target=f"breaker/{downstream}",
        before={"state": step.source},
        after={"state": step.target, "epoch": step.epoch},
        request_id=step.request_id or f"epoch:{step.epoch}",
    )
