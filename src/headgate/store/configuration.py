"""The applied configuration, and the audit of who applied what."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from headgate.model.audit import AuditEntry
from headgate.model.configuration import Configuration
from headgate.model.contract import STORED
from headgate.model.ids import DEFAULT, Kind
from headgate.model.pool import PoolSettings
from headgate.model.quota import Throttle
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.store.audit import write_audit
from headgate.store.database import Database

_SECTIONS = {
    "downstream": "downstreams",
    "tenant": "tenants",
    "group": "groups",
    "pool": "pools",
    "activity": "activities",
}


class ConfigurationStore:
    """The tables ``configuration``, ``applied`` and ``resource_throttle``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Configuration:
        """Return the configuration that was last applied; an empty one when none was."""
        rows = await self._database.fetch("SELECT kind, name, spec FROM configuration")
        document: dict[str, Any] = {section: {} for section in _SECTIONS.values()}
        for row in rows:
            if row["kind"] == "notifier":
                document[row["name"]] = row["spec"]
            else:
                document[_SECTIONS[row["kind"]]][row["name"]] = row["spec"]
        return Configuration.model_validate(document, context=STORED)

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

    async def resource_throttles(self) -> list[Throttle]:
        """Return the pauses and cuts of resources that hold for every tenant, by id."""
        rows = await self._database.fetch(
            "SELECT throttle FROM resource_throttle "
            "WHERE until_ms IS NULL OR until_ms > extract(epoch FROM now()) * 1000 ORDER BY id"
        )
        return [Throttle.model_validate(row["throttle"]) for row in rows]

    async def save_resource_throttles(
        self, throttles: list[Throttle], entries: Sequence[AuditEntry]
    ) -> None:
        """Replace the pauses and cuts of resources, and write the audit with them."""
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("DELETE FROM resource_throttle")
            await connection.executemany(
                "INSERT INTO resource_throttle (id, throttle, until_ms) VALUES ($1, $2, $3)",
                [(one.id, one.model_dump(mode="json"), one.until_ms) for one in throttles],
            )
            await write_audit(connection, entries)

    async def save(
        self, configuration: Configuration, actor: str, reason: str, changes: dict[str, Any]
    ) -> None:
        """Replace the applied configuration, and write the audit in the same transaction."""
        document = configuration.model_dump(mode="json", exclude_defaults=True)
        rows = [
            (kind, name, spec)
            for kind, section in _SECTIONS.items()
            for name, spec in document.get(section, {}).items()
        ]
        # Sections that are one thing each, not one thing for each name.
        rows += [("notifier", name, document.get(name, {})) for name in ("notifier", "alerts")]
        async with self._database.connection() as connection, connection.transaction():
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
                "INSERT INTO audit (actor, reason, action, target, before, after) "
                "VALUES ($1, $2, 'apply', $3, $4, $5)",
                [
                    (actor, reason, target, change["before"], change["after"])
                    for target, change in sorted(changes.items())
                ],
            )


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
