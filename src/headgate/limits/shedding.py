"""Which of the waiting jobs to refuse when there are too many to be done in time.

In this order jobs are kept, until there is no room for more:

1. what is within its tenant's guarantee, whatever the pressure;
2. of the lower priorities in turn, the lowest first, a job that has waited longest, up to the
   minimum flow, so that none starves;
3. the others: highest priority first, within a priority those of the tenants that used least
   lately, then who has waited longest.

The rest is refused. Sources: failsafe-go's prioritizer (order by recent usage within a priority, a
flow that is never refused), Netflix's partitions (a guarantee is not touched).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from headgate.decay import MICRO
from headgate.model.limits import PressureLevel, SheddingPolicy
from headgate.model.reason import Reason, ReasonCode


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits.

    Attributes:
        id: Unique among those that wait.
        tenant: For whom it is.
        priority: Higher is more important.
        units: What it would hold, at least 1.
        since_ms: Since when it has waited, Unix time.
    """

    id: str
    tenant: str
    priority: int = 0
    units: int = 1
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands.

    Attributes:
        guaranteed: Units that it has whenever it wants them.
        held: Units that it holds now.
        usage: What it held lately on average, in micro-units (``headgate.limits.usage``).
    """

    guaranteed: int = 0
    held: int = 0
    usage: int = 0


@dataclass(frozen=True, slots=True)
class Shed:
    """A job to refuse, and what to tell those who wait for it."""

    job: Waiting
    reason: Reason


@dataclass(slots=True)
class _Kept:
    """The jobs that are kept, and what they take of the room."""

    room: int
    ids: set[str] = field(default_factory=set)
    units: int = 0

    def take(self, job: Waiting) -> bool:
        if self.units + job.units > self.room:
            return False
        self.ids.add(job.id)
        self.units += job.units
        return True


def room_for(policy: SheddingPolicy, level: PressureLevel, limit: int) -> int | None:
    """Return how many units of work may wait at this level; None: as many as there are.

    Args:
        policy: How much of the limit that is.
        level: How full the downstream and its queue are.
        limit: Units that may be held at the same time.
    """
    if level is PressureLevel.NORMAL:
        return None
    return int(limit * float(getattr(policy, level.value)))


def shed(
    policy: SheddingPolicy,
    level: PressureLevel,
    limit: int,
    waiting: Sequence[Waiting],
    standings: Mapping[str, Standing],
) -> list[Shed]:
    """Return the jobs to refuse now, the least important first.

    Args:
        policy: How much may wait.
        level: How full the downstream and its queue are.
        limit: Units that may be held at the same time.
        waiting: All jobs that wait.
        standings: By tenant; who is not there has no guarantee and has used nothing.
    """
    room = room_for(policy, level, limit)
    asked = sum(job.units for job in waiting)
    if room is None or asked <= room:
        return []
    by_rank = sorted(waiting, key=lambda job: _rank(job, standings))
    guaranteed = _guaranteed(by_rank, standings)
    kept = _Kept(room)
    # A guarantee is kept also when there is no room: the policy bends, not the promise.
    for job in by_rank:
        if job.id in guaranteed:
            kept.ids.add(job.id)
            kept.units += job.units
    _keep_a_flow(kept, policy, by_rank)
    for job in by_rank:
        # No gaps are filled: a small job does not pass a larger, more important one.
        if job.id not in kept.ids and not kept.take(job):
            break
    return [
        Shed(job, _reason(job, level, asked, room, standings))
        for job in reversed(by_rank)
        if job.id not in kept.ids
    ]


def _rank(job: Waiting, standings: Mapping[str, Standing]) -> tuple[int, int, str, int, str]:
    standing = standings.get(job.tenant, Standing())
    return (-job.priority, standing.usage, job.tenant, job.since_ms, job.id)


def _guaranteed(by_rank: Iterable[Waiting], standings: Mapping[str, Standing]) -> set[str]:
    """Return the jobs that fit into what is left of their tenants' guarantees."""
    left = {name: max(0, one.guaranteed - one.held) for name, one in standings.items()}
    found = set()
    for job in by_rank:
        if left.get(job.tenant, 0) >= job.units:
            left[job.tenant] -= job.units
            found.add(job.id)
    return found


def _keep_a_flow(kept: _Kept, policy: SheddingPolicy, by_rank: Sequence[Waiting]) -> None:
    """Keep some of every priority but the highest."""
    if policy.min_flow == 0 or not by_rank:
        return
    highest = by_rank[0].priority
    queues: dict[int, list[Waiting]] = {}
    for job in sorted(by_rank, key=attrgetter("since_ms", "id")):
        if job.priority < highest and job.id not in kept.ids:
            queues.setdefault(job.priority, []).append(job)
    flow = max(1, int(kept.room * policy.min_flow))
    taken = 0
    for turn in range(max((len(queue) for queue in queues.values()), default=0)):
        for priority in sorted(queues):
            if turn >= len(queues[priority]):
                continue
            job = queues[priority][turn]
            # The first may be larger than the flow, or large jobs would never be among it.
            if (taken and taken + job.units > flow) or not kept.take(job):
                return
            taken += job.units


def _reason(
    job: Waiting,
    level: PressureLevel,
    asked: int,
    room: int,
    standings: Mapping[str, Standing],
) -> Reason:
    standing = standings.get(job.tenant, Standing())
    return Reason(
        code=ReasonCode.SHED,
        message=(
            f"{asked} units wait and {room} may while the pressure is {level.value}: refused at "
            f"priority {job.priority}, {job.tenant} having held {standing.usage / MICRO:.1f} units "
            f"lately and holding {standing.held} of {standing.guaranteed} guaranteed"
        ),
        limit=room,
        used=asked,
        needed=job.units,
    )
