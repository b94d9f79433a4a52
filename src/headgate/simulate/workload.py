"""Jobs that come, in recorded or invented time: what a pool is simulated with."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        at_ms: When it comes, Unix time.
        tenant: For whom it runs.
        units: What it holds of the pool while it runs, at least 1.
        duration_ms: How long it runs.
    """

    at_ms: int
    tenant: str
    units: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs in the order in which they come.

    Attributes:
        jobs: By ``at_ms``; those that come at the same time in the order of the recording.
        left_out: How many entries of the recording are no jobs that ran, by why, in words.
    """

    jobs: Sequence[Job]
    left_out: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        last_ms = 0
        for job in self.jobs:
            if job.at_ms < last_ms:
                raise ValueError(f"a job at {job.at_ms} follows one at {last_ms}: sort by at_ms")
            if job.units < 1 or job.duration_ms < 0:
                raise ValueError(f"a job has {job.units} units and runs {job.duration_ms} ms")
            last_ms = job.at_ms

    @property
    def tenants(self) -> list[str]:
        """Whose jobs there are, by name."""
        return sorted({job.tenant for job in self.jobs})
