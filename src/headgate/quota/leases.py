"""Blocks of permits in the hands of gates: what each is given, and what comes back.

A block counts as held with all that may be out of it as far as the ledger can know: at least what
the gate said that it has out, and what it may take until it hears the answer. So nothing is granted
twice, whatever happens to messages and processes. When it is not renewed in time it is over: its
jobs hold permits of their own from then on, which are looked after like any other, and the rest
stays counted for as long as a use may last.
"""

from typing import Final, Literal

from headgate.allocation.solver import fill
from headgate.model.lease import LEASE_MS, LeaseAsk, LeaseGrant, LeaseView, WhenAway
from headgate.model.quota import Quota
from headgate.model.reason import Reason, ReasonCode
from headgate.quota.book import Book
from headgate.quota.decide import give_back, startable, take
from headgate.quota.lease_jobs import JobsInBlocks
from headgate.quota.lease_record import InLine, Lease, LeaseJob, lease_key
from headgate.quota.limits import Limits
from headgate.quota.queues import Queues
from headgate.quota.reasons import Inquiry
from headgate.quota.record import LedgerRecord, Meter, Permit
from headgate.quota.shedding import turn_away_at_gate
from headgate.quota.standing import Standing
from headgate.quota.watch import Watch
from headgate.quota.ways import Ways

MOST_LEASES: Final = 2_000
"""Blocks of one ledger; a gate beyond them is refused until others have ended."""

_ASK_IN_MS: Final = LEASE_MS * 2 // 3
_ASK_SOON_MS: Final = 2_000
"""How often gates ask when there is less than they want: so much sooner somebody has his turn."""

_SILENT_MS: Final = 3 * _ASK_SOON_MS
"""A gate that was to ask soon and has not for so long may have been killed: what it holds counts as
ever, but what it wished for is for those who do ask. The turns of a large fleet come more often."""

_IDLE_MS: Final = 3_000
"""So long a gate keeps what it does not use, when there is not as much left for another."""

_UNHURRIED_MS: Final = LEASE_MS
"""So much later it is noticed that a block is over when nobody waits for what comes back."""

_LAST: Final = 2**62


class Leases:
    """The blocks of one ledger, with an index over their deadlines."""

    def __init__(
        self,
        record: LedgerRecord,
        standing: Standing,
        queues: Queues,
        book: Book,
        watch: Watch,
        ways: Ways,
    ) -> None:
        self._record = record
        self._standing = standing
        self._queues = queues
        self._book = book
        self._watch = watch
        self._jobs = JobsInBlocks(record.leases.values(), ways)
        self._ways = ways

    # Asks ------------------------------------------------------------------------------------

    def answer(self, gate: str, ask: LeaseAsk, inquiry: Inquiry, now_ms: int) -> LeaseGrant:
        """Count what a gate has done with a block, and say what it may do from now on."""
        key = lease_key(ask.resource, gate, ask.term)
        lease = self._record.leases.get(key)
        if lease is None:
            refusal = self._refusal(ask, inquiry)
            if refusal is not None:
                return refusal
            lease = Lease(ask.resource, gate, ask.term)
            self._record.leases[key] = lease
        elif ask.number <= lease.number:
            assert lease.answer is not None
            return lease.answer
        meter = self._book.meter(ask.resource, now_ms)
        self._record.revision += 1
        if ask.over and not lease.is_over and self._ways.hears_lines:
            # Its jobs hold permits of their own from now on: the gate leaves them out already.
            lease.until_ms = now_ms
            self._end(lease, meter, now_ms)
        self._account(lease, ask, meter, now_ms)
        lease.number = ask.number
        grant = self._rest(lease, ask) if lease.is_over else self._divide(lease, ask, inquiry)
        if (too_large := self._too_large(ask, inquiry)) is not None:
            grant = grant.model_copy(update={"too_large": too_large})
        lease.answer = grant
        if (lease.is_over or not ask.wanted) and not lease.in_use and not lease.jobs:
            self._drop(key, lease, meter, now_ms)
        return grant

    def _refusal(self, ask: LeaseAsk, inquiry: Inquiry) -> LeaseGrant | None:
        """Return the answer to an ask for which there can be no block."""
        if ask.number > 1:
            return LeaseGrant(
                resource=ask.resource, term=ask.term, number=ask.number, is_over=True, for_ms=0
            )
        reason = inquiry.never([(ask.resource, 1)])
        if reason is None and len(self._record.leases) < MOST_LEASES:
            return None
        if reason is None:
            reason = Reason(
                code=ReasonCode.UNAVAILABLE,
                message=f"{MOST_LEASES} gates have blocks of tenant {self._record.tenant} already",
            )
        return LeaseGrant(
            resource=ask.resource,
            term=ask.term,
            number=ask.number,
            reason=reason,
            retry_in_ms=_ASK_SOON_MS,
            is_over=True,
            for_ms=0,
        )

    def _too_large(self, ask: LeaseAsk, inquiry: Inquiry) -> Reason | None:
        """Return why the largest call that waits at the gate can never pass."""
        return inquiry.never([(ask.resource, ask.largest)]) if ask.largest > 1 else None

    def _account(self, lease: Lease, ask: LeaseAsk, meter: Meter, now_ms: int) -> None:
        """Count what has been taken out and given back since the last ask."""
        for id in ask.gone:
            self._has_let_go(lease, id, now_ms)
        granted = max(0, ask.grants - lease.grants)
        own_permits = 0
        for job in ask.holders:
            known = LeaseJob(
                job.workflow_id,
                job.run_id,
                job.units,
                now_ms,
                now_ms + self._book.check_every_ms,
            )
            if lease.is_over:
                # The block is over: such a job holds a permit of its own from now on.
                own_permits += self._own_permit(lease, job.id, known, meter, now_ms)
                continue
            self._jobs.put(lease, job.id, known)
            if self._book.has_ended(job.id) and job.id not in lease.ended:
                lease.ended.append(job.id)  # it closed elsewhere before the gate spoke of it
        # However it counts, a permit that is held was granted.
        granted = max(granted, own_permits - lease.uses)
        uses = min(ask.uses, lease.uses + granted - own_permits)
        if granted:
            self._watch.granted.add(lease.resource)
        elif ask.denied > lease.denied:
            self._watch.denied(lease.resource)
        meter.granted += granted
        meter.held += uses - lease.uses + own_permits
        meter.released += granted - own_permits - (uses - lease.uses)
        meter.denied += max(0, ask.denied - lease.denied)
        lease.uses, lease.in_use = uses, ask.in_use
        lease.grants = max(lease.grants, ask.grants)
        lease.denied = max(lease.denied, ask.denied)
        lease.started = max(lease.started, ask.started)
        lease.hold_ms = ask.hold_ms
        # What it may take until it hears the answer; a gate cannot make more of it than it had.
        self._count(lease, max(ask.in_use, min(ask.ceiling, lease.counted)), meter, now_ms)

    def _has_let_go(self, lease: Lease, id: str, now_ms: int) -> None:
        """Take note that a job has given back what it held of a block; so it is done with it."""
        if self._jobs.take(lease, id) is not None:
            self._jobs.end(id)  # other gates may not have heard of it
            if self._ways.is_thorough and id in self._record.permits:
                self._book.end(id, "released", now_ms)
        if id in lease.ended:
            lease.ended.remove(id)

    def _divide(self, lease: Lease, ask: LeaseAsk, inquiry: Inquiry) -> LeaseGrant:
        """Give a block its part of what there is."""
        now_ms = inquiry.now_ms
        limits, meter = self._standing.of(lease.resource), self._book.meter(lease.resource, now_ms)
        lease.wanted, lease.waiting = ask.wanted, ask.waiting
        lease.line = [
            InLine(one.priority, one.calls, one.units, now_ms - one.waited_ms)
            for one in ask.line
            if self._ways.hears_lines
        ]
        starts, short_of_starts = self._starts(lease, ask, limits, meter, now_ms)
        ceiling = lease.counted
        units = 0
        is_short = False
        if limits is not None and limits.pause is None:
            units = self._part(lease, limits, meter, now_ms)
            is_short = (units < ask.wanted and lease.lacks) or self._others_lack(lease, now_ms)
        lease.units = units
        if units:
            lease.served_ms = now_ms
        self._count(lease, max(ceiling, units), meter, now_ms)
        lease.until_ms = now_ms + LEASE_MS
        idle_ms = None
        if limits is not None and limits.room is not None and limits.room - meter.units < units:
            idle_ms = _IDLE_MS
        reason, retry_in_ms = None, None
        if units < ask.wanted or short_of_starts:
            reason, at_ms = inquiry.shortage(lease.resource)
            retry_in_ms = max(50, min(at_ms - now_ms, _ASK_SOON_MS))
        return LeaseGrant(
            resource=lease.resource,
            term=lease.term,
            number=ask.number,
            units=units,
            starts=starts,
            for_ms=LEASE_MS,
            ask_in_ms=_ASK_SOON_MS if is_short else _ASK_IN_MS,
            reason=reason,
            retry_in_ms=retry_in_ms,
            turn_away=turn_away_at_gate(self._record, self._queues, lease, limits),
            idle_ms=idle_ms,
            ended=list(lease.ended),
            leased=limits is not None and limits.leased,
            max_hold_ms=self._max_hold_ms(lease.resource),
            when_away=WhenAway.FAIL_STATIC if limits is None else limits.when_away,
        )

    def _part(self, lease: Lease, limits: Limits, meter: Meter, now_ms: int) -> int:
        """Return how many units a block may have.

        When there is less than all want, gates and the line of those who wait are dealt equal
        parts; where that leaves some without any, who has been without for the longest comes first.
        Of a gate that has fallen silent only what it holds counts.
        """
        if limits.room is None:
            return lease.wanted
        others = [
            (one, self._wanted(one, now_ms))
            for one in self._record.leases.values()
            if one.resource == lease.resource and not one.is_over and one is not lease
        ]
        free = max(0, limits.room - (meter.units - lease.counted))
        in_line = self._queues.units(lease.resource)
        unmet = sum(wanted - one.counted for one, wanted in others)
        if not in_line and lease.wanted + unmet <= free:
            return min(lease.wanted, free)
        claims = [
            (_LAST if one.units else one.served_ms, one.gate, one.term, wanted, one.counted)
            for one, wanted in (*others, (lease, lease.wanted))
        ]
        claims.append((0, "", 0, in_line, 0))
        claims.sort()
        room = free + sum(one.counted for one, _ in others)
        wants = [wanted for *_, wanted, _ in claims]
        parts = fill(room, [1] * len(wants), [0] * len(wants), wants)
        for (_, gate, term, _, counted), part in zip(claims, parts, strict=True):
            if (gate, term) == (lease.gate, lease.term):
                return min(part, max(0, free))
            # What comes back is for those who come first, although this one asks before them.
            free -= max(0, part - counted)
        raise AssertionError("a lease is one of the claims")

    def _wanted(self, lease: Lease, now_ms: int) -> int:
        """Return the units that a gate wants, as far as it is known to be there still."""
        if self._is_silent(lease, now_ms):
            return min(lease.wanted, lease.counted)
        return lease.wanted

    def _is_silent(self, lease: Lease, now_ms: int) -> bool:
        if not self._ways.sees_silence or lease.answer is None:
            return False
        asked_ms = lease.until_ms - LEASE_MS
        return lease.answer.ask_in_ms <= _ASK_SOON_MS and now_ms - asked_ms >= _SILENT_MS

    def _others_lack(self, lease: Lease, now_ms: int) -> bool:
        return bool(self._queues.units(lease.resource)) or any(
            one.lacks and not self._is_silent(one, now_ms)
            for one in self._record.leases.values()
            if one is not lease and one.resource == lease.resource
        )

    def _starts(
        self, lease: Lease, ask: LeaseAsk, limits: Limits | None, meter: Meter, now_ms: int
    ) -> tuple[int | None, bool]:
        """Return up to what total the gate may take units out, and whether that is too little."""
        had = lease.starts
        kept = ask.started if had is None else max(ask.started, min(ask.starts_ceiling, had))
        if limits is None:
            lease.starts = kept
            return kept, False
        if had is not None and had > kept:
            give_back(limits, meter, had - kept, now_ms)
        can_start = startable(limits, meter, now_ms)
        if can_start is None:
            lease.starts = None
            return None, False
        more = max(0, ask.starts - (kept - ask.started))
        taken = min(more, can_start)
        if taken:
            every_window = self._standing.counts_every_window(lease.resource)
            take(limits, meter, taken, now_ms, every_window=every_window)
        lease.starts = kept + taken
        return lease.starts, taken < more

    def _rest(self, lease: Lease, ask: LeaseAsk) -> LeaseGrant:
        """Answer a gate that has come back after its time: what is out still counts, no more."""
        return LeaseGrant(
            resource=lease.resource, term=lease.term, number=ask.number, is_over=True, for_ms=0
        )

    # Time, and holders -----------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """Return when a block next has to be looked at, or None.

        A gate renews its block long before the deadline, which is thus always near and never met.
        So where nobody would have what comes back, it is looked at late: else a ledger whose gates
        are all well would wake up for nothing every few seconds.
        """
        leases = self._record.leases.values()
        if not self._ways.is_unhurried or not leases:
            return min((lease.ends_at_ms for lease in leases), default=None)
        wanted = {lease.resource for lease in leases if lease.wanted > lease.counted}
        wanted.update(self._queues.resources(), self._record.pools)
        return min(
            lease.ends_at_ms + (0 if lease.resource in wanted else _UNHURRIED_MS)
            for lease in leases
        )

    def next_check(self) -> int | None:
        """Return when a job that holds units of a block has to be looked after, or None."""
        return self._jobs.next()

    def lapse(self, now_ms: int) -> list[str]:
        """End what was not renewed in time; return the resources of which something came back."""
        freed: list[str] = []
        for key, lease in list(self._record.leases.items()):
            if lease.ends_at_ms > now_ms:
                continue
            meter = self._book.meter(lease.resource, now_ms)
            self._record.revision += 1
            if not lease.is_over:
                self._end(lease, meter, now_ms)
            if lease.ends_at_ms <= now_ms or not lease.counted:
                self._drop(key, lease, meter, now_ms)
                freed.append(lease.resource)
        return freed

    def has(self, id: str) -> bool:
        """Return whether a job holds units out of a block."""
        return self._jobs.has(id)

    def close(self, id: str) -> None:
        """Note that a job has closed, or has given its units back elsewhere."""
        if self._jobs.end(id):
            self._record.revision += 1

    def jobs_to_check(self, now_ms: int, at_most: int) -> list[tuple[str, str, str]]:
        """Return (permit, workflow, run) of jobs that are due; each less and less often."""
        return self._jobs.due(now_ms, at_most, self._book.check_every_ms)

    def unmet(self, resource: str, now_ms: int) -> int:
        """Return the units that gates would like to have of a resource beyond what they have."""
        return sum(
            max(0, self._wanted(lease, now_ms) - lease.counted)
            for lease in self._record.leases.values()
            if lease.resource == resource
        )

    def views(self) -> list[LeaseView]:
        """Return the blocks as people see them."""
        return [
            LeaseView(
                resource=lease.resource,
                gate=lease.gate,
                units=lease.units,
                counted=lease.counted,
                in_use=lease.in_use,
                waiting=lease.waiting,
                until_ms=lease.ends_at_ms,
            )
            for _, lease in sorted(self._record.leases.items())
        ]

    def check_again(self, now_ms: int) -> None:
        """Have every job looked after at once: much may have ended since a snapshot."""
        self._jobs.look_now(now_ms)

    # Inside ----------------------------------------------------------------------------------

    def _end(self, lease: Lease, meter: Meter, now_ms: int) -> None:
        """Let nothing more be granted from a block; its jobs go on without it."""
        lease.is_over = True
        for id, job in list(lease.jobs.items()):
            self._jobs.take(lease, id)
            self._pass_on(lease, id, job, meter, now_ms)
        lease.ended.clear()
        lease.wanted = lease.waiting = 0
        lease.line.clear()
        lease.units = 0

    def _pass_on(self, lease: Lease, id: str, job: LeaseJob, meter: Meter, now_ms: int) -> None:
        """Let a job go on without the block, which is over: its use is not the gate's any more.

        A gate tells of so many jobs at once, so there may be more of them here than uses.
        """
        has_ended = self._ways.is_thorough and id in lease.ended
        units_before = meter.units
        own = 0 if has_ended else self._own_permit(lease, id, job, meter, now_ms)
        uses, units = min(1, lease.uses), min(job.units, lease.counted)
        lease.uses -= uses
        lease.counted -= units
        lease.in_use = max(0, lease.in_use - job.units)
        meter.granted += max(0, own - uses)
        meter.held += own - uses
        meter.released += max(0, uses - own)
        meter.units -= units
        if meter.units != units_before:
            self._book.used(lease.resource, self._standing.of(lease.resource), meter, now_ms)

    def _own_permit(
        self, lease: Lease, id: str, job: LeaseJob, meter: Meter, now_ms: int
    ) -> Literal[0, 1]:
        """Have a job of a block that is over hold a permit of its own, in units but not in uses.

        Returns:
            How many permits there are now that have not been before: a job that is in several
            blocks, or holds the same permit of the ledger already, gets no second one.
        """
        known = self._record.permits.get(id)
        if known is not None:
            if known.resource == lease.resource and known.units < job.units:
                self._book.enlarge(known, job.units)
            return 0
        if self._ways.is_thorough and self._book.has_ended(id):
            return 0
        waiter = self._record.waiters.pop(id, None)
        if waiter is not None:
            # It was asked for again, and waits for what it holds.
            self._queues.remove(id, waiter)
            self._record.wakes[id] = now_ms
        permit = Permit(
            resource=lease.resource,
            units=job.units,
            workflow_id=job.workflow_id,
            run_id=job.run_id,
            granted_at_ms=job.since_ms,
            expires_at_ms=max(now_ms + 1, job.since_ms + self._max_hold_ms(lease.resource)),
            check_at_ms=now_ms,
        )
        self._book.adopt(id, permit)
        meter.units += job.units
        return 1

    def _max_hold_ms(self, resource: str) -> int:
        limits = self._standing.of(resource)
        return Quota().max_hold_ms if limits is None else limits.max_hold_ms

    def _count(self, lease: Lease, units: int, meter: Meter, now_ms: int) -> None:
        meter.units += units - lease.counted
        lease.counted = units
        self._book.used(lease.resource, self._standing.of(lease.resource), meter, now_ms)

    def _drop(self, key: str, lease: Lease, meter: Meter, now_ms: int) -> None:
        self._count(lease, 0, meter, now_ms)
        meter.held -= lease.uses
        meter.expired += lease.uses
        limits = self._standing.of(lease.resource)
        if lease.starts is not None and limits is not None and not lease.is_over:
            give_back(limits, meter, max(0, lease.starts - lease.started), now_ms)
        del self._record.leases[key]
