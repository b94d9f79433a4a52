"""A stage on simulated time: calls are offered to a fleet of breakers, and what happens is counted.

Nothing here sleeps or reads a clock. An agenda of events moves the time; a call that is made ends
later, by an event of its own, so calls overlap as they do in reality.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

LATE_MS: Final = 1_000
"""A call that its breaker holds back for longer than this before it is made counts as held."""

_STEADY_S: Final = 10


@dataclass(slots=True)
class Agenda:
    """What happens when; the only clock."""

    now_ms: int = 0
    _events: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def at(self, at_ms: int, do: Callable[[], None]) -> None:
        """Do something at ``at_ms``, or now when that is over."""
        self._count += 1
        heapq.heappush(self._events, (max(at_ms, self.now_ms), self._count, do))

    def run(self, until_ms: int) -> None:
        """Let happen what is due by ``until_ms``."""
        while self._events and self._events[0][0] <= until_ms:
            self.now_ms, _, do = heapq.heappop(self._events)
            do()
        self.now_ms = until_ms


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ends: well or not, slowly or not, and after how long."""

    ok: bool
    duration_ms: int
    slow: bool = False

    @property
    def sick(self) -> bool:
        """Whether it would have been better not to make the call."""
        return not self.ok or self.slow


@dataclass(slots=True, eq=False)
class Call:
    """One call that a node wants to make.

    Attributes:
        id: Unique on its stage.
        at_ms: When it is offered to the breaker.
        node: Which node wants to make it.
        chance: Drawn beforehand, from 0 to 1: every contender meets the same calls.
        answer: How it ended, or would have ended had it not been refused.
        made_at_ms: When it was made, if it was.
        refused: Whether the breaker refused it.
        probe: Whether it was let pass as a probe of a half-open breaker.
    """

    id: int
    at_ms: int
    node: int
    chance: float
    answer: Answer | None = None
    made_at_ms: int | None = None
    refused: bool = False
    probe: bool = False


class Play(Protocol):
    """What is played: which calls are offered, and how the downstream answers."""

    @property
    def end_ms(self) -> int:
        """When it is over."""

    @property
    def sick_from_ms(self) -> int:
        """When the outage begins."""

    @property
    def well_from_ms(self) -> int | None:
        """When the downstream is back, if it is."""

    def calls(self, nodes: int, seed: int) -> list[Call]:
        """Return the calls, in order of time."""

    def hits(self, node: int) -> bool:
        """Return whether this node meets the outage."""

    def answer(self, call: Call, now_ms: int, in_flight: int) -> Answer:
        """Return how the call ends that is made now, while ``in_flight`` others are under way."""


class Fleet(Protocol):
    """The breakers of all nodes, whether they know of each other or not."""

    def offer(self, call: Call) -> None:
        """Make the call on the stage, or refuse it, now or later."""

    def settle(self, call: Call) -> None:
        """Take the outcome of a call that was made."""

    def keeps_away(self, node: int) -> bool:
        """Return whether the breaker of this node lets no ordinary call pass."""


@dataclass(frozen=True, slots=True)
class Result:
    """What happened on the stage.

    Attributes:
        offered: Calls that nodes wanted to make.
        sick_made: Calls that were made and failed or were slow.
        sick_avoided: Calls that were refused and would have failed or been slow.
        good_refused: Calls that were refused and would have ended well.
        held: Calls that were made more than ``LATE_MS`` late, or never made nor refused.
        first_trip_ms: From the beginning of the outage until the first node keeps calls away.
        last_trip_ms: Until all nodes that meet it have; null: one never did.
        probes_at_once: Most calls in flight at once that were let pass by a half-open breaker.
        first_second: Calls made in the second from the first ordinary call after recovery.
        sick_after: Calls that were made after the downstream had come back, and failed.
        recovery_ms: From when the downstream is back until the first second of ten in a row in
            which every call was made in time and ended well; null: never.
    """

    offered: int
    sick_made: int
    sick_avoided: int
    good_refused: int
    held: int
    first_trip_ms: int | None
    last_trip_ms: int | None
    probes_at_once: int
    first_second: int | None
    sick_after: int
    recovery_ms: int | None


class Stage:
    """Plays one play with one fleet.

    Args:
        play: What is played.
        nodes: How many nodes make calls.
        seed: For what is left to chance.
    """

    def __init__(self, play: Play, nodes: int, seed: int) -> None:
        self.play = play
        self.nodes = nodes
        self.agenda = Agenda()
        self._calls = play.calls(nodes, seed)
        self._in_flight = 0
        self._probes = 0
        self._most_probes = 0
        self._tripped: dict[int, int] = {}

    def run(self, fleet: Fleet) -> Result:
        """Play it to the end."""
        self._fleet = fleet
        self._hit = [node for node in range(self.nodes) if self.play.hits(node)]
        self._next(0)
        self.agenda.run(self.play.end_ms)
        return self._result()

    def first_made(self, from_ms: int) -> int | None:
        """Return when the first call from then on was made, or None."""
        made = (call.made_at_ms for call in self._calls if call.made_at_ms is not None)
        return min((at_ms for at_ms in made if at_ms >= from_ms), default=None)

    def make(self, call: Call, probe: bool) -> Answer:
        """Make a call now; its outcome reaches the fleet when it ends."""
        now_ms = self.agenda.now_ms
        answer = call.answer = self.play.answer(call, now_ms, self._in_flight)
        call.made_at_ms, call.probe = now_ms, probe
        self._in_flight += 1
        if probe:
            self._probes += 1
            self._most_probes = max(self._most_probes, self._probes)
        self.agenda.at(now_ms + answer.duration_ms, lambda: self._end(call))
        return answer

    def refuse(self, call: Call) -> None:
        """Note that a call is not made, and how it would have ended."""
        call.refused = True
        call.answer = self.play.answer(call, self.agenda.now_ms, self._in_flight)

    def look(self) -> None:
        """Note which nodes keep calls away; to be called when that may have changed."""
        now_ms = self.agenda.now_ms
        if now_ms < self.play.sick_from_ms or len(self._tripped) == len(self._hit):
            return
        for node in self._hit:
            if node not in self._tripped and self._fleet.keeps_away(node):
                self._tripped[node] = now_ms - self.play.sick_from_ms

    def _next(self, n: int) -> None:
        if n < len(self._calls):
            self.agenda.at(self._calls[n].at_ms, lambda: self._offer(n))

    def _offer(self, n: int) -> None:
        self._next(n + 1)
        self._fleet.offer(self._calls[n])

    def _end(self, call: Call) -> None:
        self._in_flight -= 1
        self._probes -= call.probe
        self._fleet.settle(call)
        self.look()

    def _result(self) -> Result:
        well_ms = self.play.well_from_ms
        made = [call for call in self._calls if call.made_at_ms is not None]
        sick = [call for call in made if call.answer is not None and call.answer.sick]
        refused = [call for call in self._calls if call.refused and call.answer is not None]
        trips = [self._tripped[node] for node in self._hit if node in self._tripped]
        return Result(
            offered=len(self._calls),
            sick_made=len(sick),
            sick_avoided=sum(1 for call in refused if call.answer and call.answer.sick),
            good_refused=sum(1 for call in refused if call.answer and not call.answer.sick),
            held=sum(1 for call in self._calls if self._is_held(call)),
            first_trip_ms=min(trips, default=None),
            last_trip_ms=max(trips) if trips and len(trips) == len(self._hit) else None,
            probes_at_once=self._most_probes,
            first_second=None if well_ms is None else _first_second(made, well_ms),
            sick_after=0
            if well_ms is None
            else sum(1 for call in sick if (call.made_at_ms or 0) >= well_ms),
            recovery_ms=None if well_ms is None else self._recovery(well_ms),
        )

    def _is_held(self, call: Call) -> bool:
        if call.refused:
            return False
        until_ms = self.play.end_ms if call.made_at_ms is None else call.made_at_ms
        return until_ms - call.at_ms > LATE_MS

    def _recovery(self, well_ms: int) -> int | None:
        seconds = (self.play.end_ms - well_ms) // 1000
        bad = [False] * seconds
        for call in self._calls:
            second = (call.at_ms - well_ms) // 1000
            if 0 <= second < seconds and (
                call.refused
                or self._is_held(call)
                or (call.answer is not None and call.answer.sick)
            ):
                bad[second] = True
        for second in range(seconds - _STEADY_S + 1):
            if not any(bad[second : second + _STEADY_S]):
                return second * 1000
        return None


def _first_second(made: list[Call], well_ms: int) -> int | None:
    times = [(call.made_at_ms or 0, call.probe) for call in made]
    begin = min((at_ms for at_ms, probe in times if not probe and at_ms >= well_ms), default=None)
    if begin is None:
        return None
    return sum(1 for at_ms, _ in times if begin <= at_ms < begin + 1000)
