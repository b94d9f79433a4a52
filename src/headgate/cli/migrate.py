"""``headgate migrate``: bring the database to the schema of this version."""

import asyncio

import typer

from headgate.cli import options
from headgate.cli.connect import database
from headgate.cli.tables import print_json
from headgate.model.errors import ConfigurationError
from headgate.store.migrate import Migration, migrate, pending


def command(
    check: bool = typer.Option(
        False, "--check", help="Change nothing; exit with 2 when something is missing."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Apply the missing migrations to the database that HEADGATE_DATABASE_URL names."""
    asyncio.run(_run(check, as_json))


async def _run(check: bool, as_json: bool) -> None:
    applied: list[Migration] = []
    async with database() as db:
        if not check:
            applied = await migrate(db)
        elif missing := await pending(db):
            names = ", ".join(map(_name, missing))
            raise ConfigurationError(f"{db.address} lacks {names}: run headgate migrate")
        address = db.address
    if as_json:
        print_json({"database": address, "applied": [_name(one) for one in applied]})
        return
    for migration in applied:
        print(f"applied {_name(migration)}")
    print(f"{address} is up to date")


def _name(migration: Migration) -> str:
    return f"{migration.version:04d}_{migration.name}"
