"""Whether capacity lay idle while a job waited that should have had it.

Looked at afterwards, from nothing but when jobs came, began and ended, and from what the pool file
says. Neither ledgers nor governor, nor the solver that they go by, have a say in it.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from headgate.allocation.claims import Claim, Group
from headgate.model.pool import GUARANTEEING, Damping, Strategy
from headgate.quota.demand import TELL_EVERY_MS, TELL_LOWER_AFTER_MS
from headgate.simulate.simulated_pool import SimulatedPool, counted_weight
from headgate.simulate.workload import Workload

_MESSAGES: Final = 4
"""From the one who no longer wants to the governor, to it, back to the governor, to the other."""


def settling_ms(damping: Damping, capacity: int, delay_ms: int) -> int:
    """Return within what time units that one tenant leaves idle are to be another's.

    Four messages, two of them from ledgers that may have sent one just before; the time after which
    less demand is told; the demand's fall to nothing, by half in each half-life; and, with what was
    raised last left alone for its minimum hold, as many rounds as it takes to take away a share of
    what is left each time.

    Args:
        damping: Of the governor.
        capacity: Units.
        delay_ms: Of a message.
    """
    halvings = capacity.bit_length()
    rounds, left = 2, float(capacity)
    while left >= 1 and damping.share_per_round < 1:
        rounds, left = rounds + 1, left * (1 - damping.share_per_round)
    return (
        _MESSAGES * delay_ms
        + 2 * TELL_EVERY_MS
        + TELL_LOWER_AFTER_MS
        + halvings * damping.demand_half_life_ms
        + damping.min_hold_ms
        + rounds * (damping.round_ms + 2 * delay_ms)
    )


@dataclass(frozen=True, slots=True)
class Conservation:
    """What came out.

    Attributes:
        violations: How often a job was passed over for longer than the bound, see ``conservation``.
        violation_ms: How much longer than the bound, together.
        idle_ms: How long there was somebody first in line who would have fitted into what was
            idle and into its own limits, whoever had a better right to it.
    """

    violations: int
    violation_ms: int
    idle_ms: int


class Head(NamedTuple):
    """A job that is the first of its tenant's line.

    Attributes:
        job: Its number, in the order of arrival.
        units: That it needs.
    """

    job: int
    units: int


def conservation(
    workload: Workload,
    pool: SimulatedPool,
    started_ms: Sequence[int | None],
    refused: Collection[int],
    end_ms: int,
    bound_ms: int,
) -> Conservation:
    """Return how often a job was passed over for longer than ``bound_ms`` without a break.

    At one moment a job is *passed over* when it is the first in the line of its tenant and

    * it fits into what is idle: units that nobody holds, without those that the pool file says are
      not lent of somebody's unused guarantee;
    * it fits into the limits of its tenant and of the groups that this one is in;
    * what is idle is not being gathered for another: no other tenant's first in line that comes
      before it, and may have what it needs by its own limits, needs more than what is idle.

    A job comes before another if it came earlier, or if the policy ranks it higher, see
    ``ranks_higher``. A stretch ends as soon as one of these
    does not hold.

    Args:
        workload: The jobs.
        pool: What its file says.
        started_ms: When each began; None: never.
        refused: Those that never waited, by number.
        end_ms: When nothing more happened.
        bound_ms: See ``settling_ms``.
    """
    standings = Standings(pool, workload.tenants)
    since: dict[int, int] = {}
    violations = violation_ms = idle_ms = 0
    last_ms, anybody = 0, False

    def close(job: int, now_ms: int) -> None:
        nonlocal violations, violation_ms
        over_ms = now_ms - since.pop(job) - bound_ms
        if over_ms > 0:
            violations += 1
            violation_ms += over_ms

    for now_ms in _moments(workload, started_ms, set(refused), standings):
        if anybody:
            idle_ms += now_ms - last_ms
        last_ms = now_ms
        passed_over, anybody = standings.passed_over()
        for job in [job for job in since if job not in passed_over]:
            close(job, now_ms)
        for job in passed_over:
            since.setdefault(job, now_ms)
    if anybody:
        idle_ms += max(0, end_ms - last_ms)
    for job in list(since):
        close(job, max(end_ms, last_ms))
    return Conservation(violations, violation_ms, idle_ms)


def _moments(
    workload: Workload,
    started_ms: Sequence[int | None],
    refused: Collection[int],
    standings: "Standings",
) -> Iterator[int]:
    """Let ``standings`` go through what happened; yield each time at which something did."""
    events: list[tuple[int, int, int]] = []
    for number, (job, begun_ms) in enumerate(zip(workload.jobs, started_ms, strict=True)):
        if number in refused:
            continue
        events.append((job.at_ms, 0, number))
        if begun_ms is not None:
            events.append((begun_ms, 1, number))
            events.append((begun_ms + job.duration_ms, 2, number))
    events.sort()
    last_ms = events[0][0] if events else 0
    for now_ms, what, number in events:
        if now_ms != last_ms:
            yield last_ms
            last_ms = now_ms
        job = workload.jobs[number]
        if what == 0:
            standings.come(job.tenant, number, job.units)
        elif what == 1:
            standings.begin(job.tenant, number, job.units)
        else:
            standings.end(job.tenant, job.units)
    if events:
        yield last_ms


class _Party:
    """A tenant or a group: what the pool file says of it, and how it stands.

    Attributes:
        weight: Among its siblings.
        priority: Likewise; 0 unless the strategy is ``priority``.
        guaranteed: Units, with those of its members, as they count where they are more than there
            is; 0 unless the strategy looks at guarantees.
        lend_limit: Units of its unused guarantee that may be lent; None: all.
        limit: Units that it may hold at most; None: no limit.
        held: Units.
        wanted: Units held or waited for.
        path: It, and what it is in, from the top down.
        limited: Those of the path that have a limit.
    """

    __slots__ = (
        "guaranteed",
        "held",
        "lend_limit",
        "limit",
        "limited",
        "path",
        "priority",
        "wanted",
        "weight",
    )

    def __init__(
        self, of: Claim | Group, strategy: Strategy, above: tuple["_Party", ...], counted: int
    ) -> None:
        guarantees = strategy in GUARANTEEING
        self.weight: float = counted_weight(of.weight, strategy)
        self.priority = of.priority if strategy is Strategy.PRIORITY else 0
        self.guaranteed = counted
        self.lend_limit = of.lend_limit if guarantees else None
        limits = [] if of.maximum is None else [of.maximum]
        if guarantees and of.borrow_limit is not None:
            limits.append(min(of.guaranteed, counted) + of.borrow_limit)
        if strategy is Strategy.FIXED:
            # Of a tenant, its fixed part stands as its maximum; of a group it says nothing.
            self.weight = 1 if of.maximum is None else of.maximum
        elif not self.weight:
            limits.append(self.guaranteed)
        self.limit = min(limits, default=None)
        self.held = self.wanted = 0
        self.path: tuple[_Party, ...] = (*above, self)
        self.limited = tuple(one for one in self.path if one.limit is not None)


class Standings:
    """How everybody stands at one moment."""

    def __init__(self, pool: SimulatedPool, tenants: Iterable[str]) -> None:
        self._free = pool.capacity
        self._heads: dict[str, Head] = {}
        self._lines: dict[str, deque[Head]] = {}
        self._tenants: dict[str, _Party] = {}
        claims = {
            tenant: pool.claim(tenant)
            for tenant in sorted({*tenants, *(one.tenant for one in pool.shares)})
        }
        counted, counted_groups = counted_guarantees(pool, claims)
        groups = _groups(pool, counted_groups)
        for tenant, claim in claims.items():
            above = () if claim.group is None else groups[claim.group].path
            self._tenants[tenant] = _Party(claim, pool.strategy, above, counted[tenant])
            self._lines[tenant] = deque()
        # Who does not lend all of its guarantee; members before the groups that they are in.
        parties = [*self._tenants.values(), *groups.values()]
        self._keepers = sorted(
            (one for one in parties if one.lend_limit is not None), key=lambda one: -len(one.path)
        )

    # What happens ----------------------------------------------------------------------------

    def come(self, tenant: str, job: int, units: int) -> None:
        """Let a job join the line of its tenant."""
        line = self._lines[tenant]
        line.append(Head(job, units))
        if len(line) == 1:
            self._heads[tenant] = line[0]
        for party in self._tenants[tenant].path:
            party.wanted += units

    def begin(self, tenant: str, job: int, units: int) -> None:
        """Let the first job of a line begin."""
        line = self._lines[tenant]
        first = line.popleft()
        assert first.job == job, "the jobs of a tenant begin in the order in which they came"
        if line:
            self._heads[tenant] = line[0]
        else:
            del self._heads[tenant]
        self._free -= units
        for party in self._tenants[tenant].path:
            party.held += units

    def end(self, tenant: str, units: int) -> None:
        """Let a job end."""
        self._free += units
        for party in self._tenants[tenant].path:
            party.held -= units
            party.wanted -= units

    # What can be said ------------------------------------------------------------------------

    def passed_over(self) -> tuple[set[int], bool]:
        """Return which jobs are passed over, and whether anybody would fit, see ``conservation``.

        The second is true also if somebody else has a better right.
        """
        free = self._free
        if free <= 0 or not self._heads:
            return set(), False
        kept = self._kept() if self._keepers else {}
        fitting: list[tuple[Head, _Party]] = []
        too_large: list[tuple[Head, _Party]] = []
        first = -1
        for tenant, head in self._heads.items():
            party = self._tenants[tenant]
            if party.limited and not _may(party, head.units):
                continue
            idle = free
            if kept:
                idle -= sum(units for one, units in kept.items() if one not in party.path)
            if head.units <= idle:
                fitting.append((head, party))
            else:
                too_large.append((head, party))
                first = head.job if first < 0 else min(first, head.job)
        if not fitting:
            return set(), False
        passed_over = {
            head.job
            for head, party in fitting
            if (first < 0 or head.job < first)
            and not any(ranks_higher(other, of, head, party) for other, of in too_large)
        }
        return passed_over, True

    def _kept(self) -> dict[_Party, int]:
        """Return units of unused guarantees that are not lent, by whose they are."""
        kept: dict[_Party, int] = {}
        for one in self._keepers:
            assert one.lend_limit is not None
            below = sum(units for other, units in kept.items() if one in other.path)
            unused = one.guaranteed - min(one.wanted, one.guaranteed) - below
            if unused > one.lend_limit:
                kept[one] = unused - one.lend_limit
        return kept


def counted_guarantees(
    pool: SimulatedPool, claims: Mapping[str, Claim]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return what guarantees count as, of tenants and of groups.

    Those of its members are part of a group's. Where they add up to more than there is, or than
    their group may have, each counts as its proportional share: whole units, the largest remainders
    rounded up, the first names first, tenants before groups. Reckoned here once more, so that the
    solver has no say in it.
    """
    if pool.strategy not in GUARANTEEING:
        return dict.fromkeys(claims, 0), {group.name: 0 for group in pool.groups}
    tenants = {tenant: claim.guaranteed for tenant, claim in claims.items()}
    groups = {group.name: group for group in pool.groups}
    # Whose parts each group, and the pool itself, is divided into.
    inside: dict[str | None, list[tuple[dict[str, int], str]]] = {}
    counted: dict[str, int] = {}
    for tenant in sorted(claims):
        inside.setdefault(claims[tenant].group, []).append((tenants, tenant))
    for name in sorted(groups):
        inside.setdefault(groups[name].parent, []).append((counted, name))

    def right(name: str) -> int:
        group = groups[name]
        below = sum(right(one) if of is counted else of[one] for of, one in inside.get(name, ()))
        counted[name] = max(group.guaranteed, below)
        if group.maximum is not None:
            counted[name] = min(counted[name], group.maximum)
        if group.borrow_limit is not None:
            counted[name] = min(counted[name], group.guaranteed + group.borrow_limit)
        return counted[name]

    def scale(name: str | None, units: int) -> None:
        parts = [of[one] for of, one in inside.get(name, ())]
        if sum(parts) > units:
            parts = _in_proportion(units, parts)
        for (of, one), part in zip(inside.get(name, ()), parts, strict=True):
            of[one] = part
            if of is counted:
                scale(one, part)

    for of, one in inside.get(None, ()):
        if of is counted:
            right(one)
    scale(None, pool.capacity)
    return tenants, counted


def _in_proportion(units: int, parts: Sequence[int]) -> list[int]:
    """Return ``parts`` made smaller so that they add up to ``units``."""
    whole = sum(parts)
    scaled = [part * units // whole for part in parts]
    rests = sorted(range(len(parts)), key=lambda n: (-(parts[n] * units % whole), n))
    for number in rests[: units - sum(scaled)]:
        scaled[number] += 1
    return scaled


def _groups(pool: SimulatedPool, counted: Mapping[str, int]) -> Mapping[str, _Party]:
    """Return the groups of a pool by name."""
    named = {group.name: group for group in pool.groups}
    below: dict[str | None, list[str]] = {}
    for group in pool.groups:
        below.setdefault(group.parent, []).append(group.name)
    found: dict[str, _Party] = {}
    ordered = list(below.get(None, ()))
    for name in ordered:
        parent = named[name].parent
        above = () if parent is None else found[parent].path
        found[name] = _Party(named[name], pool.strategy, above, counted[name])
        ordered += below.get(name, ())
    return found


def _may(party: _Party, units: int) -> bool:
    """Whether so many more are within the limits of a tenant and of what it is in."""
    return all(one.limit is None or one.held + units <= one.limit for one in party.limited)


def ranks_higher(one: Head, of: _Party, other: Head, other_of: _Party) -> bool:
    """Whether a job comes before another by the policy, and not only by the time it came.

    Compared are the tenants, or the groups by which their ways part from the top down: whose
    guarantee covers the job, then the higher priority, then who would have less beyond its
    guarantee for its weight, with its job counted.
    """
    a, b = of.path[0], other_of.path[0]
    depth = 0
    while a is b:
        depth += 1
        a, b = of.path[depth], other_of.path[depth]
    beyond_a = max(0, a.held + one.units - a.guaranteed)
    beyond_b = max(0, b.held + other.units - b.guaranteed)
    if not beyond_a or not beyond_b:
        return not beyond_a and beyond_b > 0
    if a.priority != b.priority:
        return a.priority > b.priority
    return beyond_a * b.weight < beyond_b * a.weight
