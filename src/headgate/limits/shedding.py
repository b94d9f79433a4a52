"""How much work may wait, of whom and at which priority, when there is too much to be done in time.

In this order work is kept, until there is no room for more:

1. what is within its tenant's guarantee, whatever the pressure;
2. of the lower priorities in turn, the lowest first, who has waited longest, up to the minimum
   flow, so that none starves;
3. the rest: highest priority first, within a priority the tenants that used least lately.

What is left is to be refused. Sources: failsafe-go's prioritizer (order by recent usage within a
priority, a flow that is never refused), Netflix's partitions (a guarantee is not touched).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from headgate.model.limits import PressureLevel, SheddingPolicy


@dataclass(frozen=True, slots=True)
class Line:
    """Work of one tenant and one priority that waits.

    Attributes:
        tenant: For whom it is; there is one line of each priority of each tenant.
        priority: Higher is more important.
        units: What it would hold, at least 1.
        jobs: How many jobs that is, at least 1.
        since_ms: Since when the first of them has waited, Unix time.
    """

    tenant: str
    priority: int = 0
    units: int = 1
    jobs: int = 1
    since_ms: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """The tenant and the priority."""
        return self.tenant, self.priority


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

    @property
    def owed(self) -> int:
        """What it may still claim of its guarantee, in units."""
        return max(0, self.guaranteed - self.held)


_STRANGER = Standing()


@dataclass(slots=True)
class Kept:
    """What may wait when not all of it may.

    Attributes:
        asked: Units that wait.
        room: Units that may, but for guarantees.
        units: What is kept of each line, by tenant and priority.
        closed: The line at which the room ends, and those behind it: no more of them may wait.
        below: The priority of that line: of what is lower, only guarantees and the minimum flow are
            kept.
        left: Units that still fit.
    """

    asked: int
    room: int
    units: dict[tuple[str, int], int]
    closed: list[tuple[str, int]] = field(default_factory=list)
    below: int = 0
    left: int = 0

    def take(self, line: Line, units: int) -> None:
        """Keep so many more units of a line."""
        self.units[line.key] += units
        self.left = max(0, self.left - units)


def room_for(policy: SheddingPolicy, level: PressureLevel, limit: int) -> int | None:
    """Return how many units of work may wait at this level; None: as many as there are.

    Args:
        policy: How much of the limit that is.
        level: How full the pool and its queue are.
        limit: Units that may be held at the same time.
    """
    if level is PressureLevel.NORMAL:
        return None
    return int(limit * float(getattr(policy, level.value)))


def keep(
    policy: SheddingPolicy,
    level: PressureLevel,
    limit: int,
    lines: Sequence[Line],
    standings: Mapping[str, Standing],
) -> Kept | None:
    """Return what may wait now, or None when all of it may.

    Args:
        policy: How much may wait.
        level: How full the pool and its queue are.
        limit: Units that may be held at the same time.
        lines: All that waits.
        standings: By tenant; who is not there has no guarantee and has used nothing.
    """
    room = room_for(policy, level, limit)
    asked = sum(line.units for line in lines)
    if room is None or asked <= room:
        return None
    by_rank = sorted(lines, key=lambda line: _rank(line, standings))
    kept = Kept(asked, room, dict.fromkeys((line.key for line in by_rank), 0), left=room)
    _keep_guarantees(kept, by_rank, standings)
    _keep_a_flow(kept, policy, by_rank)
    for number, line in enumerate(by_rank):
        # The line at which the room ends gets what is left of it, and nothing passes it.
        kept.take(line, min(line.units - kept.units[line.key], kept.left))
        if kept.units[line.key] < line.units:
            kept.below = line.priority
            kept.closed = [one.key for one in by_rank[number:]]
            break
    return kept


def _rank(line: Line, standings: Mapping[str, Standing]) -> tuple[int, int, str]:
    return (-line.priority, standings.get(line.tenant, _STRANGER).usage, line.tenant)


def _keep_guarantees(
    kept: Kept, by_rank: Iterable[Line], standings: Mapping[str, Standing]
) -> None:
    """Keep what is within guarantees, also where there is no room: the policy bends."""
    owed = {tenant: standing.owed for tenant, standing in standings.items()}
    for line in by_rank:
        units = min(line.units, owed.get(line.tenant, 0))
        if units:
            owed[line.tenant] -= units
            kept.take(line, units)


def _keep_a_flow(kept: Kept, policy: SheddingPolicy, by_rank: Sequence[Line]) -> None:
    """Keep some of every priority but the highest, job by job."""
    if policy.min_flow == 0 or not by_rank:
        return
    highest = by_rank[0].priority
    queues: dict[int, list[Line]] = {}
    for line in sorted(by_rank, key=attrgetter("since_ms", "tenant")):
        if line.priority < highest:
            queues.setdefault(line.priority, []).append(line)
    flow = max(1, int(kept.room * policy.min_flow))
    taken = 0
    while queues:
        for priority in sorted(queues):
            queue = queues[priority]
            while queue and kept.units[queue[0].key] >= queue[0].units:
                del queue[0]
            if not queue:
                del queues[priority]
                continue
            line = queue[0]
            job = min(-(-line.units // line.jobs), line.units - kept.units[line.key])
            # The first may be larger than the flow, or large jobs would never be among it.
            if (taken and taken + job > flow) or job > kept.left:
                return
            kept.take(line, job)
            taken += job
