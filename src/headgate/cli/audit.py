"""``headgate audit``: who changed what, and why."""

import asyncio
from typing import Any, Final

import typer

from headgate.alerts.words import many
from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.page import counted
from headgate.cli.tables import print_json, say
from headgate.gate.clock import now_ms
from headgate.orchestrator.durations import past_moment
from headgate.orchestrator.times import utc
from headgate.store.audit import AuditLine, AuditStore
from headgate.view.changed import differences

_MOST_CHANGES: Final = 6
_LONGEST: Final = 100


def command(
    actor: str | None = typer.Option(None, "--actor", help="Only what this one did."),
    target: str | None = typer.Option(
        None, "--target", help="Only of this and what is below it: breaker/scanner, ledger/acme."
    ),
    search: str | None = typer.Option(
        None, "--search", help="Only what has this in its target, such as acme."
    ),
    action: str | None = typer.Option(None, "--action", help="Only this, such as override."),
    since: str | None = typer.Option(
        None, "--since", help="Only since then: 2h ago, or a time such as 2026-11-24T22:00Z."
    ),
    until: str | None = typer.Option(None, "--until", help="Only until then; likewise."),
    before: int | None = typer.Option(
        None, "--before", min=0, help="Only what is older than the line with this id."
    ),
    limit: int = typer.Option(50, "--limit", min=1, max=10_000, help="At most so many."),
    as_json: bool = options.JSON,
) -> None:
    """Show who changed what, when and why; the latest first, as Postgres has it."""
    found = asyncio.run(
        _entries(
            limit,
            before_id=before,
            actor=actor,
            target=target,
            search=search,
            action=action,
            since_ms=None if since is None else past_moment(since, "--since", now_ms()),
            until_ms=None if until is None else past_moment(until, "--until", now_ms()),
        )
    )
    if as_json:
        print_json(found)
        return
    if not found:
        asked = actor or target or search or action or since or until or before is not None
        print("nothing in the audit matches" if asked else "nothing has been changed yet")
    for entry in found:
        _print(entry)
    if len(found) == limit:
        print(f"only {many(limit, 'is', 'are')} shown: older ones with --before {found[-1].id}")


async def _entries(limit: int, **which: Any) -> list[AuditLine]:
    async with reading() as db:
        return await AuditStore(db).lines(limit, **which)


def _print(entry: AuditLine) -> None:
    print(f"{utc(entry.at_ms)}  {entry.action} {entry.target}")
    how = f" ({entry.how})" if entry.how else ""
    say(f"  {entry.actor}{how}: {entry.reason}", 4)
    changed = differences(entry.before, entry.after, utc)
    for one in changed[:_MOST_CHANGES]:
        say(f"    {one.name}: {_short(one.before)} -> {_short(one.after)}", 6)
    if (more := len(changed) - _MOST_CHANGES) > 0:
        print(f"    and {counted(more, 'field')} more: --json shows all")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
