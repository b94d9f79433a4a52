"""``headgate apply``: make what runs be as the file says."""

import asyncio
from pathlib import Path
from typing import Final

import typer

from headgate.cli.configuration import read
from headgate.cli.connect import connect_temporal, database
from headgate.cli.options import BELOW_USAGE, JSON
from headgate.cli.tables import print_json, say
from headgate.cli.user import current_user
from headgate.model.configuration import Configuration
from headgate.model.errors import ConfigurationError
from headgate.notifier.senders import check_all
from headgate.orchestrator.configure import Configurator, Plan
from headgate.store.migrate import require_current

_SIGN: Final = {"create": "+", "update": "~", "remove": "-"}


def command(
    file: Path = typer.Option(..., "-f", "--file", help="The configuration, headgate.yaml."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the difference; change nothing."),
    reason: str = typer.Option("headgate apply", help="Why; stands in the audit."),
    actor: str = typer.Option("", help="Who; the user that runs the command, if not given."),
    allow_below_usage: bool = BELOW_USAGE,
    require_secrets: bool = typer.Option(
        False,
        "--require-secrets",
        help="Refuse channels whose secrets are not here; without it they are only told of.",
    ),
    as_json: bool = JSON,
) -> None:
    """Show the difference between FILE and what runs, and apply it.

    Applying the same file twice changes nothing.
    """
    wanted = read(file)
    lacking = _lacking(wanted)
    if lacking and require_secrets:
        raise ConfigurationError("\n".join(lacking))
    plan = asyncio.run(_run(wanted, dry_run, reason, actor or current_user(), allow_below_usage))
    if as_json:
        changes = [
            {"action": one.action, "target": one.target, "lines": one.lines()}
            for one in plan.changes
        ]
        print_json(
            {
                "changes": changes,
                "dry_run": dry_run,
                "below_usage": plan.below_usage,
                "lacking": lacking,
            }
        )
        return
    _show(plan, dry_run)
    if lacking:
        say(
            "not to be seen from here; what counts is the environment of the governance worker, "
            "which refuses to start without:"
        )
        for line in lacking:
            say(f"    {line}", 4)


def _lacking(wanted: Configuration) -> list[str]:
    """Return which channels lack a secret in the environment of this command."""
    try:
        check_all(wanted.notifier)
    except ConfigurationError as error:
        return str(error).splitlines()
    return []


async def _run(
    wanted: Configuration, dry_run: bool, reason: str, actor: str, allow_below_usage: bool
) -> Plan:
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
