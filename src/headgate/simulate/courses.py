"""The course of a simulation: who held how much, stretch by stretch."""

from collections.abc import Sequence
from dataclasses import dataclass

from headgate.simulate.pool_simulation import Simulation


@dataclass(frozen=True, slots=True)
class Course:
    """Units held on average in each of equally long stretches of time.

    Attributes:
        total: By all tenants.
        tenants: By each tenant asked for, in the order asked.
        waiting: Units that were waited for, by all tenants.
    """

    total: Sequence[float]
    tenants: dict[str, Sequence[float]]
    waiting: Sequence[float]


def course(
    simulation: Simulation, begin_ms: int, end_ms: int, stretches: int, tenants: Sequence[str]
) -> Course:
    """Return the course from ``begin_ms`` to ``end_ms``.

    Args:
        simulation: What happened.
        begin_ms: Unix time.
        end_ms: Unix time, after ``begin_ms``. What lies beyond is left out.
        stretches: How many.
        tenants: Whose own course is wanted.
    """
    total = _Bins(begin_ms, end_ms, stretches)
    waiting = _Bins(begin_ms, end_ms, stretches)
    own = {name: _Bins(begin_ms, end_ms, stretches) for name in tenants}
    stranded = set(simulation.stranded)
    for number, (job, started_ms) in enumerate(
        zip(simulation.workload.jobs, simulation.started_ms, strict=True)
    ):
        if started_ms is None:
            if number in stranded:
                waiting.add(job.at_ms, end_ms, job.units)
            continue
        waiting.add(job.at_ms, started_ms, job.units)
        total.add(started_ms, started_ms + job.duration_ms, job.units)
        if job.tenant in own:
            own[job.tenant].add(started_ms, started_ms + job.duration_ms, job.units)
    return Course(
        total.averages(), {name: bins.averages() for name, bins in own.items()}, waiting.averages()
    )


class _Bins:
    """Unit-time by stretch.

    A job of many stretches costs no more than one of few: what begins and ends inside a stretch is
    added there, what fills stretches is noted where it begins and where it ends.
    """

    def __init__(self, begin_ms: int, end_ms: int, count: int) -> None:
        self._begin_ms = begin_ms
        self._end_ms = end_ms
        self._width = (end_ms - begin_ms) / count
        self._parts = [0.0] * count
        self._steps = [0] * (count + 1)

    def add(self, from_ms: int, to_ms: int, units: int) -> None:
        """Count ``units`` from one time to another."""
        from_ms, to_ms = max(from_ms, self._begin_ms), min(to_ms, self._end_ms)
        if to_ms <= from_ms:
            return
        count = len(self._parts)
        begin, end = (
            (from_ms - self._begin_ms) / self._width,
            (to_ms - self._begin_ms) / self._width,
        )
        first, last = min(count - 1, int(begin)), min(count - 1, int(end))
        if first == last:
            self._parts[first] += units * (end - begin)
            return
        self._parts[first] += units * (first + 1 - begin)
        self._parts[last] += units * (end - last)
        self._steps[first + 1] += units
        self._steps[last] -= units

    def averages(self) -> list[float]:
        """Return units by stretch."""
        found, level = [], 0
        for part, step in zip(self._parts, self._steps, strict=False):
            level += step
            found.append(level + part)
        return found
