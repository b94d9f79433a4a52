"""The limiters that are compared: ours, and the formulas of others, behind one interface.

Of others there is only the formula, written anew, with the same first, lowest and highest limit as
ours; what they do with windows and samples follows their defaults.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field

from headgate.limits.concurrency import Concurrency, began, begin, ended
from headgate.limits.fleet import FleetConcurrency, begin_fleet, observe, share_of
from headgate.limits.tally import Tally
from headgate.model.limits import ConcurrencyPolicy

INITIAL, LEAST, MOST = 10, 1, 200


def _bounded(limit: float) -> float:
    return max(LEAST, min(MOST, limit))


@dataclass(slots=True)
class Fixed:
    """No adapting at all: what somebody has once written into a file."""

    limit: int

    def began(self, in_flight: int, now_ms: int) -> int:
        """Take note of a call."""
        return 0

    def ended(
        self, mark: int, duration_ms: int, now_ms: int, in_flight: int, *, overload: bool
    ) -> None:
        """Take note of how a call ended."""


class Ours:
    """``headgate.limits.concurrency`` in one gate."""

    def __init__(self, policy: ConcurrencyPolicy) -> None:
        self._policy = policy
        self.state: Concurrency = begin(policy)

    @property
    def limit(self) -> int:
        """Return how many calls may be in flight."""
        return self.state.limit

    def began(self, in_flight: int, now_ms: int) -> int:
        """Take note of a call."""
        return began(self.state, in_flight)

    def ended(
        self, mark: int, duration_ms: int, now_ms: int, in_flight: int, *, overload: bool
    ) -> None:
        """Take note of how a call ended."""
        ended(
            self.state,
            self._policy,
            mark,
            duration_ms,
            now_ms,
            in_flight=in_flight,
            overload=overload,
        )


@dataclass(slots=True)
class _Gate:
    limit: int
    epoch: int = 0
    in_flight: int = 0
    seq: int = 0
    tally: Tally = field(default_factory=Tally)


class OurFleet:
    """``headgate.limits.fleet``: gates that report by turns and hear of the limit later."""

    LATE_MS = 50

    def __init__(self, policy: ConcurrencyPolicy, gates: int, report_every_ms: int) -> None:
        self._policy = policy
        self._every_ms = report_every_ms
        self.state: FleetConcurrency = begin_fleet(policy)
        self._gates = [_Gate(share_of(policy.initial, gates, n)) for n in range(gates)]
        self._calls: dict[int, tuple[_Gate, int]] = {}
        self._count = 0
        self._next_report_ms = 0
        self._under_way: deque[tuple[int, int, int]] = deque()

    @property
    def limit(self) -> int:
        """Return how many calls may be in flight."""
        # Who calls does not ask for more than its gates may have in flight together.
        return sum(max(gate.limit, gate.in_flight) for gate in self._gates)

    def began(self, in_flight: int, now_ms: int) -> int:
        """Take note of a call."""
        self._pass(now_ms)
        gate = max(self._gates, key=lambda one: one.limit - one.in_flight)
        gate.in_flight += 1
        gate.tally.began(gate.in_flight)
        self._count += 1
        self._calls[self._count] = (gate, gate.epoch)
        return self._count

    def ended(
        self, mark: int, duration_ms: int, now_ms: int, in_flight: int, *, overload: bool
    ) -> None:
        """Take note of how a call ended."""
        gate, epoch = self._calls.pop(mark)
        gate.tally.began(gate.in_flight)
        gate.in_flight -= 1
        if epoch == gate.epoch:
            gate.tally.ended(duration_ms, overload=overload)
        self._pass(now_ms)

    def _pass(self, now_ms: int) -> None:
        while self._under_way and self._under_way[0][0] <= now_ms:
            _, limit, epoch = self._under_way.popleft()
            for number, gate in enumerate(self._gates):
                gate.limit = share_of(limit, len(self._gates), number)
                if gate.epoch != epoch:
                    gate.epoch, gate.tally = epoch, Tally()
        while self._next_report_ms <= now_ms:
            number = self._next_report_ms // max(1, self._every_ms // len(self._gates))
            gate = self._gates[number % len(self._gates)]
            gate.seq += 1
            summary = gate.tally.summary(f"gate-{id(gate)}", gate.seq, gate.epoch)
            gate.tally = Tally()
            observe(self.state, self._policy, summary, now_ms, self._every_ms)
            of = self.state.of
            self._under_way.append((now_ms + self.LATE_MS, of.limit, of.epoch))
            self._next_report_ms += max(1, self._every_ms // len(self._gates))


class Windowed(ABC):
    """Netflix's WindowedLimit: a sample from all calls of a second, or twice the shortest call."""

    def __init__(self) -> None:
        self._limit = float(INITIAL)
        self._ends_ms = 0
        self._sum = self._calls = self._most = 0
        self._least = math.inf
        self._dropped = False

    @property
    def limit(self) -> int:
        """Return how many calls may be in flight."""
        return int(self._limit)

    def began(self, in_flight: int, now_ms: int) -> int:
        """Take note of a call."""
        return 0

    def ended(
        self, mark: int, duration_ms: int, now_ms: int, in_flight: int, *, overload: bool
    ) -> None:
        """Take note of how a call ended."""
        self._most = max(self._most, in_flight)
        if overload:
            self._dropped = True
        else:
            self._sum += duration_ms
            self._calls += 1
            self._least = min(self._least, duration_ms)
        # A window without ten samples goes on; one of failures alone is told by its failures.
        if now_ms < self._ends_ms or (self._calls < 10 and not (self._dropped and not self._calls)):
            return
        mean = self._sum / self._calls if self._calls else 0.0
        self.sample(mean, self._most, self._dropped)
        self._limit = _bounded(self._limit)
        self._ends_ms = now_ms + round(max(1_000.0, 2 * self._least if self._calls else 0.0))
        self._sum = self._calls = self._most = 0
        self._least, self._dropped = math.inf, False

    @abstractmethod
    def sample(self, mean: float, in_flight: int, dropped: bool) -> None:
        """Adapt to the calls of a window."""


class Gradient2(Windowed):
    """Netflix's Gradient2Limit: ignores failures; a queue of 4, and 1.5 times the long mean."""

    def __init__(self) -> None:
        super().__init__()
        self._long = 0.0
        self._samples = 0

    def sample(self, mean: float, in_flight: int, dropped: bool) -> None:
        """Adapt to the calls of a window."""
        if not mean:
            return
        self._samples += 1
        warm = self._samples <= 10
        factor = 2 / (600 + 1)
        if warm:
            self._long += (mean - self._long) / self._samples
        else:
            self._long += (mean - self._long) * factor
        if self._long / mean > 2:
            self._long *= 0.95
        if in_flight < self._limit / 2:
            return
        gradient = max(0.5, min(1.0, 1.5 * self._long / mean))
        self._limit = self._limit * 0.8 + 0.2 * (self._limit * gradient + 4)


class Vegas(Windowed):
    """Netflix's VegasLimit: a queue of 3 to 6 times log10 of the limit, by the shortest mean."""

    def __init__(self) -> None:
        super().__init__()
        self._idle = 0.0
        self._since_probe = 0

    def sample(self, mean: float, in_flight: int, dropped: bool) -> None:
        """Adapt to the calls of a window."""
        limit = self._limit
        step = max(1.0, math.log10(limit))
        self._since_probe += 1
        if mean and (not self._idle or self._since_probe > 0.75 * 30 * limit):
            self._idle, self._since_probe = mean, 0
        if mean:
            self._idle = min(self._idle, mean)
        if dropped:
            self._limit = limit - step
            return
        if in_flight * 2 < limit:
            return
        queue = math.ceil(limit * (1 - self._idle / mean))
        if queue <= step:
            self._limit = limit + 6 * step
        elif queue < 3 * step:
            self._limit = limit + step
        elif queue > 6 * step:
            self._limit = limit - step
