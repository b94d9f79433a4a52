"""``headgate migrate``: bring the database to the schema of this version."""

import asyncio

import typer

from headgate.cli.connect import database
from headgate.model.errors import ConfigurationError
from headgate.store.migrate import migrate, pending


def command(
    check: bool = typer.Option(
        False, "--check", help="Change nothing; exit with 2 when something is missing."
    ),
) -> None:
    """Apply the missing migrations to the database that HEADGATE_DATABASE_URL names."""
    asyncio.run(_run(check))


async def _run(check: bool) -> None:
    async with database() as db:
        if not check:
            applied = await migrate(db)
            for migration in applied:
                print(f"applied {migration.version:04d}_{migration.name}")
            print(f"{db.address} is up to date")
            return
        missing = await pending(db)
        if missing:
            names = ", ".join(f"{m.version:04d}_{m.name}" for m in missing)
            raise ConfigurationError(f"{db.address} lacks {names}: run headgate migrate")
        print(f"{db.address} is up to date")
