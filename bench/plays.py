"""What is played: scripted outages, and a recorded one."""

import csv
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from bench.stage import Answer, Call

TRACE: Final = Path(__file__).parents[2] / "shared" / "data" / "genai-requests-2024-11.csv"
_WELL_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Outage(ABC):
    """A downstream that is well for 30 s, then sick in its own way, then well again.

    Calls come at random (Poisson), ``rate`` a second for the whole fleet; each takes 50 to 150 ms
    while all is well. It is sick for at least 90 s: with a breaker that probes every 30 s, where
    between two probes the downstream comes back decides more than anything else how many good calls
    are refused. So ``ending`` lets it come back at every part of that time alike, counted from a
    probe of the breaker at hand: ``lasting`` is the outage in which that probe is found.
    """

    name: str
    what: str
    rate: float = 50.0
    sick_from_ms: int = 30_000
    well_from_ms: int | None = 120_000
    end_ms: int = 330_000
    needs_nodes: int = 1

    def lasting(self) -> Self:
        """Return the same outage without an end, played until some time after it would end."""
        assert self.well_from_ms is not None
        return replace(self, well_from_ms=None, end_ms=self.well_from_ms + 40_000)

    def ending(self, probed_ms: int, part: float) -> Self:
        """Return the same outage, over this part of 30 s after a probe."""
        return replace(self, well_from_ms=probed_ms + round(30_000 * part))

    def calls(self, nodes: int, seed: int) -> list[Call]:
        """Return the calls, in order of time."""
        chance = random.Random(seed)
        calls: list[Call] = []
        at_s = chance.expovariate(self.rate)
        while at_s * 1000 < self.end_ms:
            node = chance.randrange(nodes)
            calls.append(Call(len(calls), round(at_s * 1000), node, chance.random()))
            at_s += chance.expovariate(self.rate)
        return calls

    def hits(self, node: int) -> bool:
        """Return whether this node meets the outage."""
        return True

    def answer(self, call: Call, now_ms: int, in_flight: int) -> Answer:
        """Return how the call ends."""
        if self.sick_from_ms <= now_ms < (self.well_from_ms or self.end_ms):
            return self.sick(call, now_ms)
        return self.well(call, now_ms, in_flight)

    def well(self, call: Call, now_ms: int, in_flight: int) -> Answer:
        """Return how a call ends while the downstream is well."""
        return Answer(True, _spread(call, _WELL_MS))

    @abstractmethod
    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return how a call ends while the downstream is sick."""


class Refuses(Outage):
    """It refuses connections at once."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a quick failure."""
        return Answer(False, _spread(call, 5))


class TimesOut(Outage):
    """It does not answer: every call fails by the caller's timeout."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a failure after one second."""
        return Answer(False, 1_000)


class BrownOut(Outage):
    """A part of the calls fails."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a failure for 30 % of the calls."""
        return Answer(call.chance >= 0.3, _spread(call, _WELL_MS))


class FewErrors(Outage):
    """A small part of the calls fails, too small for a breaker."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a failure for 10 % of the calls."""
        return Answer(call.chance >= 0.1, _spread(call, _WELL_MS))


class Slow(Outage):
    """Every call succeeds, but takes thirty times as long."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a success after three seconds."""
        return Answer(True, _spread(call, 3_000), slow=True)


class Flaps(Outage):
    """It is down for ten seconds and up for ten, in turn."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a quick failure, or a success."""
        return Answer((now_ms - self.sick_from_ms) // 10_000 % 2 == 1, _spread(call, _WELL_MS))


class BadNode(Outage):
    """The downstream is well; every call of one node fails."""

    def hits(self, node: int) -> bool:
        """Return whether this is the bad node."""
        return node == 0

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a failure for the bad node."""
        return Answer(call.node != 0, _spread(call, _WELL_MS))


class SilentNode(BadNode):
    """The downstream is well; every call of one node ends by the caller's timeout."""

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a failure after one second for the bad node."""
        if call.node == 0:
            return Answer(False, 1_000)
        return Answer(True, _spread(call, _WELL_MS))


class ColdStart(Outage):
    """It refuses, and when it is back it is cold: slower, and it bears only a few calls at once.

    Within 20 s the time of a call falls from 400 to 100 ms, and the number of calls it bears at
    once rises from 4 to 16; a call beyond them fails. The load needs 5 at once when it is warm and
    20 when it is cold.
    """

    def sick(self, call: Call, now_ms: int) -> Answer:
        """Return a quick failure."""
        return Answer(False, _spread(call, 5))

    def well(self, call: Call, now_ms: int, in_flight: int) -> Answer:
        """Return a success, or a failure when it is cold and has enough to do."""
        since_ms = now_ms - (self.well_from_ms or 0)
        if since_ms < 0:
            return Answer(True, _spread(call, _WELL_MS))
        warm = min(1.0, since_ms / 20_000)
        bears = 4 + 12 * warm
        return Answer(in_flight < bears, _spread(call, round(400 - 300 * warm)))


OUTAGES: Final[tuple[Outage, ...]] = (
    Refuses("hard down", "every call fails at once"),
    TimesOut("hard down, silent", "every call fails by a timeout of 1 s"),
    BrownOut("brown-out", "30 % of the calls fail"),
    FewErrors("few errors", "10 % of the calls fail", needs_nodes=10),
    Slow("slow only", "every call succeeds, after 3 s instead of 0.1 s"),
    Flaps("flapping", "10 s down, 10 s up, in turn"),
    BadNode("one bad node", "every call of one node fails, the others are well", needs_nodes=10),
    BadNode("one bad node, busy", "the same at 200 calls/s", rate=200.0, needs_nodes=10),
    SilentNode("one bad node, silent", "every call of one node times out (1 s)", needs_nodes=10),
    ColdStart("recovery under load", "down, then back but cold: see ColdStart in bench/plays.py"),
)


@dataclass(slots=True)
class Recorded:
    """The recorded calls to one downstream: an admitted call ends as it ended then."""

    name: str
    recorded: list[tuple[int, Answer]]
    sick_from_ms: int = 1 << 62
    well_from_ms: int | None = None
    end_ms: int = 0

    def __post_init__(self) -> None:
        self.end_ms = max(at_ms + answer.duration_ms for at_ms, answer in self.recorded)

    def calls(self, nodes: int, seed: int) -> list[Call]:
        """Return the calls; which node made which was not recorded, so it is drawn."""
        chance = random.Random(seed)
        return [
            Call(n, at_ms, chance.randrange(nodes), 0.0)
            for n, (at_ms, _) in enumerate(self.recorded)
        ]

    def hits(self, node: int) -> bool:
        """Return False: there is no outage to time."""
        return False

    def answer(self, call: Call, now_ms: int, in_flight: int) -> Answer:
        """Return how the call ended."""
        return self.recorded[call.id][1]


def recorded(path: Path = TRACE) -> list[Recorded]:
    """Return the plays of a trace, one for each downstream."""
    rows: dict[str, list[tuple[int, Answer]]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            at_ms = round(datetime.fromisoformat(row["submitted_at"]).timestamp() * 1000)
            ok = row["outcome"] == "success"
            rows[row["downstream"]].append(
                (at_ms, Answer(ok, round(float(row["duration_s"]) * 1000)))
            )
    begin_ms = min(at_ms for calls in rows.values() for at_ms, _ in calls)
    return [
        Recorded(
            name,
            sorted(((at_ms - begin_ms, answer) for at_ms, answer in calls), key=lambda row: row[0]),
        )
        for name, calls in sorted(rows.items())
    ]


def _spread(call: Call, mean_ms: int) -> int:
    """Return 50 to 150 % of a duration, the same for the same call."""
    part = call.chance * 997 % 1.0
    return max(1, round(mean_ms * (0.5 + part)))
