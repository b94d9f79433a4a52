"""``headgate throttle``: pause or cut a tenant, a resource, a pool or a downstream for a time."""

import asyncio
from typing import Literal

import typer

from headgate.cli import options
from headgate.cli.options import ledger_command, operating, reading
from headgate.cli.pool import tell_pool
from headgate.cli.quota import print_reply, tell
from headgate.cli.tables import ends, left, percent, print_json, say, show, table
from headgate.gate.clock import now_ms
from headgate.model.breaker import BreakerCommand, BreakerView
from headgate.model.ledger import Lift, SetThrottle
from headgate.model.pool import PoolCommand
from headgate.model.quota import Throttle
from headgate.orchestrator.holders import Answered
from headgate.orchestrator.operate import command_breaker
from headgate.orchestrator.throttles import (
    ResourceThrottles,
    Spread,
    lift_anywhere,
    throttles_in_force,
)

app = typer.Typer(
    help="Pause or cut a tenant, a resource, a pool or a downstream.", no_args_is_help=True
)


@app.command("list")
def list_throttles(as_json: bool = options.JSON) -> None:
    """List all that operators have set and that still holds, as Postgres has it."""
    asyncio.run(_list(as_json))


@app.command("tenant")
def tenant(
    tenant: str = typer.Argument(help="The tenant."),
    to: str = options.TO,
    resource: str = typer.Option("*", "--resource", help="Of this only; all, if not given."),
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Cut all limits of a tenant to a share, or grant it nothing."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    action = options.written(
        SetThrottle,
        resource=resource,
        share=options.share(to),
        until_ms=options.until_ms(duration, until),
    )
    tell(tenant, action, by, as_json)


@app.command("resource")
def resource(
    resource: str = typer.Argument(help="The resource; '*' for all of them."),
    to: str = options.TO,
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """Cut the limits of all tenants for a resource, or grant nothing of it to anybody."""
    by = options.asked(reason, actor, dry_run, request_id)
    # Checked as a command to a ledger would be, for the same words about the same mistakes.
    action = options.written(SetThrottle, resource=resource, share=options.share(to))
    command = ledger_command(action, by)
    throttle = options.written(
        Throttle,
        id=command.id,
        resource=resource,
        share=action.share,
        until_ms=options.until_ms(duration, until),
        actor=command.actor,
        reason=command.reason,
        since_ms=now_ms(),
    )

    async def run() -> Spread:
        async with operating() as (client, db):
            await by.note(db, f"resource/{resource}")
            return await ResourceThrottles(client, db).set(throttle, dry_run=dry_run)

    _print_spread(asyncio.run(run()), "throttled", as_json)


@app.command("pool")
def pool(
    pool: str = typer.Argument(help="The pool."),
    to: str = options.TO,
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Cut the capacity of a pool to a share of what it is now; ended by headgate pool resume.

    Of several cuts the last counts. What was set for longer is back when this ends.
    """
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    command = options.written(
        PoolCommand,
        action="throttle",
        share=options.share(to),
        for_ms=options.for_ms(duration, until),
        **by.fields,
    )
    tell_pool(pool, command, by, as_json)


@app.command("downstream")
def downstream(
    name: str = typer.Argument(help="The downstream."),
    to: str = options.TO,
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Let a share of the calls pass, or none; ended by headgate breaker resume."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    share = options.share(to)
    action: Literal["throttle", "force_open"] = "throttle" if share else "force_open"
    command = options.written(
        BreakerCommand,
        action=action,
        for_ms=options.for_ms(duration, until),
        share=share or None,
        **by.fields,
    )

    async def run() -> BreakerView:
        async with operating() as (client, db):
            await by.note(db, name, "breaker")
            return await command_breaker(client, name, command)

    view = asyncio.run(run())
    if as_json:
        print_json(view)
        return
    passes = f"at most {percent(share)} of the calls" if share else "no call"
    what_is_set = view.override or view.throttle
    holds = ends(what_is_set.until_ms if what_is_set is not None else None)
    print(f"{'would do: ' if dry_run else ''}{passes} to {name} passes, {holds}")


@app.command("lift")
def lift(
    id: str = typer.Argument(help="Of the throttle or override, as throttle list has it."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    as_json: bool = options.JSON,
) -> None:
    """End one throttle, of all tenants or of one."""
    by = options.asked(reason, actor, dry_run, request_id)
    command = ledger_command(options.written(Lift, id=id), by)

    async def run() -> Spread | Answered:
        async with operating() as (client, db):
            await by.note(db, f"throttle/{id}")
            return await lift_anywhere(client, db, command, now_ms())

    ended = asyncio.run(run())
    if isinstance(ended, Spread):
        _print_spread(ended, "lifted", as_json)
    else:
        print_reply(ended.reply, as_json, about=f"{ended.tenant}: ")


async def _list(as_json: bool) -> None:
    async with reading() as db:
        found = await throttles_in_force(db, now_ms())
    if as_json:
        print_json(found)
        return
    if not found:
        print("nothing is set by people")
        return
    rows = table("What", "Is", "For", "By", "Lifted by", whole=("Lifted by",))
    for one in found:
        of = f" {one.resource}" if one.kind == "tenant" and one.resource != "*" else ""
        subject = "all" if one.subject == "*" else one.subject
        rows.add_row(
            f"{one.kind} {subject}{of}",
            one.what,
            left(one.until_ms),
            f"{one.actor}: {one.reason}",
            one.id or f"{one.kind} resume",
        )
    show(rows)


def _print_spread(spread: Spread, what: str, as_json: bool) -> None:
    if as_json:
        print_json(spread)
        return
    one = spread.throttle
    subject = "all resources" if one.resource == "*" else one.resource
    would = "would be " if spread.dry_run else ""
    how = "" if what == "lifted" else f" to {percent(one.share)}, {ends(one.until_ms)}"
    ledgers = "1 running ledger" if spread.told == 1 else f"{spread.told} running ledgers"
    say(f"{subject} {would}{what}{how} for all tenants; {ledgers} {would}told", 2)
    if how:
        print(one.id)
