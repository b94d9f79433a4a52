"""The applied configuration, and the audit of who applied what."""

from typing import Any

from headgate.model.configuration import Configuration
from headgate.model.ids import DEFAULT, Kind
from headgate.store.database import Database

_SECTIONS = {"downstream": "downstreams", "tenant": "tenants", "pool": "pools"}


class ConfigurationStore:
    """The tables ``configuration`` and ``audit``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Configuration:
        """Return the configuration that was last applied; an empty one when none was."""
        rows = await self._database.fetch("SELECT kind, name, spec FROM configuration")
        document: dict[str, Any] = {section: {} for section in _SECTIONS.values()}
        for row in rows:
            if row["kind"] == "notifier":
                document["notifier"] = row["spec"]
            else:
                document[_SECTIONS[row["kind"]]][row["name"]] = row["spec"]
        return Configuration.model_validate(document)

    async def settings_of(self, kind: Kind, subject: str) -> str | None:
        """Return what is applied to one breaker or ledger, as JSON; None when nothing is."""
        section = "downstream" if kind == "breaker" else "tenant"
        rows = await self._database.fetch(
            "SELECT name, spec FROM configuration WHERE kind = $1 AND name IN ($2, $3)",
            section,
            subject,
            DEFAULT,
        )
        if not rows:
            return None
        found = Configuration.model_validate(
            {_SECTIONS[section]: {row["name"]: row["spec"] for row in rows}}
        )
        settings = found.breaker(subject) if kind == "breaker" else found.ledger(subject)
        return settings.model_dump_json()

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
        rows.append(("notifier", "notifier", document.get("notifier", {})))
        async with self._database.connection() as connection, connection.transaction():
            await connection.execute("DELETE FROM configuration")
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
