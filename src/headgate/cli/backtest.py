"""``headgate backtest``: what a policy would have done on recorded calls."""

import asyncio
import difflib
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from headgate.cli.backtest_page import page
from headgate.cli.calls import read_calls
from headgate.cli.connect import database
from headgate.cli.page import counted
from headgate.model.errors import ConfigurationError
from headgate.model.policy import BreakerPolicy
from headgate.orchestrator.durations import parse_duration
from headgate.simulate import (
    Backtest,
    Call,
    Recorded,
    backtest,
    calls_in_spans,
    notes_on_record,
    recorded,
)
from headgate.store.migrate import require_current
from headgate.store.snapshots import SnapshotStore
from headgate.yaml_file import read_yaml

Item = TypeVar("Item")


def command(
    policy: Path = typer.Option(..., help="The policy, YAML; see examples/policy.yaml."),
    calls: Path | None = typer.Option(None, help="Recorded calls, CSV."),
    since: str | None = typer.Option(
        None, help="Instead of --calls: what Headgate has recorded in the last, say, 2d."
    ),
    downstream: list[str] = typer.Option([], help="Only this one; may be given more than once."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    html: Path | None = typer.Option(None, help="Write a page with the course of it all there."),
    seed: int = typer.Option(0, help="Of the jitter; the same seed gives the same result."),
) -> None:
    """Tell what a policy would have done on recorded calls: failures spared, good calls rejected.

    The calls are a CSV file with the columns at_ms, downstream, outcome, duration_ms (outcome:
    success, failure or ignored), or submitted_at, downstream, outcome, duration_s. With --since,
    they are the outcomes that the breakers have recorded in the database that HEADGATE_DATABASE_URL
    names.
    """
    wanted = read_policy(policy)
    played, really = _recorded(calls, since, downstream)

    def jitter(name: str) -> Callable[[], float]:
        return random.Random(f"{seed}/{name}").random  # noqa: S311 - so that it can be repeated

    result = backtest(_watched(played, "running the breakers", len(played)), wanted, jitter)
    notes = _notes(wanted, really)
    if html is not None:
        source = str(calls) if calls is not None else f"the last {since} of Headgate's own record"
        _write(html, page(result, played, wanted, source, notes))
    if as_json:
        print(json.dumps(result.as_json(), indent=2))
    else:
        _show(result, html)
    for note in notes:
        Console(stderr=True, soft_wrap=True).print(f"note: {note}", markup=False, highlight=False)


def read_policy(file: Path) -> BreakerPolicy:
    """Read a policy.

    Raises:
        ConfigurationError: With file, line, path and what to write instead.
    """
    return read_yaml(file, BreakerPolicy, what="policy", parts="keys")


# The calls -------------------------------------------------------------------------------------


def _recorded(
    file: Path | None, since: str | None, downstreams: list[str]
) -> tuple[list[Call], Recorded | None]:
    """Return the calls, and what really happened, where Headgate has recorded it."""
    really = None
    if file is None and since is None:
        raise ConfigurationError(
            "nothing to run the policy on: add --calls FILE, or --since 2d for what Headgate has "
            "recorded"
        )
    if file is not None and since is not None:
        raise ConfigurationError("--calls and --since are two sources: leave one of them out")
    if file is not None:
        calls = read_calls(file, lambda lines: _watched(lines, f"reading {file.name}"))
        where = str(file)
    else:
        assert since is not None
        since_ms = int(time.time() * 1000) - parse_duration(since, "--since")
        calls, really = asyncio.run(_from_database(max(0, since_ms), downstreams))
        where = f"what Headgate has recorded in the last {since}"
        if not calls and not downstreams:
            raise ConfigurationError(f"{where}: there is no outcome in it")
    if not downstreams:
        return calls, really
    known = {call.downstream for call in calls}
    for name in downstreams:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            advice = f"; did you mean {close[0]}?" if close else ""
            raise ConfigurationError(f"{where}: there is no call of {name!r} in it{advice}")
    return [call for call in calls if call.downstream in downstreams], really


async def _from_database(
    since_ms: int, downstreams: Collection[str]
) -> tuple[list[Call], Recorded]:
    only = next(iter(downstreams)) if len(downstreams) == 1 else None
    async with database() as db:
        await require_current(db)
        store = SnapshotStore(db)
        spans = await store.outcome_spans(only, since_ms)
        steps = await store.transitions(since_ms, only)
    spans_of, steps_of = _by_name(spans, downstreams), _by_name(steps, downstreams)
    calls: list[Call] = []
    for name, found in spans_of.items():
        calls += calls_in_spans(name, found, steps_of.get(name, ()))
    calls.sort(key=lambda call: call.at_ms)
    return calls, recorded([*chain(*spans_of.values())], [*chain(*steps_of.values())])


def _by_name(rows: Iterable[tuple[str, Item]], only: Collection[str]) -> dict[str, list[Item]]:
    """Return what there is of each downstream, or of some only, in the order of names."""
    found: dict[str, list[Item]] = defaultdict(list)
    for name, item in rows:
        if not only or name in only:
            found[name].append(item)
    return dict(sorted(found.items()))


def _watched(items: Iterable[Item], doing: str, total: int | None = None) -> Iterable[Item]:
    """Pass items on, and show on a terminal how many when it takes long."""
    console = Console(stderr=True)
    return track(
        items, doing, total, console=console, transient=True, disable=not console.is_terminal
    )


# The result ------------------------------------------------------------------------------------


def _notes(policy: BreakerPolicy, really: Recorded | None) -> list[str]:
    notes = []
    if policy.quorum > 1:
        notes.append(
            f"the recording does not say which process made a call, so quorum {policy.quorum} "
            "is taken as 1; with a quorum the breakers trip later"
        )
    if really is not None:
        times = "once" if really.opened == 1 else f"{really.opened:,} times"
        notes.append(
            f"in that time breakers really opened {times} and rejected "
            f"{counted(really.rejected, 'call')}"
        )
        notes += notes_on_record(policy)
    return notes


def _show(result: Backtest, html: Path | None) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Downstream", overflow="fold")
    for title in ("Calls", "Failing", "spared", "Rejected", "good ones", "Transitions"):
        table.add_column(title, justify="right")
    table.add_column("State")
    # By what the policy does for good or ill; then by the failures that it lets pass.
    order = sorted(
        result.downstreams.items(),
        key=lambda item: (-item[1].rejected, -len(item[1].transitions), -item[1].failures, item[0]),
    )
    quiet = [of for _, of in order if not of.transitions and not of.failures]
    for name, of in order:
        if of.transitions or of.failures:
            table.add_row(
                name,
                *(f"{n:,}" for n in (of.calls, of.failures, of.failures_avoided)),
                *(f"{n:,}" for n in (of.rejected, of.successes_rejected, len(of.transitions))),
                of.state.value,
            )
    if quiet:
        calls = f"{sum(of.calls for of in quiet):,}"
        table.add_row(f"{len(quiet)} others", calls, *["-"] * 6, style="dim")
    table.add_section()
    failures = result.total("failures")
    table.add_row(
        f"all {len(result.downstreams)}",
        f"{result.total('calls'):,}",
        f"{failures:,}",
        f"{result.total('failures_avoided'):,}",
        f"{result.total('rejected'):,}",
        f"{result.total('successes_rejected'):,}",
        f"{sum(len(of.transitions) for of in result.downstreams.values()):,}",
        "",
        style="bold",
    )
    console.print(table)
    console.print(f"\n{summary(result)}", soft_wrap=True)
    if html is not None:
        console.print(f"The course of it all: {html}", soft_wrap=True, markup=False)


def summary(result: Backtest) -> str:
    """Return the result in a sentence."""
    failures, spared = result.total("failures"), result.total("failures_avoided")
    good = result.total("calls") - failures
    hurt = result.total("successes_rejected")
    return (
        f"{spared:,} of {failures:,} failing calls would have been spared, "
        f"{hurt:,} of {good:,} other calls rejected."
    )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written: {error.strerror}") from error
