"""``headgate simulate``: how a pool would have served a recorded workload."""

import difflib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import Progress, TaskID, track
from rich.table import Table

from headgate.allocation import Claim, Group
from headgate.cli.simulate_page import Simulated, duration, page
from headgate.cli.workload import read_workload
from headgate.model.allocation import PoolProblem
from headgate.model.errors import ConfigurationError
from headgate.model.pool import Strategy
from headgate.simulate.figures import figures
from headgate.simulate.pool_simulation import DELAY_MS, simulate
from headgate.simulate.simulated_pool import SimulatedPool
from headgate.simulate.workload import Workload
from headgate.yaml_file import read_yaml

_NAMED: Final = 3


def command(
    trace: Path = typer.Option(..., help="The workload: SWF, plain or .gz, or CSV."),
    pool: Path = typer.Option(..., help="The pool, YAML; see examples/pool.yaml."),
    strategy: list[str] = typer.Option(
        [], help="Instead of the file's; may be given more than once, to compare."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    html: Path | None = typer.Option(None, help="Write a page that compares the strategies."),
    delay_ms: int = typer.Option(
        DELAY_MS, min=1, max=60_000, help="How long a message takes between ledger and governor."
    ),
) -> None:
    """Replay a workload through real ledgers and a real governor, on a simulated clock.

    The workload is in Standard Workload Format (field 12, the user, is the tenant; field 5, the
    processors, are the units), or a CSV file with the columns at_ms, tenant, units, duration_ms, or
    submitted_at, tenant, duration_s. Nothing needs to run, and nothing is changed.
    """
    strategies = [_strategy(name) for name in dict.fromkeys(strategy)]
    problem = read_yaml(pool, PoolProblem, what="pool", parts="keys")
    simulated = simulated_pool(pool, problem)
    workload = read_workload(trace, lambda lines: _watched(lines, f"reading {trace.name}"))
    results = _simulate(workload, simulated, strategies or [simulated.strategy], delay_ms)
    notes = _notes(trace, workload, simulated, results)
    if html is not None:
        _write(html, page(results, workload, simulated, f"{trace.name} in {pool.name}", notes))
    if as_json:
        print(json.dumps({one.name: one.figures.as_json() for one in results}, indent=2))
    else:
        _show(results, html)
    for note in notes:
        Console(stderr=True, soft_wrap=True).print(f"note: {note}", markup=False, highlight=False)


def simulated_pool(file: Path, problem: PoolProblem) -> SimulatedPool:
    """Return the pool of a file; the demand in it does not matter.

    Raises:
        ConfigurationError: It has several resources.
    """
    if isinstance(problem.capacity, dict):
        raise ConfigurationError(
            f"{file}: the capacity is by resource ({', '.join(sorted(problem.capacity))}), and one "
            "resource is simulated: write one number as capacity"
        )
    return SimulatedPool(
        capacity=problem.capacity,
        strategy=problem.strategy,
        shares=tuple(
            Claim(
                tenant=claim.tenant,
                demand=0,
                weight=claim.weight,
                priority=claim.priority,
                guaranteed=claim.guaranteed,
                borrow_limit=claim.borrow_limit,
                lend_limit=claim.lend_limit,
                maximum=claim.max,
                fixed=claim.fixed,
                group=claim.group,
            )
            for claim in problem.tenants
        ),
        groups=tuple(
            Group(
                name=group.group,
                parent=group.parent,
                weight=group.weight,
                priority=group.priority,
                guaranteed=group.guaranteed,
                borrow_limit=group.borrow_limit,
                lend_limit=group.lend_limit,
                maximum=group.max,
            )
            for group in problem.groups
        ),
    )


def _strategy(name: str) -> Strategy:
    names = [one.value for one in Strategy]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        advice = f"did you mean {close[0]}?" if close else f"write {', '.join(names)}"
        raise ConfigurationError(f"--strategy {name}: there is no such strategy; {advice}")
    return Strategy(name)


def _simulate(
    workload: Workload, pool: SimulatedPool, strategies: list[Strategy], delay_ms: int
) -> list[Simulated]:
    console = Console(stderr=True)
    jobs = len(workload.jobs)
    results = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        for number, strategy in enumerate(strategies, 1):
            task = progress.add_task(f"{strategy} ({number} of {len(strategies)})", total=jobs)
            simulation = simulate(
                workload, pool.with_strategy(strategy), delay_ms, _shown(progress, task)
            )
            progress.remove_task(task)
            results.append(Simulated(strategy.value, simulation, figures(simulation)))
    return results


def _shown(progress: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda ended: progress.update(task, completed=ended)


def _watched(lines: Iterable[str], doing: str) -> Iterable[str]:
    console = Console(stderr=True)
    return track(lines, doing, console=console, transient=True, disable=not console.is_terminal)


# The result ------------------------------------------------------------------------------------


def _notes(
    trace: Path, workload: Workload, pool: SimulatedPool, results: list[Simulated]
) -> list[str]:
    notes = [
        f"{count:,} entries of {trace.name} are left out: {why}"
        for why, count in sorted(workload.left_out.items())
    ]
    tenants = workload.tenants
    listed = {claim.tenant for claim in pool.shares}
    others = [tenant for tenant in tenants if tenant not in listed]
    if others:
        names = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        notes.append(
            f"{len(others):,} of {len(tenants):,} tenants are not in the pool file and have the "
            f"default share: weight 1, no guarantee, no fixed part ({names})"
        )
    refused = _counts(results, "refused")
    if refused:
        notes.append(
            f"jobs that need more than their tenant could ever have are refused: {refused}"
        )
    stranded = _counts(results, "stranded")
    if stranded:
        notes.append(
            "jobs that still wait when nothing can happen any more, because the first of each line "
            f"needs more at once than its tenant is given: {stranded}"
        )
    return notes


def _counts(results: list[Simulated], count: str) -> str:
    return ", ".join(
        f"{one.name} {getattr(one.figures, count):,}"
        for one in results
        if getattr(one.figures, count)
    )


def _show(results: list[Simulated], html: Path | None) -> None:
    console = Console(highlight=False)
    # A single space between: eleven columns fit into 80, and no heading is cut.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("Strategy", no_wrap=True, min_width=max(len(one.name) for one in results))
    for title in (
        *("Done", "Refused", "Stuck", "Used", "Mean", "p95", "Longest"),
        *("Fair", "Idle", "Over"),
    ):
        table.add_column(title, justify="right")
    for one in results:
        of = one.figures
        table.add_row(
            one.name,
            *(f"{n:,}" for n in (of.completed, of.refused, of.stranded)),
            f"{of.utilization:.1%}",
            *(duration(ms) for ms in (of.waits.mean, of.waits.p95, of.waits.longest)),
            f"{of.slowdown_jain:.3f}",
            *(f"{n:,}" for n in (of.violations, of.over_grants)),
        )
    console.print(table)
    first = results[0]
    console.print(
        f"\n{first.figures.jobs:,} jobs of {len(first.figures.tenants):,} tenants, "
        f"{first.simulation.pool.capacity:,} units. Mean, p95, Longest: waits. Fair: Jain's index "
        "of "
        "the slowdowns. Idle: times that work was left waiting for no reason. Over: times that "
        "more was held than there is.",
        soft_wrap=True,
    )
    if html is not None:
        console.print(f"In pictures: {html}", soft_wrap=True, markup=False)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be written: {error.strerror}") from error
