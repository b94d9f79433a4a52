"""Whether capacity lies idle while somebody waits who should have it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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


class ConservationWatch:
    """Counts jobs that could have run and did not.

    A violation: a job, the first in the line of its tenant, for which there were units free and
    which the strategy, applied to what everybody held and wanted at that time, had room for, waited
    on for longer than ``bound_ms`` without a break in any of this. Units that a guarantee holds
    back are not free.

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
        self._since: dict[int, int] = {}
        self._idle_since: int | None = None
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
            standing
            for standing in standings.values()
            if standing.head is not None
            and standing.head_units <= free
            and (
                standing.claim.maximum is None
                or standing.held + standing.head_units <= standing.claim.maximum
            )
        ]
        if fitting and self._idle_since is None:
            self._idle_since = now_ms
        elif not fitting and self._idle_since is not None:
            self.idle_ms += now_ms - self._idle_since
            self._idle_since = None
        if not fitting and not self._since:
            return
        entitled = self._entitled(standings, fitting, free) if fitting else set()
        for job in [job for job in self._since if job not in entitled]:
            self._close(job, now_ms)
        for job in entitled:
            self._since.setdefault(job, now_ms)

    def end(self, now_ms: int) -> None:
        """Close what is still open."""
        self.look({}, 0, now_ms)

    def _close(self, job: int, now_ms: int) -> None:
        over_ms = now_ms - self._since.pop(job) - self.bound_ms
        if over_ms > 0:
            self.violations += 1
            self.violation_ms += over_ms

    def _entitled(
        self, standings: Mapping[str, Standing], fitting: list[Standing], free: int
    ) -> set[int]:
        """Return which of the jobs that would fit the strategy has room for."""
        pool = self._pool
        if pool.strategy is Strategy.UNLIMITED:
            return {one.head for one in fitting if one.head is not None}
        claims = [replace(one.claim, demand=one.wanted) for one in standings.values()]
        claims += [claim for claim in self._idle_claims if claim.tenant not in standings]
        division = divide(pool.capacity, pool.strategy, claims, pool.groups)
        lendable = free - sum(division.held_back.values())
        return {
            one.head
            for one in fitting
            if one.head is not None
            and one.head_units <= lendable
            and one.held + one.head_units <= division.allocations[one.claim.tenant]
        }


