"""Adaptive limits of concurrency, ours and others', on downstreams that lose half their capacity.

Run as::

    python -m bench.limits [--json] [--seed N] [--only NAME]
    python -m bench.limits --html FILE [--seed N]

A downstream is called by someone who always has more to do. Half of its capacity goes, and comes
back. Three kinds: one lets calls wait inside (latency grows with load; who waits five times as long
as a call takes gives up), one refuses what is beyond its capacity, one works half as fast on as
many calls. Short calls take 20 to 100 ms, long ones 10 to 60 s. All on simulated time
(``headgate.simulate.limited``); nothing depends on the machine. Under a minute.

``docs/limits.md`` has the results and what they mean. With ``--html`` other scenes are played, and
shown in pictures (``bench.limit_scenes``).
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.limiters import INITIAL, LEAST, MOST, Fixed, Gradient2, OurFleet, Ours, Vegas
from headgate.model.limits import ConcurrencyPolicy
from headgate.simulate.limited import LimitedDownstream, LimitedSimulation, Limiter, Run, Stretch

SLOTS: Final = 30
_PHASE_CALLS: Final = 250
"""A phase lasts so many times as long as a call takes."""

_BOUNDS: Final = {"min": LEAST, "max": MOST, "initial": INITIAL}
OWN: Final = ConcurrencyPolicy(**_BOUNDS)
AS_VECTOR: Final = ConcurrencyPolicy(**_BOUNDS, slowdown=None, step_doubles_after=None)
AIMD: Final = ConcurrencyPolicy(**_BOUNDS, algorithm="aimd")


@dataclass(frozen=True, slots=True)
class Calls:
    """How long calls take by themselves."""

    name: str
    least_ms: int
    most_ms: int

    @property
    def mean_ms(self) -> int:
        """Return the mean."""
        return (self.least_ms + self.most_ms) // 2

    def work(self, seed: int) -> Iterator[int]:
        """Yield how long each one takes."""
        chance = random.Random(seed)
        while True:
            yield chance.randint(self.least_ms, self.most_ms)


CALLS: Final = (Calls("short", 20, 100), Calls("long", 10_000, 60_000))
KINDS: Final = ("queues", "refuses", "slows")


def downstream(kind: str, calls: Calls) -> LimitedDownstream:
    """Return a downstream that loses half its capacity in the second of three phases."""
    mean, phase = calls.mean_ms, calls.mean_ms * _PHASE_CALLS
    bad = Stretch(phase, SLOTS, 200) if kind == "slows" else Stretch(phase, SLOTS // 2)
    return LimitedDownstream(
        course=(Stretch(0, SLOTS), bad, Stretch(2 * phase, SLOTS)),
        room=0 if kind == "refuses" else 10 * SLOTS,
        refuse_ms=max(1, mean // 20),
        timeout_ms=5 * mean,
        until_ms=3 * phase,
    )


def limiters(calls: Calls) -> dict[str, Callable[[], Limiter]]:
    """Return who is compared, by name."""
    every_ms = 1_000
    return {
        "fixed, right before": lambda: Fixed(SLOTS),
        "ARC (ours)": lambda: Ours(OWN),
        "ARC, fleet of 5": lambda: OurFleet(OWN, 5, every_ms),
        "ARC as Vector's": lambda: Ours(AS_VECTOR),
        "AIMD (ours)": lambda: Ours(AIMD),
        "AIMD, fleet of 5": lambda: OurFleet(AIMD, 5, every_ms),
        "Gradient2": Gradient2,
        "Vegas": Vegas,
    }


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one limiter.

    Attributes:
        calls: ``short`` or ``long``.
        kind: Of downstream.
        limiter: The name.
        goodput: Calls that succeeded, as a share of what the downstream can do at most, in each of
            the three phases.
        overloads: Calls that failed by overload, as a share of all, in each phase.
        settled: After how many call lengths the second and third phase had settled: for ten call
            lengths, 85 % of what is possible, at most half as many more calls in flight as the
            downstream can work on, and at most a tenth of the calls failing; null: never.
        overshoot: The most calls in flight from a quarter of a phase on, as a multiple of what the
            downstream can work on, in each phase.
        slowness: How long a good call took, as a multiple of the work, in each phase.
        limit: The mean limit in the last quarter of each phase.
    """

    calls: str
    kind: str
    limiter: str
    goodput: tuple[float, ...]
    overloads: tuple[float, ...]
    settled: tuple[float | None, ...]
    overshoot: tuple[float, ...]
    slowness: tuple[float, ...]
    limit: tuple[float, ...]


def play(kind: str, calls: Calls, name: str, seed: int) -> Row:
    """Run one limiter on one downstream."""
    what = downstream(kind, calls)
    limiter = limiters(calls)[name]()
    run = LimitedSimulation(what, limiter, calls.work(seed), calls.mean_ms).run()
    phases = [_phase(run, what, calls, n) for n in range(3)]
    return Row(
        calls.name,
        kind,
        name,
        goodput=tuple(each["goodput"] or 0.0 for each in phases),
        overloads=tuple(each["overloads"] or 0.0 for each in phases),
        settled=tuple(each["settled"] for each in phases[1:]),
        overshoot=tuple(each["overshoot"] or 0.0 for each in phases),
        slowness=tuple(each["slowness"] or 0.0 for each in phases),
        limit=tuple(each["limit"] or 0.0 for each in phases),
    )


def _phase(run: Run, what: LimitedDownstream, calls: Calls, number: int) -> dict[str, float | None]:
    begin, end = number * _PHASE_CALLS, (number + 1) * _PHASE_CALLS
    stretch = what.at(begin * calls.mean_ms)
    # What one slot of time, as long as a call, could bring at most.
    ideal = stretch.slots * 100 / stretch.pace_percent
    good, bad = sum(run.good[begin:end]), sum(run.overloads[begin:end])
    quarter = (end - begin) // 4
    work = calls.mean_ms * stretch.pace_percent / 100
    return {
        "goodput": good / (ideal * (end - begin)),
        "overloads": bad / max(1, good + bad),
        "settled": _settled(run, calls, begin, end, stretch.slots, ideal),
        "overshoot": max(run.peak[begin + quarter : end]) / stretch.slots,
        "slowness": sum(run.duration_ms[begin:end]) / max(1, good) / work,
        "limit": statistics.mean(run.limits[end - quarter : end]),
    }


def _settled(
    run: Run, calls: Calls, begin: int, end: int, slots: int, ideal: float
) -> float | None:
    """Return after how many call lengths it is as it should be, for ten of them."""
    span = 10
    for at in range(begin, end - span + 1):
        good = sum(run.good[at : at + span])
        bad = sum(run.overloads[at : at + span])
        in_flight = sum(run.in_flight_ms[at : at + span]) / (span * calls.mean_ms)
        if good >= 0.85 * ideal * span and in_flight <= 1.5 * slots and bad <= 0.1 * (good + bad):
            return float(at - begin)
    return None


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown, a table for each downstream and length of calls."""
    parts = []
    for calls, kind in dict.fromkeys((row.calls, row.kind) for row in rows):
        lines = [
            f"{calls} calls, a downstream that {kind}",
            "",
            "| limiter | goodput % | overloads % | settled after | overshoot | slowness | limit |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            if (row.calls, row.kind) == (calls, kind):
                cells = (
                    row.limiter,
                    _three(row.goodput, 100, ".0f"),
                    _three(row.overloads, 100, ".1f"),
                    " / ".join("never" if v is None else f"{v:.0f}" for v in row.settled),
                    _three(row.overshoot, 1, ".1f"),
                    _three(row.slowness, 1, ".1f"),
                    _three(row.limit, 1, ".0f"),
                )
                lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _three(values: tuple[float, ...], scale: float, form: str) -> str:
    return " / ".join(format(value * scale, form) for value in values)


def write_page(file: Path, seed: int) -> None:
    """Play the scenes and write the page that shows them; print its figures."""
    from bench.limit_scenes import play as played_by_all  # these know what is compared here
    from bench.limit_scenes import scenes
    from bench.limits_page import page
    from bench.plays import TRACE

    notes = [] if TRACE.exists() else [f"{TRACE.name} is not there, so its scene is left out"]
    played = [(scene, played_by_all(scene, seed)) for scene in scenes()]
    file.write_text(page(played, seed, notes), encoding="utf-8")
    for note in notes:
        print(note)
    for scene, results in played:
        for one in results:
            print(
                f"| {scene.title} | {one.limiter} | {one.goodput * 100:.0f} "
                f"| {one.failed * 100:.1f} | {one.slowness:.1f} | {one.most} |"
            )
    print(f"written: {file}")


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Compare adaptive limits of concurrency.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="the name of one limiter")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page of pictures")
    options = parser.parse_args(arguments)
    if options.html is not None:
        write_page(options.html, options.seed)
        return
    rows = [
        play(kind, calls, name, options.seed)
        for calls in CALLS
        for kind in KINDS
        for name in limiters(calls)
        if options.only in (None, name)
    ]
    print(json.dumps([asdict(row) for row in rows]) if options.json else table(rows))


if __name__ == "__main__":
    main()
