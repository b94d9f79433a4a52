"""The applied configuration, and the audit of who applied what."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

import asyncpg

from headgate.model.audit import HEADGATE, AuditEntry
from headgate.model.configuration import Configuration
from headgate.model.contract import STORED
from headgate.model.errors import ConflictError
from headgate.model.ids import DEFAULT, Kind, workflow_id
from headgate.model.notifier import NotifierSettings
from headgate.model.pool import PoolSettings
from headgate.model.quota import Throttle
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.store.audit import write_audit, write_once
from headgate.store.database import Database

_SECTIONS = {
    "downstream": "downstreams",
    "tenant": "tenants",
    "group": "groups",
    "pool": "pools",
    "activity": "activities",
}


_SELECT: Final = "SELECT kind, name, spec FROM configuration"
_WORKFLOWS: Final[tuple[Kind, ...]] = ("breaker", "ledger", "governor")


class OutdatedError(ConflictError):
    """Somebody else has applied something since the configuration was looked at."""

    def __init__(self) -> None:
        super().__init__(
            "somebody else has just changed the configuration, and nothing was changed here: "
            "look at the difference again, and repeat it"
        )


class ConfigurationStore:
    """The tables ``configuration``, ``applied`` and ``resource_throttle``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Configuration:
        """Return the configuration that was last applied; an empty one when none was."""
        return _configuration(await self._database.fetch(_SELECT))

    async def notifier(self) -> NotifierSettings:
        """Return where alerts go, as was last applied; it is one row, however many tenants."""
        spec = await self._database.fetch_value(
            "SELECT spec FROM configuration WHERE kind = 'notifier' AND name = 'notifier'"
        )
        return NotifierSettings.model_validate(spec or {}, context=STORED)

    async def applied_by(self, request_id: str) -> list[asyncpg.Record]:
        """Return ``target``, ``before`` and ``after`` of what a request has applied."""
        rows: list[asyncpg.Record] = await self._database.fetch(
            "SELECT target, before, after FROM audit "
            "WHERE action = 'apply' AND request_id = $1 ORDER BY target",
            request_id,
        )
        return rows

    async def settings_of(self, kind: Kind, subject: str) -> str | None:
        """Return what is applied to one breaker, ledger or governor; None when nothing is."""
        rows = await self._database.fetch(
            "SELECT settings FROM applied WHERE kind = $1 AND subject IN ($2, $3) "
            "ORDER BY subject = $3 LIMIT 1",
            kind,
            subject,
            DEFAULT,
        )
        if not rows:
            return None
        if kind != "ledger":
            return json.dumps(rows[0]["settings"])
        settings = LedgerSettings.model_validate(rows[0]["settings"])
        throttles = await self.resource_throttles()
        return settings.model_copy(update={"resource_throttles": throttles}).model_dump_json()

    async def is_known(self, kind: Literal["downstream", "tenant"], name: str) -> bool:
        """Return whether a name is listed, or ``*`` stands for it, or a workflow governs it."""
        governs: Kind = "breaker" if kind == "downstream" else "ledger"
        found: bool = await self._database.fetch_value(
            "SELECT EXISTS (SELECT FROM configuration WHERE kind = $1 AND name IN ($2, $3)) "
            "OR EXISTS (SELECT FROM snapshot WHERE kind = $4 AND subject = $2)",
            kind,
            name,
            DEFAULT,
            governs,
        )
        return found

    async def downstreams(self) -> list[str]:
        """Return the downstreams that the configuration lists, by name, perhaps with ``*``."""
        rows = await self._database.fetch(
            "SELECT name FROM configuration WHERE kind = 'downstream' ORDER BY name"
        )
        return [row["name"] for row in rows]

    async def resource_throttles(self) -> list[Throttle]:
        """Return the pauses and cuts of resources that hold for every tenant, by id."""
        rows = await self._database.fetch(
            "SELECT throttle FROM resource_throttle "
            "WHERE until_ms IS NULL OR until_ms > extract(epoch FROM now()) * 1000 ORDER BY id"
        )
        return [Throttle.model_validate(row["throttle"]) for row in rows]

    async def add_resource_throttle(self, throttle: Throttle, entry: AuditEntry) -> Throttle:
        """Write one down, and the audit with it; a repeat finds what was written, and adds nothing.

        Returns:
            It, or what the same request has set before, also if that has been lifted since.
        """
        async with self._database.connection() as connection, connection.transaction():
            if not await write_once(connection, entry):
                return Throttle.model_validate(await _written(connection, entry, "after"))
            await connection.execute(
                "INSERT INTO resource_throttle (id, throttle, until_ms) VALUES ($1, $2, $3)",
                throttle.id,
                throttle.model_dump(mode="json"),
                throttle.until_ms,
            )
            return throttle

    async def end_overdue_throttles(self) -> None:
        """End those whose time is over, and write the audit with it; others may do so as well.

        Nothing waits for it: from its time on a throttle holds nowhere.
        """
        async with self._database.connection() as connection, connection.transaction():
            rows = await connection.fetch(
                "DELETE FROM resource_throttle WHERE until_ms <= extract(epoch FROM now()) * 1000 "
                "RETURNING throttle"
            )
            ended = [Throttle.model_validate(row["throttle"]) for row in rows]
            entries = [
                AuditEntry(
                    at_ms=one.until_ms,
                    actor=HEADGATE,
                    reason=one.reason,
                    action="throttle_ended",
                    target=f"resource/{one.resource}",
                    before=one.model_dump(mode="json"),
                    request_id=one.id,
                )
                for one in ended
                if one.until_ms is not None
            ]
            await write_audit(connection, entries)

    async def end_resource_throttle(
        self, id: str, lift: Callable[[Throttle], AuditEntry]
    ) -> Throttle | None:
        """End one that holds, and write the audit with it.

        Args:
            id: Of the throttle.
            lift: Makes the entry.

        Returns:
            What was ended, also by the same request before; None: there is none of that id.
        """
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchval(
                "DELETE FROM resource_throttle WHERE id = $1 "
                "AND (until_ms IS NULL OR until_ms > extract(epoch FROM now()) * 1000) "
                "RETURNING throttle",
                id,
            )
            if row is not None:
                ended = Throttle.model_validate(row)
                await write_audit(connection, [lift(ended)])
                return ended
        return None

    async def resource_throttle_lifted(self, id: str, request_id: str) -> Throttle | None:
        """Return the throttle that a request has ended, if it was the one with this id."""
        row = await self._database.fetch_value(
            "SELECT before FROM audit WHERE request_id = $1 AND action = 'lift' "
            "AND starts_with(target, 'resource/') AND before ->> 'id' = $2",
            request_id,
            id,
        )
        return None if row is None else Throttle.model_validate(row)

    async def save(
        self,
        configuration: Configuration,
        actor: str,
        reason: str,
        changes: dict[str, Any],
        *,
        based_on: Configuration | None = None,
        request_id: str | None = None,
        how: str | None = None,
    ) -> None:
        """Replace the applied configuration, and write the audit in the same transaction.

        Args:
            configuration: The new one.
            actor: Who.
            reason: Why.
            changes: By target: as it was ``before``, and is ``after``.
            based_on: What it was made from; None: whatever is there.
            request_id: Of what asked for it.
            how: How the actor was authenticated; None: as is known of the request.

        Raises:
            OutdatedError: Somebody has applied something else since; nothing was changed.
        """
        document = configuration.model_dump(mode="json", exclude_defaults=True)
        rows = [
            (kind, name, spec)
            for kind, section in _SECTIONS.items()
            for name, spec in document.get(section, {}).items()
        ]
        # Sections that are one thing each, not one thing for each name.
        rows += [("notifier", name, document.get(name, {})) for name in ("notifier", "alerts")]
        async with self._database.connection() as connection, connection.transaction():
            # Of two at the same moment the second waits, and then sees what the first has done.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('configuration'), 0)")
            if based_on is not None:
                there = _configuration(await connection.fetch(_SELECT))
                if there != based_on:
                    raise OutdatedError
            await connection.execute("DELETE FROM configuration")
            await connection.execute("DELETE FROM applied")
            await connection.executemany(
                "INSERT INTO applied (kind, subject, settings) VALUES ($1, $2, $3)",
                [
                    (kind, subject, settings.model_dump(mode="json"))
                    for kind, subject, settings in _applied(configuration)
                ],
            )
            await connection.executemany(
                "INSERT INTO configuration (kind, name, spec) VALUES ($1, $2, $3)", rows
            )
            await connection.executemany(
                "INSERT INTO audit "
                "(actor, reason, action, target, before, after, request_id, how, workflow) "
                "SELECT $1, $2, 'apply', $3, $4, $5, $6, coalesce($7, r.how), $8 "
                "FROM (SELECT) AS entry LEFT JOIN api_request r ON r.id = $6",
                [
                    (
                        actor,
                        reason,
                        target,
                        change["before"],
                        change["after"],
                        request_id,
                        how,
                        _workflow(target),
                    )
                    for target, change in sorted(changes.items())
                ],
            )


async def _written(
    connection: asyncpg.Connection, entry: AuditEntry, part: Literal["before", "after"]
) -> Any:
    """Return what an earlier attempt has written into the audit."""
    row = await connection.fetchrow(
        "SELECT before, after FROM audit WHERE target = $1 AND action = $2 AND request_id = $3",
        entry.target,
        entry.action,
        entry.request_id,
    )
    return row[part]


def _configuration(rows: Sequence[asyncpg.Record]) -> Configuration:
    document: dict[str, Any] = {section: {} for section in _SECTIONS.values()}
    for row in rows:
        if row["kind"] == "notifier":
            document[row["name"]] = row["spec"]
        else:
            document[_SECTIONS[row["kind"]]][row["name"]] = row["spec"]
    return Configuration.model_validate(document, context=STORED)


def _workflow(target: str) -> str | None:
    """Return which workflow is told when ``target`` changes, if one is."""
    name, _, subject = target.partition("/")
    kind = next((kind for kind in _WORKFLOWS if kind == name), None)
    return None if kind is None or subject == DEFAULT else workflow_id(kind, subject)


def _applied(
    configuration: Configuration,
) -> Iterator[tuple[Kind, str, BreakerSettings | LedgerSettings | PoolSettings]]:
    """Yield what each workflow takes of a configuration, and what those take that it names not."""
    downstreams = {DEFAULT, *configuration.downstreams}
    for spec in configuration.downstreams.values():
        downstreams |= {*spec.depends_on}
    for name in sorted(downstreams):
        yield "breaker", name, configuration.breaker(name)
    for name in sorted({DEFAULT, *configuration.tenants}):
        yield "ledger", name, configuration.ledger(name)
    for name in sorted(configuration.pools):
        yield "governor", name, configuration.governor(name)
