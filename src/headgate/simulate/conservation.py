"""Whether capacity lies idle while somebody waits who should have it."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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


@dataclass(slots=True)
class Standing:
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
        if self.head is None or self.head_units > free:
            return False
        maximum = self.claim.maximum
        return maximum is None or self.held + self.head_units <= maximum


@dataclass(frozen=True, slots=True)
class _Moment:
    """How everybody stood from ``at_ms`` on; ``fitting`` are heads of lines by number."""

    at_ms: int
    free: int
    fitting: frozenset[int]
    standings: tuple[Standing, ...]


class ConservationWatch:
    """Counts jobs that could have run and did not.

    A violation: a job, the first in the line of its tenant, for which there were units free and
    which the strategy, applied to what everybody held and wanted at that time, had room for, waited
    on for longer than ``bound_ms`` without a break in any of this. Units that a guarantee holds
    back are not free.

    What the strategy has room for is costly to know. So moments are kept, and judged only once a
    job has found enough units free for ``bound_ms``.

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
        # Since when a job, by number, would fit; since when the strategy has room for it, too.
        self._fits_since: dict[int, int] = {}
        self._due_since: dict[int, int] = {}
        self._moments: deque[_Moment] = deque()
        self._idle_since = 0
        # Who has a guarantee holds back what it does not lend, also when it wants nothing.
        self._idle_claims = [
            claim
            for one in pool.shares
            if (claim := pool.claim(one.tenant)).guaranteed and claim.lend_limit is not None
        ]

    def look(self, standings: Mapping[str, Standing], free: int, now_ms: int) -> None:
        """Take in how everybody stands from ``now_ms`` on.

        Args:
            standings: Of those who hold or want something, by tenant.
            free: Units that nobody holds.
            now_ms: Unix time.
        """
        fitting = [
            one.head
            for one in standings.values()
            if one.head is not None and free > 0 and one.fits(free)
        ]
        before = self._fits_since
        if not fitting and not before:
            return
        if self._due_since or (before and now_ms - min(before.values()) > self.bound_ms):
            for moment in self._moments:
                self._judge(moment)
            self._moments.clear()
        self._fits_since = {head: before.get(head, now_ms) for head in fitting}
        if not fitting:
            self.idle_ms += now_ms - self._idle_since
            self._moments.clear()
            self._close_all_but(frozenset(), now_ms)
            return
        if not before:
            self._idle_since = now_ms
        copies = tuple(
            Standing(one.claim, one.held, one.wanted, one.head, one.head_units)
            for one in standings.values()
        )
        self._moments.append(_Moment(now_ms, free, frozenset(fitting), copies))
        if not self._due_since:
            oldest_ms = min(self._fits_since.values())
            while self._moments[0].at_ms < oldest_ms:
                self._moments.popleft()

    def end(self, now_ms: int) -> None:
        """Close what is still open."""
        self.look({}, 0, now_ms)

    def _judge(self, moment: _Moment) -> None:
        due = self._due(moment)
        self._close_all_but(due, moment.at_ms)
        for job in due:
            self._due_since.setdefault(job, moment.at_ms)

    def _close_all_but(self, due: frozenset[int], now_ms: int) -> None:
        for job in [job for job in self._due_since if job not in due]:
            over_ms = now_ms - self._due_since.pop(job) - self.bound_ms
            if over_ms > 0:
                self.violations += 1
                self.violation_ms += over_ms

    def _due(self, moment: _Moment) -> frozenset[int]:
        """Return which of the jobs that would fit the strategy has room for."""
        pool = self._pool
        if pool.strategy is Strategy.UNLIMITED:
            return moment.fitting
        claims = [_wanting(one.claim, one.wanted) for one in moment.standings]
        if self._idle_claims:
            there = {claim.tenant for claim in claims}
            claims += [claim for claim in self._idle_claims if claim.tenant not in there]
        division = divide(pool.capacity, pool.strategy, claims, pool.groups)
        lendable = moment.free - sum(division.held_back.values())
        return frozenset(
            one.head
            for one in moment.standings
            if one.head in moment.fitting
            and one.head_units <= lendable
            and one.held + one.head_units <= division.allocations[one.claim.tenant]
        )


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
