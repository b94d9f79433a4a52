"""Limits that adapt, in pictures: four scenes, each for ours, AIMD and no limit at all.

Run as ``python -m bench.limits --html FILE``.
"""

import csv
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.limiters import Fixed, Ours
from bench.limits import AIMD, CALLS, OWN, SLOTS, Calls
from bench.plays import TRACE
from headgate.simulate.limited import LimitedDownstream, LimitedSimulation, Limiter, Run, Stretch

CROWD: Final = 4 * SLOTS
"""Calls that are made at once where nothing limits them: so many callers there are."""

LENGTHS: Final = 750
"""A scene lasts so many times as long as a call takes."""

LIMITERS: Final[dict[str, Callable[[], Limiter]]] = {
    "Headgate (ARC)": lambda: Ours(OWN),
    "AIMD": lambda: Ours(AIMD),
    "no limit": lambda: Fixed(CROWD),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What is played.

    Attributes:
        title: In a few words.
        what: In a sentence or two.
        slots: Calls that the downstream works on at a time, from so many call lengths on.
        room: Calls that may wait inside.
        mean_ms: The length of a call.
        work: Yields how long each call takes by itself, for a seed.
    """

    title: str
    what: str
    slots: Sequence[tuple[int, int]]
    room: int
    mean_ms: int
    work: Callable[[int], Iterator[int]]

    @property
    def downstream(self) -> LimitedDownstream:
        """The downstream of the scene."""
        return LimitedDownstream(
            course=[Stretch(at * self.mean_ms, slots) for at, slots in self.slots],
            room=self.room,
            refuse_ms=max(1, self.mean_ms // 20),
            timeout_ms=5 * self.mean_ms,
            until_ms=LENGTHS * self.mean_ms,
        )

    def capacity(self) -> list[int]:
        """Return the slots there are, by call lengths."""
        what = self.downstream
        return [what.at(length * self.mean_ms).slots for length in range(LENGTHS)]


@dataclass(frozen=True, slots=True)
class Played:
    """One limiter in a scene, and what became of it in all.

    Attributes:
        limiter: Its name.
        is_limited: It has a limit.
        run: What happened.
        goodput: Calls that succeeded, as a share of what the downstream could do.
        failed: Calls that failed, as a share of all.
        slowness: How long a good call took, as a multiple of its work.
        most: The most calls in flight.
    """

    limiter: str
    is_limited: bool
    run: Run
    goodput: float
    failed: float
    slowness: float
    most: int


def play(scene: Scene, seed: int) -> list[Played]:
    """Play a scene for each limiter."""
    return [_play(scene, name, make(), seed) for name, make in LIMITERS.items()]


def _play(scene: Scene, name: str, limiter: Limiter, seed: int) -> Played:
    run = LimitedSimulation(scene.downstream, limiter, scene.work(seed), scene.mean_ms).run()
    good, bad = sum(run.good), sum(run.overloads)
    return Played(
        name,
        not isinstance(limiter, Fixed),
        run,
        goodput=good / sum(scene.capacity()),
        failed=bad / max(1, good + bad),
        slowness=sum(run.duration_ms) / max(1, good) / scene.mean_ms,
        most=max(run.peak),
    )


def scenes() -> list[Scene]:
    """Return the scenes; the last one only where the recorded durations are there."""
    short = CALLS[0]
    half = SLOTS // 2
    queues = f"It works on {SLOTS} calls at a time and lets {10 * SLOTS} more wait inside."
    all_scenes = [
        _of(
            short,
            "Latency that grows with load",
            f"{queues} Every call beyond that makes all of them take longer, and who waits five "
            "call lengths gives up.",
            [(0, SLOTS)],
        ),
        _of(
            short,
            "Half of the capacity is gone at once",
            f"The same downstream; at a third of the time it has {half} slots left.",
            [(0, SLOTS), (LENGTHS // 3, half)],
        ),
        _of(
            short,
            "Slow recovery",
            "This one refuses at once what is beyond its slots (429). At a fifth of the time three "
            "quarters of them are gone, and they come back one by one.",
            [
                (0, SLOTS),
                (LENGTHS // 5, SLOTS // 4),
                *((LENGTHS // 3 + 16 * n, SLOTS // 4 + n) for n in range(1, SLOTS * 3 // 4 + 2)),
            ],
            room=0,
        ),
    ]
    if TRACE.exists():
        all_scenes.append(_of_trace(TRACE, queues, half))
    return all_scenes


def _of(
    calls: Calls, title: str, what: str, slots: Sequence[tuple[int, int]], room: int = 10 * SLOTS
) -> Scene:
    lengths = f"Calls take {calls.least_ms} to {calls.most_ms} ms."
    return Scene(title, f"{what} {lengths}", slots, room, calls.mean_ms, calls.work)


def _of_trace(file: Path, queues: str, half: int) -> Scene:
    """Return the scene with the durations of recorded calls, drawn at random."""
    with file.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["outcome"] == "success"]
    recorded = [round(float(row["duration_s"]) * 1000) for row in rows]
    durations = [each for each in recorded if each > 0]
    mean_ms = round(statistics.mean(durations))
    longest_s, median_s = max(durations) / 1000, statistics.median(durations) / 1000

    def work(seed: int) -> Iterator[int]:
        chance = random.Random(seed)
        while True:
            yield chance.choice(durations)

    return Scene(
        "Durations of a real image service",
        f"{queues} Calls take as long as those of {file.name}, drawn at random: "
        f"{len(durations):,} that succeeded, {mean_ms / 1000:.1f} s on average, half of them up to "
        f"{median_s:.0f} s, the longest {longest_s:.0f} s. In the second third of the time half of "
        "the slots are gone.",
        [(0, SLOTS), (LENGTHS // 3, half), (2 * LENGTHS // 3, SLOTS)],
        10 * SLOTS,
        mean_ms,
        work,
    )
