"""``headgate apply``: make what runs be as the file says."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import typer

from headgate.cli import options
from headgate.cli.configuration import read
from headgate.cli.connect import connect_temporal, database
from headgate.cli.options import BELOW_USAGE, JSON
from headgate.cli.progress import progress
from headgate.cli.tables import print_json, say
from headgate.model.configuration import Configuration
from headgate.model.errors import ConfigurationError
from headgate.model.plan import PlannedChange
from headgate.notifier.senders import check_all
from headgate.orchestrator.configure import Configurator, Plan
from headgate.store.migrate import require_current

_SIGN: Final = {"create": "+", "update": "~", "remove": "-"}


def command(
    file: Path = typer.Option(
        ..., "-f", "--file", help="The configuration, headgate.yaml; -: standard input."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the difference; change nothing."),
    reason: str = typer.Option("headgate apply", help="Why; stands in the audit."),
    actor: str = typer.Option("", help="Who; the user that runs the command, if not given."),
    allow_below_usage: bool = BELOW_USAGE,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = JSON,
    require_secrets: bool = typer.Option(
        False,
        "--require-secrets",
        help="Refuse channels whose secrets are not here; without it they are only told of.",
    ),
) -> None:
    """Show the difference between FILE and what runs, and apply it.

    Applying the same file twice changes nothing.
    """
    wanted = read(file)
    lacking = _lacking(wanted)
    if lacking and require_secrets:
        raise ConfigurationError("\n".join(lacking))
    by = options.asked(reason, actor, dry_run, request_id)
    with progress() as shown:
        plan = asyncio.run(_run(wanted, by, allow_below_usage, request_id, shown))
    planned = [
        PlannedChange(action=one.action, target=one.target, lines=one.lines())
        for one in plan.changes
    ]
    if as_json:
        print_json(
            {
                "changes": planned,
                "dry_run": dry_run,
                "below_usage": plan.below_usage,
                "below_held": plan.below_held(),
                "lacking_secrets": lacking,
            }
        )
    else:
        _print(planned, dry_run, lacking)
        for sentence in plan.below_held():
            say(f"! {sentence}", 2)
    if dry_run:
        # After the difference, which says what it is about: so the file would be refused.
        plan.require_room(allow_below_usage)


def _print(planned: Sequence[PlannedChange], dry_run: bool, lacking: Sequence[str]) -> None:
    print_changes(planned, dry_run)
    if lacking:
        say(
            "this is not there where the command runs; it has to be where a governance worker "
            "runs, which refuses to start without:"
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
    wanted: Configuration,
    by: options.Asked,
    allow_below_usage: bool,
    request_id: str | None,
    shown: Callable[[str, int, int], None],
) -> Plan:
    async with database() as db:
        await require_current(db)
        configurator = Configurator(await connect_temporal(), db, shown=shown)
        if by.dry_run:
            return await configurator.plan(wanted)
        await by.note(db, "configuration", also=wanted.model_dump_json())
        return await configurator.apply(
            wanted, by.actor, by.reason, allow_below_usage, how=options.CLI, request_id=request_id
        )


def print_changes(changes: Sequence[PlannedChange], dry_run: bool) -> None:
    """Print what was changed of the configuration, or would be."""
    if not changes:
        print("nothing to change: what runs is as the file says")
        return
    for change in changes:
        print(f"{_SIGN[change.action]} {change.target}")
        for line in change.lines:
            print(f"    {line}")
    count = len(changes)
    words = "1 change" if count == 1 else f"{count} changes"
    print(f"{words} would be applied" if dry_run else f"{words} applied")
