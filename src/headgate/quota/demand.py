"""What the governor of a pool has to know of a ledger, and when it has to be told."""

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Final, Literal, NamedTuple

from headgate.model.limits import SlotUse
from headgate.model.pool import Claim, Demand, Share, Tier
from headgate.quota import workers
from headgate.quota.decide import passes_at, passes_within
from headgate.quota.lease_record import InLine, Lease
from headgate.quota.limits import Limits, window_used
from headgate.quota.queues import Queues
from headgate.quota.record import LedgerRecord, Meter, PoolAccount, Refused
from headgate.quota.ways import Ways

TELL_LOWER_AFTER_MS: Final = 1_000
"""So long less may be wanted than the governor was told before it is told of it."""

TELL_EVERY_MS: Final = 100
"""A ledger tells governors something no more often: what changes meanwhile travels along."""

REFUSED_COUNTS_MS: Final = 5_000
"""So long after a refusal for want of a pool the demand of jobs that do not wait counts."""

SOON_MS: Final = 10_000
"""Who cannot begin sooner than that has no use for what a pool could give now."""

_STRETCH_MS: Final = 1_000
_MOST_TIERS: Final = 20


News = Literal["none", "lower", "now"]
"""Whether a governor has to be told something: no; that less is wanted for a while; at once."""

Needs = Sequence[tuple[str, int]]
"""Units by resource, of one request."""

_LimitsOf = Callable[[str], Limits | None]
_Unmet = Callable[[str, int], int]
"""Units that gates would like to have in blocks beyond what they have, by resource and time."""


class Reckoning:
    """What there is to say of each pool, reckoned once after a step and kept until the next.

    It is looked at when a step ends, when a governor is told, and when that has arrived; most often
    nothing has happened in between.

    Args:
        record: Of the ledger.
        queues: Its lines.
        unmet: What gates lack.
        limits_of: What limits a resource.
        ways: Of the ledger.
    """

    def __init__(
        self,
        record: LedgerRecord,
        queues: Queues,
        unmet: _Unmet,
        limits_of: _LimitsOf,
        ways: Ways,
    ) -> None:
        self._record = record
        self._ways = ways
        self._queues = queues
        self._unmet = unmet
        self._limits_of = limits_of
        self._known: dict[str, dict[str, _Standing]] = {}
        self._pools: list[str] | None = None
        self._told: list[Demand] = []
        self._now_ms = 0

    def renew(self, now_ms: int) -> None:
        """Forget what is known: something may have happened."""
        self._known.clear()
        self._told.clear()
        self._pools = None
        self._now_ms = now_ms

    def wanted_from(self, needs: Needs) -> int | None:
        """Return from when on pools are asked for what the first in line needs; None: they are."""
        if not self._ways.asks_for_usable:
            return None
        pooled = [name for name, _ in needs if name in self._record.pools]
        found = [at for name in pooled if (at := self._useful_from(name, needs)) is not None]
        return min((at for at in found if at > self._now_ms), default=None)

    def demands(self) -> list[Demand]:
        """Return the demand for each pool that is configured, or has dealt with the ledger."""
        self._told = [self._demand(pool) for pool in self._told_pools()]
        return list(self._told)

    def look_again(self, sent: Sequence[Demand]) -> bool:
        """Look, now that the governors have been told; see ``look``."""
        now = self._told
        if now and len(now) == len(sent) and all(map(is_, now, sent)):
            return False  # nothing has happened meanwhile
        return self.look()

    def look(self) -> bool:
        """Note since when less is wanted than governors were told.

        Returns:
            Whether a governor has to be told something at once.
        """
        record, now_ms = self._record, self._now_ms
        due = False
        for pool in self._told_pools():
            account = record.accounts.get(pool)
            standings = self._standings(pool)
            kind = self._news(account, standings)
            if kind == "none" and account is not None and self._workers_differ(account, standings):
                kind = "lower"
            due = due or kind == "now"
            if account is None:
                continue
            if kind == "none":
                account.lower_since_ms = None
                continue
            if account.lower_since_ms is None and kind == "lower":
                account.lower_since_ms = now_ms
            if account.told is not None and account.told.revision >= record.revision:
                # Whatever is told next has to count as the later message.
                record.revision = account.told.revision + 1
        return due

    def _news(self, account: PoolAccount | None, standings: Mapping[str, "_Standing"]) -> News:
        """See ``news``; a governor waits for all that comes back of what its pool has given."""
        if self._ways.hears_anew and account is not None and account.told is not None:
            told = account.told.claims
            for resource, one in standings.items():
                if one.share is _NO_SHARE and resource in told and one.held < told[resource].held:
                    return "now"
        return news(account, self._record.incarnation, standings, self._now_ms)

    def _demand(self, pool: str) -> Demand:
        """Return what the governor of ``pool`` is to know.

        What is wanted is what is held and waited for, in line or at gates, as far as
        ``max_active``, the rate, the calendar windows and pauses would let it pass, with what was
        lately refused to jobs that do not wait. Nobody passes the first in line: what that one
        could not begin with soon, for want of other things, is not wanted. Of a resource that is
        no longer of the pool, what is held counts as long as it may have come from it.
        """
        record = self._record
        account = record.accounts.get(pool)
        allocation = None if account is None else account.allocation
        return Demand(
            pool=pool,
            tenant=record.tenant,
            incarnation=record.incarnation,
            revision=record.revision,
            sequence=0 if allocation is None else allocation.sequence,
            claims={
                resource: Claim(
                    held=one.held,
                    wanted=one.wanted,
                    next=one.next,
                    share=one.share,
                    tiers=[
                        Tier(priority=priority, jobs=jobs, units=units, since_ms=since_ms)
                        for priority, jobs, units, since_ms in one.tiers
                    ],
                    at_gates=one.at_gates,
                    at_best=one.at_best,
                )
                for resource, one in self._standings(pool).items()
            },
            slots=self._slots(self._standings(pool)),
        )

    def _slots(self, standings: Mapping[str, "_Standing"]) -> SlotUse | None:
        """Return how busy the workers are, unless the tenant makes no use of the pool."""
        if not any(one.held or one.wanted for one in standings.values()):
            return None
        return workers.in_use(self._record.gates, self._now_ms)

    def _workers_differ(self, account: PoolAccount, standings: Mapping[str, "_Standing"]) -> bool:
        allocation, told = account.allocation, account.told
        listens = allocation is not None and allocation.pressure is not None
        return told is not None and listens and workers.differ(told.slots, self._slots(standings))

    def _told_pools(self) -> list[str]:
        """Return the pools that are configured, and those that have dealt with the ledger."""
        if self._pools is not None:
            return self._pools
        record = self._record
        pools = set(record.pools.values())
        if record.accounts.keys() <= pools:
            self._pools = sorted(pools)
            return self._pools
        for pool, account in record.accounts.items():
            if pool in pools:
                continue
            is_known = account.told is not None and account.told.claims
            if account.gives or is_known or any(account.left.values()):
                pools.add(pool)
        return sorted(pools)

    def _standings(self, pool: str) -> dict[str, "_Standing"]:
        known = self._known.get(pool)
        if known is None:
            known = self._known[pool] = _standings(
                self._record,
                self._queues,
                self._waiting,
                self._limits_of,
                pool,
                self._now_ms,
                self._ways,
            )
            known |= self._of_the_past(pool, known)
        return known

    def _waiting(self, resource: str, now_ms: int) -> int:
        """Return the units that are waited for, and of use if the pool gives them now."""
        in_line, head = self._queues.units(resource), self._queues.head(resource)
        if head is not None and self._ways.asks_for_usable:
            useful_ms = self._useful_from(resource, self._record.waiters[head].needs)
            if useful_ms is None or useful_ms > now_ms:
                in_line = 0
        return in_line + self._unmet(resource, now_ms)

    def _useful_from(self, resource: str, needs: Needs) -> int | None:
        """Return from when on what a pool gives is of use, or None where not by time alone.

        Args:
            resource: Of the pool.
            needs: Of the first in line, this resource among them.
        """
        useful_ms = 0
        for name, units in needs:
            limits, meter = self._limits_of(name), self._record.meters.get(name) or Meter()
            if limits is None:
                return None
            most = limits.max_active
            if name != resource and most is not None and meter.units + units > most:
                return None
            passes_ms = passes_at(limits, meter, units)
            if passes_ms is None:
                return None
            useful_ms = max(useful_ms, passes_ms - SOON_MS)
        return useful_ms

    def _of_the_past(self, pool: str, now: Mapping[str, "_Standing"]) -> dict[str, "_Standing"]:
        """Return what there is to say of resources that are no longer of the pool.

        What is held came from it up to what was held when they left it.
        """
        account = self._record.accounts.get(pool)
        if account is None:
            return {}
        given = {} if account.allocation is None else account.allocation.units
        given = {**given, **account.left}
        found: dict[str, _Standing] = {}
        for resource, units in sorted(given.items()):
            if resource not in now and units > 0:
                meter = self._record.meters.get(resource)
                held = 0 if meter is None else min(meter.units, units)
                found[resource] = _Standing(held, 0, 0, _NO_SHARE, None)
        return found


def is_governed(record: LedgerRecord) -> bool:
    """Return whether a governor knows of the ledger."""
    return any(account.told is not None for account in record.accounts.values())


class _Standing(NamedTuple):
    """What a claim says, as it is reckoned after every step."""

    held: int
    wanted: int
    next: int
    share: Share
    at_best: Share | None
    tiers: Sequence[InLine] = ()
    at_gates: int = 0


_MOST_UNITS: Final = 1_000_000_000
"""What gates say of blocks may add up to more than a claim can tell."""

_NO_SHARE: Final = Share(weight=0.0, maximum=0)


def _standings(
    record: LedgerRecord,
    queues: Queues,
    waits: Callable[[str, int], int],
    limits_of: _LimitsOf,
    pool: str,
    now_ms: int,
    ways: Ways,
) -> dict[str, _Standing]:
    """Return what there is to say of each resource of the pool."""
    claims: dict[str, _Standing] = {}
    for resource in sorted([name for name, of in record.pools.items() if of == pool]):
        limits, meter = limits_of(resource), record.meters.get(resource)
        held = 0 if meter is None else meter.units
        waiting = waits(resource, now_ms)
        wanted = held if limits is None else _wanted(limits, meter, waiting, now_ms, ways)
        share, at_best = (_NO_SHARE, None) if limits is None else (limits.share, limits.at_best)
        head = queues.head(resource)
        next_units = 0
        if head is not None and wanted > held:
            next_units = dict(record.waiters[head].needs).get(resource, 0)
        leases = [one for one in record.leases.values() if one.resource == resource]
        lines = _lines(record, queues, leases, resource) if head is not None or leases else []
        tiers = _tiers(lines, wanted - held) if lines else []
        at_gates = _at_gates(leases) if leases else 0
        held, wanted = min(held, _MOST_UNITS), min(wanted, _MOST_UNITS)
        claims[resource] = _Standing(held, wanted, next_units, share, at_best, tiers, at_gates)
    return claims


def news(
    account: PoolAccount | None,
    incarnation: int,
    standings: Mapping[str, _Standing],
    now_ms: int,
) -> News:
    """Return whether the governor has to be told: at once, when less is wanted for a while, or not.

    At once: an allocation was taken; the ledger was restored; more is wanted than allowed; what
    had to come back has come back; a share has changed; the next in line does not fit into the
    allocation, and what is held decides how much of it is of no use now. How much is held below the
    allocation is else not the governor's business, as all of it may be held at any time. That
    clearly others wait than it was told is no haste.
    """
    told = None if account is None else account.told
    if told is None:
        if account is not None and account.allocation is not None:
            return "now"
        idle = all(claim.held == claim.wanted == 0 for claim in standings.values())
        return "none" if idle else "now"
    assert account is not None
    allocation = account.allocation
    sequence = 0 if allocation is None else allocation.sequence
    if told.incarnation != incarnation or told.sequence != sequence:
        return "now"
    if told.claims.keys() != standings.keys():
        return "now"
    answer: News = "none"
    for resource, claim in standings.items():
        before = told.claims[resource]
        if claim.share is not before.share and claim.share != before.share:
            return "now"
        enforced = allocation is None or allocation.enforced
        allocated = 0 if allocation is None else allocation.units.get(resource, 0)
        if enforced:
            if claim.wanted > before.wanted and claim.wanted > allocated:
                return "now"
            stuck = claim.next > 0 and claim.held + claim.next > allocated
            if stuck and (claim.next != before.next or claim.held != before.held):
                return "now"
            if claim.held < before.held and before.held > allocated:
                return "now"
            if claim.wanted < before.wanted:
                answer = "lower"
        elif claim.wanted != before.wanted:
            answer = "lower"  # only looked at: no haste
        listens = allocation is not None and allocation.pressure is not None
        if listens and answer == "none" and _others_wait(before, claim, now_ms):
            answer = "lower"
    return answer


def note_refusal(meter: Meter, units: int, now_ms: int) -> None:
    """Remember demand for a pool that stands in no line.

    A job that does not wait asks again under another id, so refusals are not summed up for long:
    what was refused within a second, or within the second before, is the demand.
    """
    past = meter.refused
    if past is None or now_ms >= past.since_ms + 2 * _STRETCH_MS:
        meter.refused = Refused(units, 0, now_ms, now_ms + REFUSED_COUNTS_MS)
        return
    if now_ms >= past.since_ms + _STRETCH_MS:
        past.units, past.before, past.since_ms = 0, past.units, now_ms
    past.units += units
    past.until_ms = now_ms + REFUSED_COUNTS_MS


def _at_gates(leases: Sequence[Lease]) -> int:
    """Return the units that calls wait for at gates beyond what is known of their lines."""
    waiting = sum(
        max(0, one.waiting - sum(line.units for line in one.line)) for one in leases if one.waiting
    )
    return min(waiting, _MOST_UNITS)


def _lines(
    record: LedgerRecord, queues: Queues, leases: Sequence[Lease], resource: str
) -> list[InLine]:
    """Return who waits for the resource, in the ledger's line and at gates, by priority."""
    found = {
        priority: InLine(priority, jobs, units, record.waiters[first].since_ms)
        for priority, jobs, units, first in queues.tiers(resource)
    }
    at_gates = [line for lease in leases for line in lease.line]
    if not at_gates:
        return list(found.values())
    for line in at_gates:
        known = found.get(line.priority)
        found[line.priority] = line if known is None else _together(line.priority, [known, line])
    return sorted(found.values(), reverse=True)


def _together(priority: int, lines: Sequence[InLine]) -> InLine:
    return InLine(
        priority=priority,
        jobs=sum(line.jobs for line in lines),
        units=min(sum(line.units for line in lines), _MOST_UNITS),
        since_ms=min(line.since_ms for line in lines),
    )


def _tiers(lines: Sequence[InLine], wanted: int) -> list[InLine]:
    """Return who waits for the pool, highest priority first; of too many, the highest as one.

    Who waits for limits of the tenant's own is nobody else's trouble: only the first ``wanted``
    units count, which those would let pass.
    """
    found: list[InLine] = []
    left = wanted
    for priority, jobs, units, since_ms in lines:
        if left <= 0:
            break
        part = min(units, left)
        left -= part
        found.append(InLine(priority, -(-jobs * part // units), min(part, _MOST_UNITS), since_ms))
    many = len(found) - _MOST_TIERS
    if many <= 0:
        return found
    together = found[: many + 1]
    return [_together(together[-1].priority, together), *found[many + 1 :]]


def _others_wait(before: Claim, claim: _Standing, now_ms: int) -> bool:
    """Return whether what the governor believes of the line is clearly off.

    That is: by a tenth of the jobs of a priority, or a quarter of the age of its first, or more.
    """
    past, now = before.tiers or [], claim.tiers
    if [tier.priority for tier in past] != [tier.priority for tier in now]:
        return True
    if _differ(before.at_gates, claim.at_gates):
        return True
    for old, new in zip(past, now, strict=True):
        if _differ(old.jobs, new.jobs):
            return True
        if abs(new.since_ms - old.since_ms) > max(1_000, (now_ms - new.since_ms) // 4):
            return True
    return False


def _differ(before: int, now: int) -> bool:
    return abs(now - before) * 10 > max(before, 10)


def _wanted(limits: Limits, meter: Meter | None, waiting: int, now_ms: int, ways: Ways) -> int:
    held = 0 if meter is None else meter.units
    if limits.pause is not None:
        return held
    more = waiting
    if meter is not None and meter.refused is not None:
        more += max(meter.refused.units, meter.refused.before)
    for kind, limit in limits.windows:
        used = 0 if meter is None else window_used(meter, kind, now_ms)
        more = min(more, max(0, limit - used))
    if limits.max_active is not None:
        more = min(more, max(0, limits.max_active - held))
    if ways.asks_for_usable:
        soon = passes_within(limits, meter or Meter(), now_ms, SOON_MS)
        more = more if soon is None else min(more, soon)
    return min(held + more, 1_000_000_000)
