"""``headgate pool``: who shares what, and how much of it there is."""

import asyncio
from collections.abc import Iterator

import typer
from pydantic import TypeAdapter, ValidationError

from headgate.alerts.words import many
from headgate.allocation.overrides import words
from headgate.cli import options, what_if
from headgate.cli.connect import connect_temporal
from headgate.cli.options import Asked, operating, reading
from headgate.cli.tables import ago, ends, percent, print_json, say, show, table
from headgate.gate.clock import now_ms
from headgate.model.errors import ConfigurationError
from headgate.model.limits import PressureLevel, PressureView
from headgate.model.pool import PoolCommand, PoolView
from headgate.orchestrator.backpressure import backpressure
from headgate.orchestrator.operate import command_pool
from headgate.store.snapshots import SnapshotStore

app = typer.Typer(help="See pools; set the capacity of one for a time.", no_args_is_help=True)

app.command("what-if")(what_if.command)

_POOL = typer.Argument(help="The pool.")


@app.command("list")
def list_pools(as_json: bool = options.JSON) -> None:
    """List every pool with what is held of it, as Postgres has it."""
    asyncio.run(_list(as_json))


@app.command("show")
def show_pool(pool: str = _POOL, as_json: bool = options.JSON) -> None:
    """Show who holds, wants and has been given what of a pool."""
    asyncio.run(_show(pool, as_json))


@app.command("pressure")
def pressure(
    pool: str | None = typer.Argument(None, help="The pool; without it: all of them."),
    below: str = typer.Option(
        PressureLevel.ELEVATED.value, help="Exit with 1 when the level is this one or higher."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Show how full pools are: normal, elevated, saturated or emergency.

    Of one pool its governor is asked; without a name, all are shown as Postgres has them.
    """
    levels = [level.value for level in PressureLevel][1:]
    if below not in levels:
        raise ConfigurationError(f"--below {below}: write {', '.join(levels[:-1])} or {levels[-1]}")
    found = asyncio.run(_pressure(pool))
    if as_json:
        print_json({name: view.model_dump(mode="json") for name, view in found.items()})
    else:
        _show_pressure(found)
    worst = max((view.level.rank for view in found.values()), default=0)
    if worst >= PressureLevel(below).rank:
        raise typer.Exit(1)


@app.command("set-capacity")
def set_capacity(
    pool: str = _POOL,
    capacity: list[str] = typer.Argument(help="Units by resource, such as scan=40."),
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Give a pool another capacity; ended by resume.

    What was set for longer than that lies beneath, and is back when this ends.
    """
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    units = options.pairs(capacity, "scan=40")
    command = options.written(
        PoolCommand,
        action="set_capacity",
        capacity={resource: _units(resource, text) for resource, text in units.items()},
        for_ms=options.for_ms(duration, until),
        **by.fields,
    )
    tell_pool(pool, command, by, as_json)


@app.command("resume")
def resume(
    pool: str = _POOL,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Give a pool the configured capacity again: all that was set for it ends."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    command = options.written(PoolCommand, action="resume", **by.fields)
    tell_pool(pool, command, by, as_json)


def tell_pool(pool: str, command: PoolCommand, by: Asked, as_json: bool) -> None:
    """Tell a governor something, and print what its pool is then."""

    async def run() -> PoolView:
        async with operating() as (client, db):
            await by.note(db, pool, "governor")
            return await command_pool(client, db, pool, command)

    view = asyncio.run(run())
    if as_json:
        print_json(view)
        return
    has = ", ".join(f"{units} {resource}" for resource, units in view.capacity.items())
    say(f"pool {pool} {'would have' if command.dry_run else 'has'} {has or 'nothing'}{_by(view)}")
    if view.message:
        say(view.message, 2)


async def _pressure(pool: str | None) -> dict[str, PressureView]:
    if pool is not None:
        return {pool: await backpressure(await connect_temporal(), pool)}
    async with reading() as db:
        return {view.pool: view.pressure for view in await SnapshotStore(db).pools()}


def _show_pressure(found: dict[str, PressureView]) -> None:
    shown = table(*("Pool", "Pressure", "Since", "Ask again", "Because of"), whole=("Pool",))
    for name, view in found.items():
        shown.add_row(
            name,
            view.level.value,
            ago(view.since_ms) if view.since_ms else "-",
            f"after {view.retry_after_ms / 1_000:g} s" if view.retry_after_ms else "-",
            view.cause or "-",
        )
    show(shown)


async def _list(as_json: bool) -> None:
    async with reading() as db:
        store = SnapshotStore(db)
        views, saved = await store.pools(), await store.saved_at("governor")
    if as_json:
        print_json([_with_age(view, saved.get(view.pool)) for view in views])
        return
    found = table(
        *("Pool", "Resource", "Capacity", "Held", "Wanted", "Given", "Strategy", "Changed"),
        right=("Capacity", "Held", "Wanted", "Given"),
        whole=("Pool",),
    )
    for view in views:
        for number, row in enumerate(_totals(view)):
            name = view.pool if number == 0 else ""
            changed = ago(saved.get(view.pool)) if number == 0 else ""
            found.add_row(name, *row, _strategy(view) if number == 0 else "", changed)
    show(found)


async def _show(pool: str, as_json: bool) -> None:
    async with reading() as db:
        store = SnapshotStore(db)
        view, saved = await store.pool(pool), (await store.saved_at("governor")).get(pool)
    if view is None:
        raise ConfigurationError(f"no pool is known by the name {pool!r}: see headgate pool list")
    if as_json:
        print_json(_with_age(view, saved))
        return
    say(f"pool {pool}: {_strategy(view)}; last change {ago(saved)}{_by(view)}", 2)
    for resource, capacity, held, wanted, given in _totals(view):
        print(f"  {resource}: {held} of {capacity} held, {wanted} wanted, {given} given out")
    for one in reversed(view.beneath):
        say(f"over {words(one, now_ms())}", 2)
    if (downstream := view.settings.follows) is not None:
        say(f"follows {downstream}{_limit(view)}", 2)
    if view.pressure.level is not PressureLevel.NORMAL:
        say(f"pressure {view.pressure.level}: {view.pressure.cause}", 2)
    if view.unheard:
        ledgers = many(len(view.unheard), "ledger")
        print(f"waits for {ledgers} to say what is held: nothing is raised yet")
    for tenant, member in view.members.items():
        if member.stopped and any(member.held.values()):
            say(
                f"the ledger of {tenant} does not run; what it last held counts until it does, "
                "because its jobs may still be running",
                2,
            )
    for condition in view.conditions:
        say(f"{condition.type}: {condition.message}", 2)
    found = table(
        *("Tenant", "Resource", "Held", "Wanted", "Given", "Target", "Guaranteed", "Group"),
        right=("Held", "Wanted", "Given", "Target", "Guaranteed"),
        whole=("Tenant",),
    )
    for tenant, member in view.members.items():
        for number, resource in enumerate(view.capacity):
            amounts = (member.held, member.wanted, member.allocated, member.target)
            found.add_row(
                tenant if number == 0 else "",
                resource,
                *(str(amount.get(resource, 0)) for amount in amounts),
                str(member.guaranteed.get(resource, 0)),
                member.group or "-",
            )
    show(found)


def _totals(view: PoolView) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield resource, capacity, and what is held, wanted and given out of it."""
    for resource, capacity in view.capacity.items():
        members = view.members.values()
        yield (
            resource,
            str(capacity),
            str(sum(member.held.get(resource, 0) for member in members)),
            str(sum(member.wanted.get(resource, 0) for member in members)),
            str(sum(member.allocated.get(resource, 0) for member in members)),
        )


def _strategy(view: PoolView) -> str:
    if view.settings.source == "none":
        return "not configured"
    observes = "" if view.settings.enforced else ", observes only"
    return f"{view.settings.strategy.value}{observes}"


def _by(view: PoolView) -> str:
    """Say what operators have set last."""
    if (one := view.override) is None:
        return ""
    what = "set" if one.share is None else f"cut to {percent(one.share)}"
    return f"; {what} by {one.actor} {ends(one.until_ms)}: {one.reason}"


def _limit(view: PoolView) -> str:
    """Say what the limit of the downstream that a pool follows does to it."""
    followed = view.follows
    if followed is None:
        return ": nothing heard of its limit yet"
    if followed.limit is None:
        return ", which has no limit now"
    has = max(view.capacity.values(), default=0)
    does = "which lowers the capacity" if has == followed.limit else "which is above the capacity"
    return f": {followed.limit} calls may be in flight, {does}, since {ago(followed.since_ms)}"


def _units(resource: str, text: str | None) -> int:
    try:
        return TypeAdapter(int).validate_python(text)
    except ValidationError:
        raise ConfigurationError(
            f"{resource}={text}: write a whole number of units, such as {resource}=40"
        ) from None


def _with_age(view: PoolView, saved_at_ms: int | None) -> dict[str, object]:
    return {**view.model_dump(mode="json"), "saved_at_ms": saved_at_ms}
