"""What a simulation amounts to: waits, use of the capacity, and who got how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from headgate.simulate.pool_simulation import Simulation
from headgate.simulate.workload import Job

SHORT_MS: Final = 10_000
"""Jobs shorter than this count as so long in a slowdown, or the shortest would decide alone."""


@dataclass(frozen=True, slots=True)
class Waits:
    """How long jobs waited, in ms; percentiles by nearest rank, so each is the wait of a job.

    Attributes:
        mean: To 0.1 ms.
        p50: Half of them at most so long.
        p95: Likewise, 95 %.
        longest: All of them.
    """

    mean: float
    p50: int
    p95: int
    longest: int

    @classmethod
    def of(cls, waits_ms: Sequence[int]) -> "Waits":
        """Return what there is to say of these; zeros without any."""
        if not waits_ms:
            return cls(0.0, 0, 0, 0)
        ordered = sorted(waits_ms)
        return cls(
            round(sum(ordered) / len(ordered), 1),
            _nearest_rank(ordered, 50),
            _nearest_rank(ordered, 95),
            ordered[-1],
        )


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """One tenant.

    Attributes:
        jobs: All of them.
        completed: Those that ran.
        refused: Those that could never have been granted.
        waits: Of those that ran.
        slowdown: Their mean bounded slowdown, see ``slowdown``; 1 is the best.
        unit_ms: Units times ms that they held.
        share: That, as a part of what all tenants held; 0 to 1.
    """

    jobs: int
    completed: int
    refused: int
    waits: Waits
    slowdown: float
    unit_ms: int
    share: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One simulation. Each job is completed, refused or stranded.

    Attributes:
        jobs: All of them.
        completed: Those that ran to their end.
        refused: Those that could never have been granted.
        stranded: Those that waited for good.
        begin_ms: When the first one came.
        end_ms: When the last one ended.
        utilization: Units times ms that were held, of capacity times the time from begin to end.
        waits: Of those that ran.
        slowdown_jain: Jain's index of the tenants' mean slowdowns: 1 when all are slowed down
            alike, 1/n when it is only one of n. Tenants none of whose jobs ran are left out.
        violations: See ``Conservation``.
        over_grants: See ``Simulation``.
        tenants: By name.
    """

    jobs: int
    completed: int
    refused: int
    stranded: int
    begin_ms: int
    end_ms: int
    utilization: float
    waits: Waits
    slowdown_jain: float
    violations: int
    violation_ms: int
    idle_while_waiting_ms: int
    over_grants: int
    tenants: dict[str, TenantFigures]

    @property
    def makespan_ms(self) -> int:
        """From the first job's coming to the last one's end."""
        return self.end_ms - self.begin_ms

    def as_json(self) -> dict[str, Any]:
        """Return what ``headgate simulate --json`` prints for it."""
        waits = self.waits
        return {
            "jobs": self.jobs,
            "completed": self.completed,
            "refused": self.refused,
            "stranded": self.stranded,
            "makespan_ms": self.makespan_ms,
            "utilization": round(self.utilization, 6),
            "wait_ms": {
                "mean": waits.mean,
                "p50": waits.p50,
                "p95": waits.p95,
                "max": waits.longest,
            },
            "slowdown_jain": round(self.slowdown_jain, 6),
            "work_conservation_violations": self.violations,
            "work_conservation_violation_ms": self.violation_ms,
            "idle_while_waiting_ms": self.idle_while_waiting_ms,
            "over_grants": self.over_grants,
            "tenants": {
                name: {
                    "jobs": of.jobs,
                    "completed": of.completed,
                    "mean_wait_ms": of.waits.mean,
                    "p95_wait_ms": of.waits.p95,
                    "mean_slowdown": round(of.slowdown, 4),
                    "share": round(of.share, 6),
                }
                for name, of in self.tenants.items()
            },
        }


def figures(simulation: Simulation) -> Figures:
    """Return what a simulation amounts to."""
    jobs = simulation.workload.jobs
    refused = set(simulation.refused)
    by_tenant: dict[str, list[tuple[int, Job, int | None]]] = {}
    for number, (job, started_ms) in enumerate(zip(jobs, simulation.started_ms, strict=True)):
        by_tenant.setdefault(job.tenant, []).append((number, job, started_ms))
    ran = [
        (job, started_ms)
        for job, started_ms in zip(jobs, simulation.started_ms, strict=True)
        if started_ms is not None
    ]
    used = sum(job.units * job.duration_ms for job, _ in ran)
    begin_ms = jobs[0].at_ms if jobs else 0
    end_ms = max((started_ms + job.duration_ms for job, started_ms in ran), default=begin_ms)
    tenants = {
        name: _tenant(by_tenant[name], refused, used) for name in sorted(by_tenant, key=_by_number)
    }
    whole = simulation.pool.capacity * (end_ms - begin_ms)
    return Figures(
        jobs=len(jobs),
        completed=len(ran),
        refused=len(refused),
        stranded=len(simulation.stranded),
        begin_ms=begin_ms,
        end_ms=end_ms,
        utilization=used / whole if whole else 0.0,
        waits=Waits.of([started_ms - job.at_ms for job, started_ms in ran]),
        slowdown_jain=jain([of.slowdown for of in tenants.values() if of.completed]),
        violations=simulation.violations,
        violation_ms=simulation.violation_ms,
        idle_while_waiting_ms=simulation.idle_while_waiting_ms,
        over_grants=simulation.over_grants,
        tenants=tenants,
    )


def slowdown(wait_ms: int, run_ms: int) -> float:
    """Return the bounded slowdown of a job: (wait + run) / max(run, 10 s), at least 1.

    Source: Feitelson, Rudolph et al., Theory and Practice in Parallel Job Scheduling, 1997.
    """
    return max(1.0, (wait_ms + run_ms) / max(run_ms, SHORT_MS))


def jain(values: Sequence[float]) -> float:
    """Return Jain's index of fairness: (sum x)^2 / (n sum x^2); 1 without values.

    Source: Jain, Chiu, Hawe, A Quantitative Measure of Fairness, DEC-TR-301, 1984.
    """
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _tenant(
    entries: Sequence[tuple[int, Job, int | None]], refused: set[int], used: int
) -> TenantFigures:
    ran = [(job, started_ms) for _, job, started_ms in entries if started_ms is not None]
    unit_ms = sum(job.units * job.duration_ms for job, _ in ran)
    slowdowns = [slowdown(started_ms - job.at_ms, job.duration_ms) for job, started_ms in ran]
    return TenantFigures(
        jobs=len(entries),
        completed=len(ran),
        refused=sum(1 for number, _, _ in entries if number in refused),
        waits=Waits.of([started_ms - job.at_ms for job, started_ms in ran]),
        slowdown=sum(slowdowns) / len(slowdowns) if slowdowns else 0.0,
        unit_ms=unit_ms,
        share=unit_ms / used if used else 0.0,
    )


def _nearest_rank(ordered: Sequence[int], percent: int) -> int:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _by_number(name: str) -> tuple[int, str]:
    """Sort 2 before 10: many recordings have numbers for names."""
    return (int(name), name) if name.isdecimal() and len(name) < 20 else (10**20, name)
