"""A block of permits that this gate grants from, and what it tells the ledger of it.

Pure but for the clock that is passed in: times are seconds of a clock that never goes back, and
goes on while the process is stopped. A block counts from when the gate asked, not from when the
ledger answered, so it is over here before it is over there.
"""

from dataclasses import dataclass, field
from typing import Final

from headgate.model.lease import (
    HOLDERS_AT_ONCE,
    MOST_HOLD_MS,
    MOST_UNITS,
    LeaseAsk,
    LeaseGrant,
    LeaseHolder,
    WaitingCalls,
    WhenAway,
)

SAFETY_S: Final = 1.0
"""So long before its end nothing is granted from a block any more."""

NO_LIMIT: Final = 2**53 - 1
LEAST_HOLD_MS: Final = 60_000
"""So long a use may always last: then few blocks have to ask again because of one that may."""

_HEADROOM: Final = 1.25
_RENEW_MS: Final = 20_000


@dataclass(slots=True, eq=False)
class Block:
    """One block: of one tenant and resource, for one term.

    What is out is what was ever taken less what was ever given back: two counters that only rise
    are all that a call has to touch.

    Attributes:
        resource: What is counted.
        term: Which block of this gate.
        units: Units that may be out at once.
        starts: ``taken`` may not exceed this.
        until_s: When it is over, by the gate's clock.
        taken: Units ever taken out.
        returned: Units ever given back.
        grants: Permits ever taken out.
        ends: Permits ever given back.
        most: The most units that were out at once since the last ask.
        denied: Requests refused.
        hold_ms: How long a use may last at most, of all that were seen.
        told_hold_ms: The same as far as the ledger knows.
        waiting: Units that calls wait for.
        unmet: Units that a call was refused lately: it will come again, and has to find its place.
        largest: Units of the largest call that waits or was refused.
        line: What waits by priority, for the next ask.
    """

    resource: str
    term: int
    units: int = 0
    starts: int = NO_LIMIT
    until_s: float = 0.0
    taken: int = 0
    returned: int = 0
    grants: int = 0
    ends: int = 0
    most: int = 0
    denied: int = 0
    hold_ms: int = LEAST_HOLD_MS
    told_hold_ms: int = 0
    waiting: int = 0
    unmet: int = 0
    largest: int = 0
    line: list[WaitingCalls] = field(default_factory=list)
    number: int = 0
    is_over: bool = False
    grant: LeaseGrant | None = None
    ask_at_s: float = 0.0
    _asked_s: float = 0.0
    _taken_at_ask: int = 0
    _most_before: int = 0
    _told_jobs: dict[str, LeaseHolder] = field(default_factory=dict)
    _new_jobs: dict[str, LeaseHolder] = field(default_factory=dict)
    _gone_jobs: dict[str, LeaseHolder] = field(default_factory=dict)
    _under_way: LeaseAsk | None = None
    _told_over: bool = False

    @property
    def out(self) -> int:
        """Units that are out."""
        return self.taken - self.returned

    def take(self, units: int, now_s: float, hold_ms: int = 0) -> bool:
        """Take units out, if there are so many and it is not over.

        Args:
            units: How many.
            now_s: By the gate's clock.
            hold_ms: How long they may stay out: no longer than the ledger knows of.
        """
        if (
            now_s >= self.until_s
            or hold_ms > self.told_hold_ms
            or self.taken - self.returned + units > self.units
            or self.taken + units > self.starts
        ):
            return False
        self.taken += units
        self.grants += 1
        return True

    def give(self, units: int) -> None:
        """Give units back."""
        self.returned += units
        self.ends += 1

    def note_peak(self) -> None:
        """Note how much is out, for the size of the next block."""
        out = self.taken - self.returned
        if out > self.most:
            self.most = out

    # Jobs that hold units ----------------------------------------------------------------------

    def hold(self, job: LeaseHolder) -> None:
        """Note that a job holds units that were taken out; the ledger is told."""
        self._new_jobs[job.id] = job

    def let_go(self, id: str) -> LeaseHolder | None:
        """Give back what a job holds; None: it holds nothing here."""
        job = self._new_jobs.pop(id, None)
        if job is None and (job := self._told_jobs.pop(id, None)) is not None:
            self._gone_jobs[id] = job
        if job is not None:
            self.give(job.units)
        return job

    @property
    def has_jobs(self) -> bool:
        """Whether jobs hold units of it."""
        return bool(self._told_jobs or self._new_jobs)

    @property
    def is_needed(self) -> bool:
        """Whether the ledger has to hear of it, though it is over.

        At least once, so that it does not count what is not out any more; and for as long as calls
        are out, or new jobs.
        """
        jobs = (*self._told_jobs.values(), *self._new_jobs.values())
        is_told = self._told_over and not self._new_jobs
        return not is_told or self.out > sum(job.units for job in jobs)

    # The ledger --------------------------------------------------------------------------------

    def ask(self, now_s: float) -> LeaseAsk:
        """Return what to tell the ledger; until it has answered, the block does not grow."""
        if self._under_way is not None:
            # Nobody knows whether it arrived: what it said is said again, and what is new.
            self._forget_what_was_told(self._under_way, answered=False)
        self.number += 1
        out = self.taken - self.returned
        wanted = 0 if self.is_over else self._wanted(out)
        ceiling = max(out, min(self.units, wanted))
        starts = 0 if self.is_over else self._wanted_starts(now_s)
        self.units = ceiling
        kept = min(self.starts, self.taken + starts)
        if self.starts != NO_LIMIT:
            self.starts = max(self.taken, kept)
        holders = list(self._new_jobs.values())[:HOLDERS_AT_ONCE]
        gone = list(self._gone_jobs)[:HOLDERS_AT_ONCE]
        # Those of a block that is over hold permits of their own, once the ledger knows of them.
        jobs = [*self._told_jobs.values(), *holders] if self.is_over else []
        held_by_jobs = sum(job.units for job in jobs)
        ask = LeaseAsk(
            resource=self.resource,
            term=self.term,
            number=self.number,
            over=self.is_over,
            wanted=wanted,
            ceiling=max(0, ceiling - held_by_jobs),
            in_use=max(0, out - held_by_jobs),
            uses=self.grants - self.ends - len(jobs),
            started=self.taken,
            grants=self.grants,
            denied=self.denied,
            starts=starts,
            starts_ceiling=self.taken if self.starts == NO_LIMIT else self.starts,
            waiting=min(self.lacking, MOST_UNITS),
            largest=min(self.largest, MOST_UNITS),
            line=self.line,
            hold_ms=min(self.hold_ms, MOST_HOLD_MS),
            holders=holders,
            gone=gone,
        )
        self._asked_s, self._taken_at_ask = now_s, self.taken
        self._most_before, self.most = max(self.most, out), out
        self._under_way = ask
        return ask

    def hear(self, grant: LeaseGrant) -> None:
        """Take the answer to the last ask."""
        ask = self._under_way
        if ask is None or grant.number != ask.number or grant.term != self.term:
            return
        self._under_way = None
        self._forget_what_was_told(ask, answered=True)
        self.grant = grant
        self._told_over = self.is_over
        self.told_hold_ms = ask.hold_ms
        if grant.is_over:
            self.end()
            return
        self.units = grant.units
        self.starts = NO_LIMIT if grant.starts is None else max(self.taken, grant.starts)
        self.until_s = self._asked_s + grant.for_ms / 1000 - SAFETY_S
        self.ask_at_s = self._asked_s + grant.ask_in_ms / 1000

    def want_no_more(self) -> None:
        """Keep no more than what is out: the process is about to end."""
        self.most = self._most_before = self.out
        self.waiting = self.unmet = 0
        self._taken_at_ask = self.taken

    def end(self) -> None:
        """Note that nothing is to be had of this block any more."""
        self.is_over = True
        self.units = 0
        self.until_s = 0.0

    def _wanted(self, out: int) -> int:
        """Return how many units it should have: what was out at most lately, and some more."""
        peak = max(self.most, self._most_before, out)
        if peak == 0 and not self.lacking:
            return 0
        return min(int(max(peak, out + self.lacking) * _HEADROOM) + 1, MOST_UNITS)

    def _wanted_starts(self, now_s: float) -> int:
        """Return how many units will be taken out until the next ask, as far as one can tell."""
        elapsed_s = max(0.5, now_s - self._asked_s) if self._asked_s else 1.0
        per_s = (self.taken - self._taken_at_ask) / elapsed_s
        if per_s == 0 and not self.lacking:
            return 0
        return min(self.lacking + int(per_s * _RENEW_MS / 1000 * _HEADROOM) + 1, MOST_UNITS)

    def _forget_what_was_told(self, ask: LeaseAsk, *, answered: bool) -> None:
        for job in ask.holders:
            known = self._new_jobs.pop(job.id, None)
            if known is None:
                # It has gone meanwhile; the ledger may know it by now and has to be told.
                self._gone_jobs.setdefault(job.id, job)
            elif answered:
                self._told_jobs[job.id] = known
            else:
                self._new_jobs[job.id] = known
        if answered:
            for id in ask.gone:
                self._gone_jobs.pop(id, None)

    @property
    def lacking(self) -> int:
        """Units that are asked for and are not here."""
        return max(self.waiting, self.unmet)

    @property
    def has_news(self) -> int:
        """How many jobs the ledger does not know of yet, or still takes for holders."""
        return len(self._new_jobs) + len(self._gone_jobs)

    @property
    def when_away(self) -> WhenAway:
        """What to do when the block is over and the ledger cannot be reached."""
        return WhenAway.FAIL_STATIC if self.grant is None else self.grant.when_away
