"""Headgate's breaker and five Python libraries, on the same outages and the same recorded calls.

Run as::

    python -m bench.breakers [--json] [--markdown FILE] [--plays N] [--trace FILE] [--only PART]

``--json`` prints everything as JSON instead of tables; ``--markdown FILE`` writes the tables to a
file as well; ``--plays N`` plays every outage N times (6), with other random arrivals and another
end each time, and reports the mean; ``--trace FILE`` names the recorded calls, which are skipped,
saying so, when the file is absent; ``--only outages|trace|cost`` runs one part. Libraries that are
not installed are left out. About four minutes; ``--plays 1`` is enough for a look.

Outages (``bench/plays.py``) are played on simulated time (``bench/stage.py``), once with one node
and once with ten. The libraries have a breaker in every node (``bench/libraries.py``); Headgate has
one for the fleet, to which and from which messages take 50 ms (``bench/ours.py``). The cost of a
call is measured on the real clock, in turns (``bench/call_cost.py``). ``docs/breakers-compared.md``
has the results and what they mean.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

from bench.call_cost import Cost, measure
from bench.libraries import (
    AioBreaker,
    CircuitBreaker,
    Guard,
    Interlock,
    OneAtATime,
    PerNode,
    Purgatory,
    PyBreaker,
    Settings,
    installed,
    simulated_time,
)
from bench.ours import Headgate, Machine
from bench.plays import OUTAGES, TRACE, Outage, recorded
from bench.stage import Agenda, Fleet, Play, Result, Stage
from headgate.model.policy import BreakerPolicy, TimeWindow

SETTINGS: Final = Settings()
_TEN_MINUTES_MS: Final = 600_000
_DAY_MS: Final = 86_400_000

# A library's half-open breaker waits for calls and for their ends as long as it takes, closes by
# one success (interlock: by the rate of its probes), lets everything pass then, and is open for the
# same time at each trip.
_CONSECUTIVE: Final = BreakerPolicy(
    failure_rate=None,
    consecutive_failures=SETTINGS.row,
    open_ms=SETTINGS.open_s * 1000,
    open_factor=1.0,
    open_jitter=0.0,
    probes=1,
    probe_deadline_ms=_TEN_MINUTES_MS,
    half_open_max_ms=_DAY_MS,
    ramp_ms=0,
)
_RATE: Final = BreakerPolicy(
    window=TimeWindow(seconds=SETTINGS.window_s),
    failure_rate=SETTINGS.rate,
    slow_call_ms=round(SETTINGS.slow_s * 1000),
    slow_call_rate=SETTINGS.rate,
    min_calls=SETTINGS.min_calls,
    open_ms=SETTINGS.open_s * 1000,
    open_factor=1.0,
    open_jitter=0.0,
    probes=SETTINGS.probes,
    probe_deadline_ms=_TEN_MINUTES_MS,
    half_open_max_ms=_DAY_MS,
    ramp_ms=0,
)
# The same rule to trip; the rest as Headgate has it by default.
_CONSECUTIVE_OWN: Final = BreakerPolicy(failure_rate=None, consecutive_failures=SETTINGS.row)
_RATE_OWN: Final = BreakerPolicy(
    failure_rate=SETTINGS.rate,
    slow_call_ms=round(SETTINGS.slow_s * 1000),
    slow_call_rate=SETTINGS.rate,
    window=TimeWindow(seconds=SETTINGS.window_s),
)


@dataclass(frozen=True, slots=True)
class Contender:
    """Who plays.

    Attributes:
        name: As in the tables.
        family: ``consecutive`` or ``rate``: the rule by which it opens.
        fleet: Makes its breakers on a stage.
        ours: Whether it is Headgate.
        equal: Whether it has the same settings as the others of its family.
        probes: The most probes at once that its settings allow; null: it has no such setting.
        alone: Whether it is for one node only.
    """

    name: str
    family: str
    fleet: Callable[[Stage], Fleet]
    ours: bool = False
    equal: bool = True
    probes: int | None = None
    alone: bool = False


def contenders() -> list[Contender]:
    """Return who can play here: Headgate, and the libraries that are installed."""
    found: list[Contender] = []

    def library(name: str, module: str, family: str, guard: Callable[..., Guard]) -> None:
        if installed(module):
            found.append(Contender(name, family, partial(_per_node, guard)))

    library("pybreaker", "pybreaker", "consecutive", PyBreaker)
    if installed("pybreaker"):
        found.append(
            Contender("pybreaker call()", "consecutive", partial(OneAtATime, settings=SETTINGS))
        )
    library("aiobreaker", "aiobreaker", "consecutive", AioBreaker)
    library("purgatory", "purgatory", "consecutive", Purgatory)
    library("circuitbreaker", "circuitbreaker", "consecutive", CircuitBreaker)
    found += _ours("consecutive", _CONSECUTIVE, _CONSECUTIVE_OWN)
    library("interlock-cb", "interlock", "rate", Interlock)
    found += _ours("rate", _RATE, _RATE_OWN)
    return found


def _per_node(guard: Callable[[Settings, Agenda], Guard], stage: Stage) -> PerNode:
    return PerNode(stage, lambda: guard(SETTINGS, stage.agenda))


def _ours(family: str, equal: BreakerPolicy, own: BreakerPolicy) -> list[Contender]:
    quorum = equal.model_copy(update={"quorum": 2})

    def gates(policy: BreakerPolicy) -> Callable[[Stage], Fleet]:
        return partial(Headgate, policy=policy)

    return [
        Contender("headgate", family, gates(equal), True, True, equal.probes),
        Contender("headgate, quorum 2", family, gates(quorum), True, False, equal.probes),
        Contender("headgate, own defaults", family, gates(own), True, False, own.probes),
        Contender(
            "headgate machine alone",
            family,
            partial(Machine, policy=equal),
            True,
            True,
            equal.probes,
            alone=True,
        ),
    ]


def play(contender: Contender, what: Play, nodes: int, seed: int) -> Result:
    """Let a contender play, and return what happened."""
    return _run(contender, Stage(what, nodes, seed))


def _run(contender: Contender, stage: Stage) -> Result:
    with simulated_time(stage.agenda):
        fleet = contender.fleet(stage)
        result = stage.run(fleet)
        if isinstance(fleet, PerNode):
            fleet.abandon()
        return result


def _play_outage(name: str, family: str, outage: Outage, nodes: int, plays: int) -> list[Result]:
    """Let a contender play an outage that ends at every part of its open time alike."""
    contender = next(each for each in contenders() if (each.name, each.family) == (name, family))
    results = []
    for seed in range(plays):
        scouted = Stage(outage.lasting(), nodes, seed)
        _run(contender, scouted)
        assert outage.well_from_ms is not None
        probed_ms = scouted.first_made(outage.well_from_ms) or outage.well_from_ms
        ended = outage.ending(probed_ms, (seed + 0.5) / plays)
        results.append(play(contender, ended, nodes, seed))
    return results


@dataclass(frozen=True, slots=True)
class Row:
    """The mean of what happened to one contender in one outage.

    Times are in seconds. What did not happen in every play is null.
    """

    outage: str
    nodes: int
    contender: str
    family: str
    ours: bool
    equal: bool
    sick_made: float
    good_refused: float
    held: float
    first_trip_s: float | None
    last_trip_s: float | None
    probes_at_once: int
    first_second: float | None
    sick_after: float
    recovery_s: float | None


def play_outages(
    outages: Sequence[Outage] = OUTAGES,
    plays: int = 6,
    fleets: Iterable[int] = (1, 10),
) -> list[Row]:
    """Return a row for each outage, size of fleet and contender."""
    places = [
        (outage, nodes, contender)
        for outage, nodes in product(outages, fleets)
        if nodes >= outage.needs_nodes
        for contender in contenders()
        if _takes_part(contender, nodes)
    ]
    # Simulated time: it does not matter how many plays share a core.
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        played = [
            pool.submit(_play_outage, contender.name, contender.family, outage, nodes, plays)
            for outage, nodes, contender in places
        ]
        return [_row(*place, each.result()) for place, each in zip(places, played, strict=True)]


def _takes_part(contender: Contender, nodes: int) -> bool:
    return not ((contender.alone and nodes > 1) or ("quorum" in contender.name and nodes == 1))


def _row(outage: Outage, nodes: int, contender: Contender, results: list[Result]) -> Row:
    return Row(
        outage=outage.name,
        nodes=nodes,
        contender=contender.name,
        family=contender.family,
        ours=contender.ours,
        equal=contender.equal,
        sick_made=statistics.mean(result.sick_made for result in results),
        good_refused=statistics.mean(result.good_refused for result in results),
        held=statistics.mean(result.held for result in results),
        first_trip_s=_seconds([result.first_trip_ms for result in results]),
        last_trip_s=_seconds([result.last_trip_ms for result in results]),
        probes_at_once=max(result.probes_at_once for result in results),
        first_second=_mean([result.first_second for result in results]),
        sick_after=statistics.mean(result.sick_after for result in results),
        recovery_s=_seconds([result.recovery_ms for result in results]),
    )


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if len(known) == len(values) else None


def _seconds(values: Sequence[int | None]) -> float | None:
    mean = _mean(values)
    return None if mean is None else mean / 1000


@dataclass(frozen=True, slots=True)
class TraceRow:
    """What one contender does on the recorded calls of all downstreams."""

    nodes: int
    contender: str
    family: str
    ours: bool
    equal: bool
    calls: int
    failures_made: int
    failures_avoided: int
    good_refused: int


def play_trace(
    path: Path = TRACE, fleets: Iterable[int] = (1, 10), seed: int = 1
) -> list[TraceRow]:
    """Return a row for each size of fleet and contender."""
    plays = recorded(path)
    rows: list[TraceRow] = []
    for nodes in fleets:
        for contender in contenders():
            if not _takes_part(contender, nodes):
                continue
            results = [play(contender, each, nodes, seed) for each in plays]
            rows.append(
                TraceRow(
                    nodes=nodes,
                    contender=contender.name,
                    family=contender.family,
                    ours=contender.ours,
                    equal=contender.equal,
                    calls=sum(result.offered for result in results),
                    failures_made=sum(result.sick_made for result in results),
                    failures_avoided=sum(result.sick_avoided for result in results),
                    good_refused=sum(result.good_refused for result in results),
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class Goal:
    """Whether Headgate, at equal settings, does what it should; with the numbers when not."""

    outage: str
    nodes: int
    family: str
    goal: str
    met: bool
    numbers: str


def goals(rows: Sequence[Row], trace: Sequence[TraceRow]) -> list[Goal]:
    """Hold ``headgate`` against each library of its family.

    Fewer sick calls made, no more good ones refused, no more probes at once than set. Differences
    of less than half a call in the mean count as none.
    """
    verdicts: list[Goal] = []
    limits = {contender.name + contender.family: contender.probes for contender in contenders()}
    for row in rows:
        if not (row.ours and row.equal) or "alone" in row.contender:
            continue
        others = [
            other
            for other in rows
            if not other.ours
            and (other.outage, other.nodes, other.family) == (row.outage, row.nodes, row.family)
        ]
        if all(
            each.first_trip_s is None and not round(each.good_refused) for each in (row, *others)
        ):
            continue  # no rule that they share sees this outage
        place = (row.outage, row.nodes, row.family)
        verdicts += _held_against(
            place,
            (row.sick_made, row.good_refused),
            {_with_held(other): (other.sick_made, other.good_refused) for other in others},
        )
        limit = limits[row.contender + row.family]
        verdicts.append(
            Goal(
                *place,
                "no more probes at once than set",
                limit is not None and row.probes_at_once <= limit,
                f"{row.probes_at_once} of {limit}",
            )
        )
    for ours in trace:
        if ours.ours and ours.equal and "alone" not in ours.contender:
            verdicts += _held_against(
                ("real trace", ours.nodes, ours.family),
                (ours.failures_made, ours.good_refused),
                {
                    other.contender: (other.failures_made, other.good_refused)
                    for other in trace
                    if not other.ours and (other.nodes, other.family) == (ours.nodes, ours.family)
                },
            )
    return verdicts


def _with_held(row: Row) -> str:
    return f"{row.contender} (held {row.held:.0f})" if row.held else row.contender


def _held_against(
    place: tuple[str, int, str],
    ours: tuple[float, float],
    others: dict[str, tuple[float, float]],
) -> list[Goal]:
    verdicts = []
    for n, goal in enumerate(("fewer sick calls made", "no more good calls refused")):
        better = {
            name: numbers[n]
            for name, numbers in others.items()
            if round(numbers[n]) < round(ours[n])
            or (n == 0 and round(numbers[n]) == round(ours[n]))
        }
        text = f"ours {ours[n]:.0f}; " + ", ".join(f"{k} {v:.0f}" for k, v in better.items())
        verdicts.append(Goal(*place, goal, not better, text if better else f"ours {ours[n]:.0f}"))
    return verdicts


# Tables ----------------------------------------------------------------------------------------


def outage_tables(rows: Sequence[Row]) -> str:
    """Return the outages as Markdown tables, one for each thing that was counted."""
    here = [outage for outage in OUTAGES if any(row.outage == outage.name for row in rows)]
    parts = ["\n".join(f"- *{outage.name}*: {outage.what}." for outage in here)]
    for family in dict.fromkeys(row.family for row in rows):
        mine = [row for row in rows if row.family == family]
        parts.append(_outage_table(f"{family}: sick calls made / good calls refused", mine, _leaks))
    parts.append(_outage_table("seconds to trip: first, all / probes at once", rows, _reactions))
    title = "calls in the 1st s / sick calls after / seconds to full recovery"
    parts.append(_outage_table(title, rows, _returns))
    return "\n\n".join(parts)


def _outage_table(title: str, rows: Sequence[Row], cell: Callable[[Row], str]) -> str:
    """Return a line for each outage and size of fleet, and a column for each contender.

    Contenders with the same numbers share a column.
    """
    places = list(dict.fromkeys((row.outage, row.nodes) for row in rows))
    families = {row.family for row in rows}
    columns: dict[tuple[str, ...], list[str]] = {}
    for name, family in dict.fromkeys((row.contender, row.family) for row in rows):
        its = [row for row in rows if (row.contender, row.family) == (name, family)]
        text = f"**{name}**" if its[0].ours else name
        if its[0].ours and len(families) > 1:
            text += f" ({family})"
        cells = tuple(_cell_of(its, place, cell) for place in places)
        columns.setdefault(cells, []).append(text)
    lines = [
        [f"{outage}, {nodes}", *(cells[n] for cells in columns)]
        for n, (outage, nodes) in enumerate(places)
    ]
    heads = [", ".join(names) for names in columns.values()]
    return f"**{title}**\n\n" + _table(["outage, nodes", *heads], lines)


def _cell_of(rows: Sequence[Row], place: tuple[str, int], cell: Callable[[Row], str]) -> str:
    return next((cell(row) for row in rows if (row.outage, row.nodes) == place), "")


def _leaks(row: Row) -> str:
    held = f" ({row.held:.0f} held)" if round(row.held) else ""
    return f"{row.sick_made:.0f} / {row.good_refused:.0f}{held}"


def _reactions(row: Row) -> str:
    return f"{_trip(row)} / {row.probes_at_once}"


def _returns(row: Row) -> str:
    first, recovery = _number(row.first_second, 0), _number(row.recovery_s, 0)
    return f"{first} / {row.sick_after:.0f} / {recovery}"


def trace_table(rows: Sequence[TraceRow]) -> str:
    """Return the recorded calls as a Markdown table."""
    if not rows:
        return "The trace is not here: skipped."
    merged: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        numbers = (row.failures_made, row.failures_avoided, row.good_refused)
        key = (str(row.nodes), row.family, *(str(number) for number in numbers))
        merged.setdefault(key, []).append(f"**{row.contender}**" if row.ours else row.contender)
    return f"{rows[0].calls:,} calls.\n\n" + _table(
        ["nodes", "rule", "", "failures made", "failures avoided", "good calls refused"],
        [
            [nodes, family, ", ".join(names), *numbers]
            for (nodes, family, *numbers), names in merged.items()
        ],
    )


def cost_tables(costs: dict[str, dict[str, Cost]]) -> str:
    """Return the cost of a call as a Markdown table."""
    names = dict.fromkeys(name for by_name in costs.values() for name in by_name)
    first = next(iter(costs.values()))
    lines = [
        [
            f"**{name}**" if name.startswith("headgate") else name,
            *(_cost(by_name.get(name)) for by_name in costs.values()),
        ]
        for name in sorted(names, key=lambda name: first[name].median_ns)
    ]
    heads = [f"{path}: ns, median (quartiles), x pybreaker" for path in costs]
    return _table(["", *heads], lines)


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    ratio = "" if cost.ratio is None else f", x {cost.ratio:.2f}"
    return f"{cost.median_ns:,.0f} ({cost.low_ns:,.0f} to {cost.high_ns:,.0f}){ratio}"


def goal_table(verdicts: Sequence[Goal]) -> str:
    """Return the goals that are not met, as a Markdown table."""
    missed = [goal for goal in verdicts if not goal.met]
    summary = f"{len(verdicts) - len(missed)} of {len(verdicts)} comparisons are met."
    if not missed:
        return summary
    titles = list(dict.fromkeys(goal.goal for goal in missed))
    places: dict[tuple[str, int, str], dict[str, str]] = {}
    for goal in missed:
        places.setdefault((goal.outage, goal.nodes, goal.family), {})[goal.goal] = goal.numbers
    return (
        summary
        + " Not met:\n\n"
        + _table(
            ["outage, nodes", "rule", *(f"not: {title}" for title in titles)],
            [
                [f"{outage}, {nodes}", family, *(numbers.get(title, "") for title in titles)]
                for (outage, nodes, family), numbers in places.items()
            ],
        )
    )


def _trip(row: Row) -> str:
    if row.first_trip_s is None:
        return "–"
    return f"{row.first_trip_s:.1f}, {_number(row.last_trip_s, 1)}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


_WORDS: Final = ("", "rule", "outage, nodes")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---" if name in _WORDS else "---:" for name in head], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# Command line ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.breakers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--plays", type=int, default=6, metavar="N")
    parser.add_argument("--trace", type=Path, default=TRACE, metavar="FILE")
    parser.add_argument("--only", choices=["outages", "trace", "cost"])
    options = parser.parse_args(arguments)

    def wanted(part: str) -> bool:
        return options.only in (None, part)

    rows = play_outages(plays=options.plays) if wanted("outages") else []
    trace: list[TraceRow] = []
    if wanted("trace"):
        if options.trace.exists():
            trace = play_trace(options.trace)
        else:
            sys.stderr.write(f"{options.trace} is not here: the recorded calls are skipped\n")
    costs = measure() if wanted("cost") else {}
    verdicts = goals(rows, trace)
    sections = []
    if rows:
        sections.append("## Outages\n\n" + outage_tables(rows))
    if wanted("trace"):
        sections.append("## Recorded calls\n\n" + trace_table(trace))
    if verdicts:
        sections.append("## Goals\n\n" + goal_table(verdicts))
    if costs:
        sections.append("## Cost of a call\n\n" + cost_tables(costs))
    text = "\n\n".join(sections) + "\n"
    if options.markdown is not None:
        options.markdown.write_text(text)
    if options.json:
        everything = {
            "outages": [_plain(row) for row in rows],
            "trace": [_plain(row) for row in trace],
            "goals": [_plain(goal) for goal in verdicts],
            "cost_ns": {
                path: {name: asdict(cost) for name, cost in by_name.items()}
                for path, by_name in costs.items()
            },
        }
        text = json.dumps(everything, indent=1) + "\n"
    sys.stdout.write(text)
    return 0


def _plain(row: Row | TraceRow | Goal) -> dict[str, object]:
    return {each.name: getattr(row, each.name) for each in fields(row)}


if __name__ == "__main__":
    raise SystemExit(main())
