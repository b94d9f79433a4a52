"""Whether capacity lies idle while somebody waits who should have it."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from headgate.allocation.claims import Claim
from headgate.allocation.strategies import divide
from headgate.model.pool import Damping, Strategy
from headgate.quota.demand import TELL_LOWER_AFTER_MS
from headgate.simulate.simulated_pool import SimulatedPool

_MESSAGES: Final = 4
"""From the one who no longer wants to the governor, to it, back to the governor, to the other."""


def settling_ms(damping: Damping, capacity: int, delay_ms: int) -> int:
    """Return within what time units that one tenant leaves idle are to be another's.

    Four messages; the time after which less demand is told; the demand's fall to nothing, by half
    in each half-life; and, with what was raised last left alone for its minimum hold, as many
    rounds as it takes to take away a share of what is left each time.

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
        + TELL_LOWER_AFTER_MS
        + halvings * damping.demand_half_life_ms
        + damping.min_hold_ms
        + rounds * (damping.round_ms + 2 * delay_ms)
    )


class Standing(NamedTuple):
    """How a tenant stands at one moment.

    Attributes:
        claim: Its share.
        held: Units that its jobs hold.
        wanted: Units that its jobs hold or wait for.
        head: The job that is first in its line, by number; None: nobody waits.
        head_units: Units that this one needs.
    """

    claim: Claim
    held: int = 0
    wanted: int = 0
    head: int | None = None
    head_units: int = 0

    def fits(self, free: int) -> bool:
        """Whether the first in line would fit into ``free`` units and the tenant's maximum."""
        if self.head is None or free <= 0 or self.head_units > free:
            return False
        maximum = self.claim.maximum
        return maximum is None or self.held + self.head_units <= maximum


class _Moment(NamedTuple):
    """How everybody stood from ``at_ms`` on."""

    at_ms: int
    free: int
    standings: Sequence[Standing]
    turns: Mapping[str, int]


_NO_TURNS: Final[Mapping[str, int]] = {}


class ConservationWatch:
    """Counts jobs that could have run and did not.

    A violation: a job, the first in the line of its tenant, for which there were units free and
    which the strategy, applied to what everybody held and wanted at that time, had room for, waited
    on for longer than ``bound_ms`` without a break in any of this. Units that a guarantee holds
    back are not free. Neither is the room that the governor makes for a job of a tenant whose share
    is too small for it, once it is that one's turn: the others have room in the rest only. The
    large job itself counts like any other as soon as its room is there. And of several that the
    strategy has room for, the one that came first is to have what is free first.

    What the strategy has room for is costly to know. So moments are kept, and looked at backwards
    once a job has found enough units free for ``bound_ms``: had the strategy no room for it at the
    last of them, nothing before that matters.

    Attributes:
        bound_ms: See ``settling_ms``.
        violations: How many such stretches there were.
        violation_ms: How much longer than ``bound_ms`` they were, together.
        idle_ms: How long, bound or no bound, there was somebody first in line for whom there
            were units free, whoever was entitled to them.
    """

    def __init__(self, pool: SimulatedPool, bound_ms: int) -> None:
        self.bound_ms = bound_ms
        self.violations = 0
        self.violation_ms = 0
        self.idle_ms = 0
        self._pool = pool
        # Since when a job, by number, would fit and may have been due; until when it was for sure.
        self._since: dict[int, int] = {}
        self._due_until: dict[int, int] = {}
        self._moments: deque[_Moment] = deque()
        self._idle_since = 0
        # Who has a guarantee holds back what it does not lend, also when it wants nothing.
        self._idle_claims = [
            claim
            for one in pool.shares
            if (claim := pool.claim(one.tenant)).guaranteed and claim.lend_limit is not None
        ]

    def look(
        self,
        standings: Mapping[str, Standing],
        free: int,
        now_ms: int,
        turns: Mapping[str, int] = _NO_TURNS,
    ) -> None:
        """Take in how everybody stands from ``now_ms`` on; need not be told when nothing changes.

        Args:
            standings: Of those who hold or want something, by tenant.
            free: Units that nobody holds.
            now_ms: Unix time.
            turns: Units that the governor makes room for, by tenant, see ``Governor.turns``.
        """
        fitting = _fitting(standings, free)
        before = self._since
        was_idle = bool(before)
        if not fitting and not was_idle:
            return
        if was_idle and now_ms - min(before.values()) > self.bound_ms:
            self._look_back(now_ms)
        for job in [job for job in before if job not in fitting]:
            self._close(job, now_ms)
            del before[job]
        if not fitting:
            self.idle_ms += now_ms - self._idle_since
            self._moments.clear()
            return
        if not was_idle:
            self._idle_since = now_ms
        for job in fitting:
            before.setdefault(job, now_ms)
        self._moments.append(_Moment(now_ms, free, tuple(standings.values()), turns))
        oldest_ms = min(before.values())
        while len(self._moments) > 1 and self._moments[1].at_ms <= oldest_ms:
            self._moments.popleft()

    def end(self, now_ms: int) -> None:
        """Close what is still open."""
        self.look({}, 0, now_ms)

    def _look_back(self, now_ms: int) -> None:
        """Find out which jobs have been due for longer than the bound."""
        end_ms = now_ms
        for moment in reversed(self._moments):
            # Of the others, what is known now is enough, or they are not worth knowing of yet.
            open_ = [
                job
                for job, since_ms in self._since.items()
                if now_ms - since_ms > self.bound_ms
                and end_ms > max(since_ms, self._due_until.get(job, 0))
            ]
            if not open_:
                break
            due = self._due(moment)
            for job, since_ms in self._since.items():
                if job not in due and since_ms < end_ms:
                    self._close(job, moment.at_ms)
                    self._since[job] = end_ms
            end_ms = moment.at_ms
        for job, since_ms in self._since.items():
            if now_ms - since_ms > self.bound_ms:
                self._due_until[job] = now_ms

    def _close(self, job: int, now_ms: int) -> None:
        if self._due_until.pop(job, None) is not None:
            self.violations += 1
            self.violation_ms += now_ms - self._since[job] - self.bound_ms

    def _due(self, moment: _Moment) -> frozenset[int]:
        """Return which of the jobs that would fit the strategy has room for."""
        pool, turns = self._pool, moment.turns
        fitting = [one for one in moment.standings if one.fits(moment.free)]
        if pool.strategy is Strategy.UNLIMITED:
            return frozenset(one.head for one in fitting if one.head is not None)
        claims = [
            _wanting(one.claim, one.wanted)
            for one in moment.standings
            if one.claim.tenant not in turns
        ]
        if self._idle_claims:
            there = {one.claim.tenant for one in moment.standings}
            claims += [claim for claim in self._idle_claims if claim.tenant not in there]
        left = max(0, pool.capacity - sum(turns.values()))
        division = divide(left, pool.strategy, claims, pool.groups)
        parts = {**division.allocations, **turns}
        # What is free and being gathered for somebody else is not free.
        gathered = {
            one.claim.tenant: max(0, turns[one.claim.tenant] - one.held)
            for one in moment.standings
            if one.claim.tenant in turns
        }
        lendable = moment.free - sum(division.held_back.values()) - sum(gathered.values())
        due = set()
        # Nobody passes who came before: what is free is being gathered for that one.
        for one in sorted(moment.standings, key=lambda one: -1 if one.head is None else one.head):
            if one.head is None or one.held + one.head_units > parts[one.claim.tenant]:
                continue
            if one.claim.tenant in turns:
                room = lendable + gathered[one.claim.tenant]
            else:
                room = lendable
                lendable -= one.head_units
            if one.head_units <= room and one.fits(moment.free):
                due.add(one.head)
        return frozenset(due)


def _fitting(standings: Mapping[str, Standing], free: int) -> set[int]:
    """Return who is first in a line and would fit into what is free, as ``Standing.fits`` does."""
    if free <= 0:
        return set()
    return {
        head
        for claim, held, _, head, units in standings.values()
        if head is not None
        and units <= free
        and (claim.maximum is None or held + units <= claim.maximum)
    }


def _wanting(claim: Claim, demand: int) -> Claim:
    return Claim(
        tenant=claim.tenant,
        demand=demand,
        weight=claim.weight,
        priority=claim.priority,
        guaranteed=claim.guaranteed,
        borrow_limit=claim.borrow_limit,
        lend_limit=claim.lend_limit,
        maximum=claim.maximum,
        fixed=claim.fixed,
        group=claim.group,
    )
