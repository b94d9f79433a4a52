"""``headgate breaker``: what the breakers do, and what people set."""

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

import typer

from headgate.breaker.machine import MAX_TRANSITIONS_KEPT
from headgate.cli import options, tables
from headgate.cli.connect import connect_temporal
from headgate.cli.options import Asked, perhaps_database, reading
from headgate.gate.clock import now_ms
from headgate.model.breaker import BreakerAction, BreakerCommand, BreakerView, Transition
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.durations import past_moment
from headgate.orchestrator.operate import command_breaker
from headgate.store.database import Database
from headgate.store.pages import PageStore
from headgate.store.snapshots import SnapshotStore
from headgate.view.standing import affected_now
from headgate.view.words import whom

app = typer.Typer(
    help="See breakers; force, throttle, shadow, resume or reset one.", no_args_is_help=True
)

_NAME = typer.Argument(help="The downstream.")


@app.command("list")
def list_breakers(as_json: bool = options.JSON) -> None:
    """List every breaker, as Postgres has it."""
    asyncio.run(_list(as_json))


@app.command("show")
def show(name: str = _NAME, as_json: bool = options.JSON) -> None:
    """Show one breaker with its last transitions; transitions lists all of them."""
    asyncio.run(_show(name, as_json))


@app.command("transitions")
def transitions(
    name: str = _NAME,
    since: str | None = typer.Option(
        None, "--since", help="Only since then: 2h ago, or a time such as 2026-11-24T22:00Z."
    ),
    before: int | None = typer.Option(
        None, "--before", min=0, help="Only what is older than the one with this epoch."
    ),
    limit: int = typer.Option(50, "--limit", min=1, max=10_000, help="At most so many."),
    as_json: bool = options.JSON,
) -> None:
    """List all changes of state of a breaker, the latest first, as Postgres has them."""
    since_ms = 0 if since is None else past_moment(since, "--since", now_ms())
    asyncio.run(_transitions(name, limit, before, since_ms, as_json))


@app.command("outcomes")
def outcomes(
    name: str = _NAME,
    since: str = typer.Option(
        "1h", "--since", help="Since then: 2h ago, or a time such as 2026-11-24T22:00Z."
    ),
    as_json: bool = options.JSON,
) -> None:
    """List how the calls of a downstream ended, in stretches of 10 s."""
    asyncio.run(_outcomes(name, past_moment(since, "--since", now_ms()), as_json))


def _setting(action: BreakerAction, what: str) -> None:
    """Add a command that sets something for a time."""

    def command(
        name: str = _NAME,
        reason: str = options.REASON,
        actor: str = options.ACTOR,
        duration: str | None = options.FOR,
        until: str | None = options.UNTIL,
        dry_run: bool = options.DRY_RUN,
        request_id: str | None = options.REQUEST_ID,
        if_revision: int | None = options.IF_REVISION,
        as_json: bool = options.JSON,
    ) -> None:
        by = options.asked(reason, actor, dry_run, request_id, if_revision)
        _command(name, action, by, options.for_ms(duration, until), as_json)

    app.command(action.replace("_", "-"), help=what)(command)


_setting("force_open", "Let no call pass, whatever the downstream does.")
_setting("force_closed", "Let every call pass, whatever the downstream does.")
_setting("shadow", "Let every call pass, and record what the breaker would have done.")


@app.command("throttle")
def throttle(
    name: str = _NAME,
    to: str = typer.Option(..., "--to", help="The share of calls that passes, such as 50%."),
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    duration: str | None = options.FOR,
    until: str | None = options.UNTIL,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Let at most a share of the calls pass; the breaker goes on as usual."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    _command(name, "throttle", by, options.for_ms(duration, until), as_json, _share(to))


@app.command("resume")
def resume(
    name: str = _NAME,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """End what people have set; the breaker is what it would have been."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    _command(name, "resume", by, None, as_json)


@app.command("reset")
def reset(
    name: str = _NAME,
    reason: str = options.REASON,
    actor: str = options.ACTOR,
    dry_run: bool = options.DRY_RUN,
    request_id: str | None = options.REQUEST_ID,
    if_revision: int | None = options.IF_REVISION,
    as_json: bool = options.JSON,
) -> None:
    """Forget all outcomes and close, as if the breaker were new."""
    by = options.asked(reason, actor, dry_run, request_id, if_revision)
    _command(name, "reset", by, None, as_json)


def _command(
    name: str,
    action: BreakerAction,
    by: Asked,
    for_ms: int | None,
    as_json: bool,
    share: float | None = None,
) -> None:
    command = options.written(
        BreakerCommand, action=action, for_ms=for_ms, share=share, **by.fields
    )

    async def run() -> BreakerView:
        client = await connect_temporal()
        async with perhaps_database() as db:
            await by.note(db, name, "breaker")
            return await command_breaker(client, name, command)

    view = asyncio.run(run())
    if as_json:
        print(json.dumps(view.model_dump(mode="json"), indent=2))
        return
    print(f"{name} {'would be' if by.dry_run else 'is'} {view.state}: {_why(view)}")


def _share(text: str) -> float:
    """Return a share that is written in per cent."""
    match = re.fullmatch(r"(\d{1,2}(?:\.\d{1,3})?)%", text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigurationError(f"--to {text!r}: write per cent above 0% and below 100%, as 50%")
    return float(match[1]) / 100


async def _breakers() -> list[BreakerView]:
    async with reading() as db:
        return await SnapshotStore(db).breakers()


async def _list(as_json: bool) -> None:
    breakers = await _breakers()
    if as_json:
        print(json.dumps([view.model_dump(mode="json") for view in breakers], indent=2))
        return
    numbers = ("Failing", "Slow", "Calls", "Rejected")
    rows = tables.table(
        *("Downstream", "State", *numbers, "Why"), right=numbers, whole=("Downstream",)
    )
    for view in breakers:
        calls = view.calls_in_window
        rows.add_row(
            view.downstream,
            view.state,
            f"{view.failures_in_window}/{calls}",
            f"{view.slow_in_window}/{calls}",
            str(view.successes + view.failures),
            str(view.rejected),
            _why(view),
        )
    tables.show(rows)


async def _known(db: Database, name: str) -> BreakerView:
    view = await SnapshotStore(db).breaker(name)
    if view is None:
        raise ConfigurationError(f"no breaker is known for {name!r}: see headgate breaker list")
    return view


async def _transitions(
    name: str, limit: int, before: int | None, since_ms: int, as_json: bool
) -> None:
    async with reading() as db:
        await _known(db, name)
        found = await PageStore(db).transitions(name, limit, before, since_ms)
    if as_json:
        tables.print_json(found)
        return
    for step in found:
        _print_step(step)
    if not found:
        asked = since_ms or before is not None
        print("it has not changed in that time" if asked else "it has not changed yet")
    if len(found) == limit:
        print(f"only {limit} are shown: older ones with --before {found[-1].epoch}")


async def _outcomes(name: str, since_ms: int, as_json: bool) -> None:
    async with reading() as db:
        await _known(db, name)
        found = [span for _, span in await SnapshotStore(db).outcome_spans(name, since_ms)]
    if as_json:
        tables.print_json(found)
        return
    numbers = ("Succeeded", "Failed", "Ignored", "Slow", "Rejected", "Mean ms")
    rows = tables.table("From", *numbers, right=numbers, whole=("From",))
    for span in found:
        judged = span.successes + span.failures
        rows.add_row(
            _utc(span.at_ms),
            *map(str, (span.successes, span.failures, span.ignored, span.slow, span.rejected)),
            str(span.duration_ms // judged) if judged else "-",
        )
    tables.show(rows)


async def _show(name: str, as_json: bool) -> None:
    async with reading() as db:
        view = await _known(db, name)
    if as_json:
        print(json.dumps(view.model_dump(mode="json"), indent=2))
        return
    rows: list[tuple[str, Any]] = [
        ("state", view.state),
        ("why", _why(view)),
        ("since", _utc(view.in_force_since_ms)),
        ("until", _utc(until_ms) if (until_ms := (view.override or view).until_ms) else "-"),
        ("in the window", f"{view.failures_in_window} of {view.calls_in_window} calls failed"),
        ("slow", f"{view.slow_in_window} of them"),
        ("gates", f"{view.gates}, {view.witnesses} of them have seen trouble"),
        ("all calls", f"{view.successes} succeeded, {view.failures} failed"),
        ("rejected", view.rejected),
        ("tenants", whom(affected_now(view, now_ms()), 10)),
    ]
    for label, value in rows:
        print(f"{label:14} {value}")
    print("transitions")
    for step in reversed(view.transitions):
        _print_step(step)
    if len(view.transitions) >= MAX_TRANSITIONS_KEPT:
        print(f"  all of them: headgate breaker transitions {name}")


def _print_step(step: Transition) -> None:
    by = f" by {step.actor}" if step.actor else "" if step.enforced else " (not enforced)"
    tables.say(f"  {_utc(step.at_ms)}  {step.source} -> {step.target}{by}: {step.reason}", 4)


def _why(view: BreakerView) -> str:
    cut, why = "", view.reason
    if (by := view.throttle) is not None:
        until = f" until {_utc(by.until_ms)}" if by.until_ms else ""
        cut = f"cut to {by.share * 100:g}% by {by.actor}{until}: {by.reason}"
    if view.override is not None:
        until = f" until {_utc(view.override.until_ms)}" if view.override.until_ms else ""
        why = f"set by {view.override.actor}{until}: {view.override.reason}"
        return f"{why}; only when that has ended: {cut}" if cut else why
    if view.open_dependencies:
        why += f"; waits for {', '.join(view.open_dependencies)}"
    return f"{why}; {cut}" if cut else why


def _utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S}Z"
