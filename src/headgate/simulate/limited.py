"""A downstream whose capacity changes, called by someone who always has more to do.

A discrete-event simulation: calls take a slot of the downstream or wait inside it, are refused when
there is no room to wait, and may be given up by the caller, which the downstream does not notice:
it does the work all the same. What the limiter learns is what a gate would learn.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol


class Limiter(Protocol):
    """Says how many calls may be in flight, and is told how they go."""

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        ...

    def began(self, in_flight: int, now_ms: int) -> int:
        """Take note of a call, itself counted in ``in_flight``; return a mark for its end."""
        ...

    def ended(
        self, mark: int, duration_ms: int, now_ms: int, in_flight: int, *, overload: bool
    ) -> None:
        """Take note of how a call ended; it is still counted in ``in_flight``."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """How the downstream is from ``from_ms`` on.

    Attributes:
        from_ms: When that begins; the first at 0.
        slots: Calls that it works on at the same time.
        pace_percent: How long the work takes, 100 being as usual.
    """

    from_ms: int
    slots: int
    pace_percent: int = 100


@dataclass(frozen=True, slots=True)
class LimitedDownstream:
    """What is called.

    Attributes:
        course: How it changes, by time.
        room: Calls that may wait inside; one more is refused.
        refuse_ms: How long a refusal takes.
        timeout_ms: The caller gives up then.
        until_ms: The end of the simulation.
    """

    course: Sequence[Stretch]
    room: int
    refuse_ms: int
    timeout_ms: int
    until_ms: int

    def at(self, at_ms: int) -> Stretch:
        """Return how it is at a time."""
        return [each for each in self.course if each.from_ms <= at_ms][-1]


@dataclass(slots=True)
class Run:
    """What happened, in slots of time of equal length.

    Attributes:
        every_ms: The length of a slot.
        good: Calls that succeeded, by when they ended.
        overloads: Calls that were refused or given up, by when they ended.
        duration_ms: How long the good ones took, together.
        in_flight_ms: The calls in flight, integrated over time.
        peak: The most calls in flight.
        limits: The limit at the end of each slot.
    """

    every_ms: int
    good: list[int] = field(default_factory=list)
    overloads: list[int] = field(default_factory=list)
    duration_ms: list[int] = field(default_factory=list)
    in_flight_ms: list[int] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Call:
    began_ms: int
    mark: int
    work_ms: int
    over: bool = False


class LimitedSimulation:
    """One run of one limiter."""

    def __init__(
        self,
        downstream: LimitedDownstream,
        limiter: Limiter,
        work_ms: Iterator[int],
        every_ms: int,
    ) -> None:
        """Set the stage.

        Args:
            downstream: What is called.
            limiter: Who says how many calls may be in flight.
            work_ms: How long each call takes by itself.
            every_ms: The resolution of the result.
        """
        self.run_record = Run(every_ms)
        self._downstream = downstream
        self._limiter = limiter
        self._work_ms = work_ms
        self._events: list[tuple[int, int, str, _Call | Stretch]] = []
        self._count = 0
        self._now_ms = 0
        self._in_flight = 0
        self._busy = 0
        self._waiting: deque[_Call] = deque()
        self._stretch = downstream.course[0]
        for stretch in downstream.course:
            self._at(stretch.from_ms, "change", stretch)

    def run(self) -> Run:
        """Play it to the end."""
        record, every_ms = self.run_record, self.run_record.every_ms
        for begins_ms in range(0, self._downstream.until_ms, every_ms):
            for series in (
                record.good,
                record.overloads,
                record.duration_ms,
                record.in_flight_ms,
                record.peak,
            ):
                series.append(0)
            record.peak[-1] = self._in_flight
            self._play(begins_ms + every_ms)
            record.limits.append(self._limiter.limit)
        return record

    def _play(self, until_ms: int) -> None:
        self._call_while_allowed()
        while self._events and self._events[0][0] < until_ms:
            at_ms, _, what, about = heappop(self._events)
            self._pass_time(at_ms)
            if isinstance(about, Stretch):
                self._stretch = about
                self._start_waiting()
            elif what == "work":
                self._busy -= 1
                if not about.over:
                    self._end(about, overload=False)
                self._start_waiting()
            elif not about.over:
                self._end(about, overload=True)
            self._call_while_allowed()
        self._pass_time(until_ms)

    def _pass_time(self, now_ms: int) -> None:
        self.run_record.in_flight_ms[-1] += self._in_flight * (now_ms - self._now_ms)
        self._now_ms = now_ms

    def _call_while_allowed(self) -> None:
        while self._in_flight < self._limiter.limit:
            self._in_flight += 1
            mark = self._limiter.began(self._in_flight, self._now_ms)
            call = _Call(self._now_ms, mark, next(self._work_ms))
            self.run_record.peak[-1] = max(self.run_record.peak[-1], self._in_flight)
            if self._busy < self._stretch.slots:
                self._work(call)
            elif len(self._waiting) < self._downstream.room:
                self._waiting.append(call)
            else:
                self._at(self._now_ms + self._downstream.refuse_ms, "refuse", call)
                continue
            self._at(self._now_ms + self._downstream.timeout_ms, "give up", call)

    def _start_waiting(self) -> None:
        while self._waiting and self._busy < self._stretch.slots:
            self._work(self._waiting.popleft())

    def _work(self, call: _Call) -> None:
        self._busy += 1
        takes_ms = max(1, call.work_ms * self._stretch.pace_percent // 100)
        self._at(self._now_ms + takes_ms, "work", call)

    def _end(self, call: _Call, *, overload: bool) -> None:
        call.over = True
        duration_ms = self._now_ms - call.began_ms
        if overload:
            self.run_record.overloads[-1] += 1
        else:
            self.run_record.good[-1] += 1
            self.run_record.duration_ms[-1] += duration_ms
        self._limiter.ended(
            call.mark, duration_ms, self._now_ms, self._in_flight, overload=overload
        )
        self._in_flight -= 1

    def _at(self, at_ms: int, what: str, about: _Call | Stretch) -> None:
        self._count += 1
        heappush(self._events, (at_ms, self._count, what, about))
