"""``headgate apply``: make what runs be as the file says."""

import asyncio
from pathlib import Path
from typing import Final

import typer

from headgate.cli.configuration import read
from headgate.cli.connect import connect_temporal, database
from headgate.cli.options import BELOW_USAGE, JSON
from headgate.cli.tables import print_json
from headgate.cli.user import current_user
from headgate.orchestrator.configure import Configurator, Plan
from headgate.store.migrate import require_current

_SIGN: Final = {"create": "+", "update": "~", "remove": "-"}


def command(
    file: Path = typer.Option(..., "-f", "--file", help="The configuration, headgate.yaml."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the difference; change nothing."),
    reason: str = typer.Option("headgate apply", help="Why; stands in the audit."),
    actor: str = typer.Option("", help="Who; the user that runs the command, if not given."),
    allow_below_usage: bool = BELOW_USAGE,
    as_json: bool = JSON,
) -> None:
    """Show the difference between FILE and what runs, and apply it.

    Applying the same file twice changes nothing.
    """
    plan = asyncio.run(_run(file, dry_run, reason, actor or current_user(), allow_below_usage))
    if as_json:
        changes = [
            {"action": one.action, "target": one.target, "lines": one.lines()}
            for one in plan.changes
        ]
        print_json({"changes": changes, "dry_run": dry_run, "below_usage": plan.below_usage})
    else:
        _show(plan, dry_run)


async def _run(file: Path, dry_run: bool, reason: str, actor: str, allow_below_usage: bool) -> Plan:
    wanted = read(file)
    async with database() as db:
        await require_current(db)
        configurator = Configurator(await connect_temporal(), db)
        if dry_run:
            return await configurator.plan(wanted)
        return await configurator.apply(wanted, actor, reason, allow_below_usage)


def _show(plan: Plan, dry_run: bool) -> None:
    if not plan.changes:
        print("nothing to change: what runs is as the file says")
        return
    for change in plan.changes:
        print(f"{_SIGN[change.action]} {change.target}")
        for line in change.lines():
            print(f"    {line}")
    count = len(plan.changes)
    changes = "1 change" if count == 1 else f"{count} changes"
    print(f"{changes} would be applied" if dry_run else f"{changes} applied")
