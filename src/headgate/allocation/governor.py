"""The governor of one pool: demand in, allocations out, and never more than there is."""

from collections.abc import Mapping
from typing import Final

from headgate.alerts.desk import Desk
from headgate.allocation.active import Active
from headgate.allocation.assumed import assume
from headgate.allocation.bounds import Bounds
from headgate.allocation.capacities import Capacities
from headgate.allocation.demands import as_worth, changes_nothing, smooth
from headgate.allocation.governor_record import GovernorRecord, Member
from headgate.allocation.governor_view import pool_view
from headgate.allocation.groups import Groups
from headgate.allocation.left import (
    as_leaving,
    heard,
    leave,
    leaving,
    let_go,
    return_to_ask,
    without_left,
)
from headgate.allocation.members import ceiling_of
from headgate.allocation.overrides import ends_with
from headgate.allocation.pressure import PoolPressure
from headgate.allocation.shares import Shares
from headgate.allocation.standings import Standings
from headgate.allocation.telling import Telling
from headgate.allocation.watch import Watch
from headgate.allocation.ways import Ways
from headgate.decay import MICRO
from headgate.model.audit import HEADGATE, AuditEntry
from headgate.model.limits import CapacityNews, PressureLevel, PressureView
from headgate.model.pool import (
    GUARANTEEING,
    Allocation,
    CapacityOverride,
    Demand,
    Followed,
    PoolSettings,
    PoolView,
    Strategy,
)

REVISIONS_PER_INCARNATION: Final = 1_000_000_000


class Governor:
    """Divides a pool: every decision a function of its record, a message and time.

    Times are Unix milliseconds. What the ledgers may hold together never passes the capacity: an
    allocation is raised only out of what no ledger can still use. A cut counts from the moment
    that the ledger has confirmed it, and then only as far as it has come below it.

    What each is to have is for ``Shares`` to say, the steps from what each has are for
    ``Standings``, and what ledgers are told goes through ``Telling``. None of these holds any truth
    that is not in the record, so a governor may be made anew from it at any time.

    Args:
        record: What it remembers.
        ways: How it goes on, today's way unless said.

    Attributes:
        record: All it remembers; may be stored at any time between two calls.
    """

    def __init__(self, record: GovernorRecord, ways: Ways | None = None) -> None:
        self.record = record
        self._ways = ways or Ways()
        # What follows only saves work, and holds no truth of its own.
        self._capacities = Capacities(record)
        self._watch = Watch(record)
        self._telling = Telling(record, self._capacities)
        # Until when a round would do nothing, unless something has been said or given since.
        self._quiet: tuple[int, int, int] = (-1, 0, 0)
        self._said = 0  # how often something has been said that matters
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forget what is known only for the settings that were."""
        record = self.record
        self._active = Active(record)
        groups = Groups(record.settings, self._active)
        ways = self._ways
        self._shares = Shares(record, self._active, groups, ways)
        self._bounds = Bounds(record, self._capacities, groups, is_off=not ways.knows_most)
        self._standings = Standings(record, self._active, groups, self._shares, ways)
        self._pressure = PoolPressure(record)

    @classmethod
    def begin(
        cls, pool: str, settings: PoolSettings, incarnation: int, ways: Ways | None = None
    ) -> "Governor":
        """Return a governor without a past. Ledgers may hold units already, so all are asked."""
        base = incarnation * REVISIONS_PER_INCARNATION
        record = GovernorRecord(
            pool=pool, settings=settings, revision=base, incarnation=incarnation, sequence=base
        )
        governor = cls(record, ways)
        governor._ask(settings.tenants)
        assume(record)
        return governor

    @classmethod
    def restore(
        cls, record: GovernorRecord, incarnation: int, ways: Ways | None = None
    ) -> "Governor":
        """Go on from a saved record, above every sequence there may have been.

        What was allocated since the snapshot is not known, so nothing is raised until every
        ledger has confirmed what it goes by.
        """
        record.incarnation = incarnation
        record.revision = record.sequence = incarnation * REVISIONS_PER_INCARNATION
        record.asked_for_limit = False
        governor = cls(record, ways)
        if governor._ways.asks_who_left:
            return_to_ask(record)
        governor._ask({**record.settings.tenants, **record.members})
        return governor

    # What comes in ---------------------------------------------------------------------------

    def configure(self, settings: PoolSettings, now_ms: int, *, as_said: bool = True) -> None:
        """Take new settings; who is no longer named leaves, who is new is asked what it holds.

        Args:
            settings: What holds from now on.
            now_ms: Unix time.
            as_said: See ``left.leave``.
        """
        record = self.record
        new = [tenant for tenant in settings.tenants if tenant not in record.settings.tenants]
        if settings.follows != record.settings.follows:
            record.followed, record.asked_for_limit = None, False
        meant = self._meaning()
        record.settings = settings
        unheard = record.unheard if self._ways.asks_who_left else ()
        leave(record, settings.tenants, now_ms, unheard, as_said=as_said)
        if self._ways.as_before:
            record.left.clear()
        record.unheard = [tenant for tenant in record.unheard if tenant in record.members]
        self._ask(new)
        assume(record)
        self._said += 1
        self._telling.begin_anew()
        self._begin_anew()
        for tenant in leaving(record):
            self._allocate(tenant, {})  # it is to grant no more, and to say what it holds
        if self._meaning() != meant and not self._ways.as_before:
            # The same numbers mean something else to the ledgers.
            for tenant, member in sorted(record.members.items()):
                self._allocate(tenant, dict(member.allocated))
        record.revision += 1
        record.told_revision = record.revision
        record.unsettled = True
        self.advance(now_ms)

    def demand(self, message: Demand, now_ms: int) -> None:
        """Take in what a ledger holds and wants, and which allocation it goes by."""
        record = self.record
        leaves = message.tenant not in record.settings.tenants
        if leaves and message.tenant not in record.members:
            record.strangers += 1
            if heard(record, message, now_ms):
                self._said += 1
                record.revision += 1
                record.unsettled = True
                self.advance(now_ms)
            return
        if leaves:
            message = as_leaving(message)
        elif not self._ways.as_before:
            message = as_worth(message)
        member = record.members.get(message.tenant)
        if member is None:
            member = record.members[message.tenant] = Member()
        if (message.incarnation, message.revision) < (member.incarnation, member.revision):
            return
        matters = not changes_nothing(record, member, message)
        self._heard(message.tenant)
        smooth(member, record.settings, now_ms)
        if message.incarnation != member.incarnation and message.sequence < member.sequence:
            # Restored: it goes by no allocation at all until it gets a new one.
            member.allocated, member.outstanding = {}, {}
            self._allocate(message.tenant, {})
        elif (
            not (message.sequence or member.to_tell or not member.sequence)
            and self._ways.knows_most
        ):
            # Back in the pool, so it goes by none either; or this and the last one have crossed.
            self._allocate(message.tenant, dict(member.allocated))
        member.incarnation, member.revision = message.incarnation, message.revision
        for resource, claim in message.claims.items():
            if resource in member.claims and claim.held > member.claims[resource].held:
                member.left_out_ms.pop(resource, None)  # it had its turn
        member.claims = dict(sorted(message.claims.items()))
        member.slots = message.slots
        member.told_at_ms, member.stopped = now_ms, False
        for resource, claim in member.claims.items():
            member.smoothed[resource] = max(member.smoothed.get(resource, 0), claim.wanted * MICRO)
        if message.sequence == member.sequence:
            member.acknowledged, member.outstanding = True, {}
            if message.tenant in record.unheard:
                record.unheard.remove(message.tenant)
        self._active.add(message.tenant)
        self._pressure.heard(message.tenant, now_ms)
        if self._pressure.is_to_hear(message.tenant):
            self._allocate(message.tenant, dict(member.allocated))
        record.revision += 1
        if matters:
            self._said += 1
            record.unsettled = True
        self.advance(now_ms)

    def follow(self, news: CapacityNews, now_ms: int) -> None:
        """Take in the limit of the downstream that the pool follows; old news changes nothing."""
        record = self.record
        if news.downstream != record.settings.follows:
            return
        known = record.followed
        if known is not None and news.revision <= known.revision:
            return
        same = known is not None and known.limit == news.limit
        record.followed = Followed(
            downstream=news.downstream,
            limit=news.limit,
            since_ms=known.since_ms if known is not None and same else now_ms,
            revision=news.revision,
        )
        record.revision += 1
        if not same:
            record.unsettled = True
            self._said += 1
        self.advance(now_ms)

    def advance(self, now_ms: int) -> None:
        """Let time do what it does: end what people have set, and divide when it is time."""
        for override in self.record.set_by_people:
            if override.until_ms is not None and override.until_ms <= now_ms:
                before = self.whole()
                self._set([one for one in self.record.set_by_people if one is not override])
                self.record.audit.append(
                    AuditEntry(
                        at_ms=now_ms,
                        actor=HEADGATE,
                        reason=override.reason,
                        action="capacity_ended",
                        target=f"governor/{self.record.pool}",
                        before={"capacity": before},
                        after={"capacity": self.whole()},
                        request_id=f"{override.since_ms}",
                    )
                )
        # Before the division: what is told here may make one due.
        self._look_at_pressure(now_ms)
        if self.record.unsettled and now_ms >= self._next_round_ms():
            self._divide(now_ms)
        guarantees = self.record.settings.strategy in GUARANTEEING and self.enforces
        looked_at = self._active.members if guarantees else list
        if self._watch.look(looked_at, self.capacity(), now_ms):
            self.record.revision += 1

    def set_capacity(self, override: CapacityOverride | None) -> None:
        """Have another capacity than there is, or the configured one again: then all set ends."""
        if override is None:
            self._set([])
            return
        resources = self.record.settings.capacity
        outlasting = [
            one
            for one in self.record.set_by_people
            if self._ways.stacks and not ends_with(one, override, resources)
        ]
        self._set([*outlasting, override])

    def _set(self, overrides: list[CapacityOverride]) -> None:
        self.record.override = overrides[-1] if overrides else None
        self.record.beneath = overrides[:-1]
        self.record.revision += 1
        self._said += 1
        self.record.unsettled = True

    # What goes out ---------------------------------------------------------------------------

    def has_to_tell(self) -> bool:
        """Return whether there is anybody to tell."""
        return self._telling.has_to_tell()

    def to_tell(self) -> list[str]:
        """Return the tenants whose ledgers have yet to be told their allocation, cuts first."""
        return self._telling.to_tell()

    def allocation_of(self, tenant: str) -> Allocation:
        """Return what to tell the ledger of ``tenant``."""
        return self._telling.allocation_of(tenant, self.enforces, self.pressure())

    def told(self, tenant: str, sequence: int, runs: bool) -> None:
        """Note that the ledger of ``tenant`` has been told, or that it does not run.

        One that does not run holds nothing more than it was known to, and speaks up when it does.
        What it was known to hold goes on counting: its jobs may still be running.
        """
        if not self._telling.told(tenant, sequence):
            return
        record, member = self.record, self.record.members[tenant]
        member.stopped = not runs
        if not runs:
            member.allocated, member.outstanding, member.acknowledged = {}, {}, True
            member.smoothed, member.claims = (
                {},
                {
                    resource: claim.model_copy(update={"wanted": 0, "tiers": None})
                    for resource, claim in member.claims.items()
                },
            )
            member.may_wait, member.told_level = {}, PressureLevel.NORMAL
            member.at_most = {}
            self._pressure.look_at(tenant)
            if tenant in record.unheard:
                record.unheard.remove(tenant)
            self._said += 1
            self._heard(tenant)
            record.unsettled = True
        record.revision += 1

    # What can be asked -----------------------------------------------------------------------

    def next_deadline(self) -> int | None:
        """Return when ``advance`` next has something to do, or None."""
        found = self._next_round_ms() if self.record.unsettled else None
        times = (
            *(one.until_ms for one in self.record.set_by_people),
            self._pressure.next_deadline(self.capacity()),
            self.desk.next_deadline(),
        )
        for at_ms in times:
            if at_ms is not None and (found is None or at_ms < found):
                found = at_ms
        return found

    @property
    def desk(self) -> Desk:
        """Where alerts go out from."""
        return self._watch.desk

    def asks_for_limit(self) -> str | None:
        """Return the downstream whose breaker has yet to be asked for its limit, or None."""
        return None if self.record.asked_for_limit else self.record.settings.follows

    def asked_for_limit(self, downstream: str) -> None:
        """Note that the breaker of ``downstream`` has been asked."""
        if downstream == self.record.settings.follows:
            self.record.asked_for_limit = True

    @property
    def enforces(self) -> bool:
        """Whether allocations limit anybody, and are not only shown."""
        settings = self.record.settings
        return settings.enforced and settings.strategy is not Strategy.UNLIMITED

    def capacity(self) -> dict[str, int]:
        """Return the capacity by resource: what there is, or the limit that the pool follows."""
        return self._capacities.now()

    def whole(self) -> dict[str, int]:
        """Return the capacity by resource with what people have set, followed limits aside."""
        return self._capacities.whole()

    def pressure(self) -> PressureView:
        """Return how full the pool is."""
        return self._pressure.view()

    def ceiling(self, tenant: str, resource: str) -> int:
        """Return what the ledger of ``tenant`` may hold at most, as far as can be known."""
        return ceiling_of(self.record.members[tenant], resource)

    def view(self, most: int | None = None) -> PoolView:
        """Return the pool as people see it.

        Args:
            most: So many members are named at most, the first by name; None: all.
        """
        return pool_view(self.record, self._capacities, self.pressure(), self.desk, most)

    # Deciding --------------------------------------------------------------------------------

    def _heard(self, tenant: str) -> None:
        """Note that a member has or wants something else."""
        self._standings.look_at(tenant)
        self._shares.look_at(tenant)
        self._bounds.look_at(tenant)
        self._telling.look_at(tenant)

    def _ask(self, tenants: Mapping[str, object] | list[str]) -> None:
        """Tell ledgers what they have, so that they say what they hold and go by."""
        record = self.record
        unheard = set(record.unheard)
        record.unheard += [tenant for tenant in sorted(tenants) if tenant not in unheard]
        for tenant in sorted(tenants):
            member = record.members.setdefault(tenant, Member())
            # For whichever incarnation of the ledger runs: the one that was known may be gone.
            member.incarnation, member.revision = 0, -1
            self._allocate(tenant, dict(member.allocated))

    def _meaning(self) -> tuple[bool, bool]:
        """Return whether allocations limit anybody, and whether guarantees count."""
        settings = self.record.settings
        enforces = self.enforces if self._ways.knows_most else settings.enforced
        return enforces, settings.strategy in GUARANTEEING

    def _next_round_ms(self) -> int:
        record = self.record
        next_ms = record.divided_at_ms + record.settings.damping.round_ms
        said, sequence, until_ms = self._quiet
        if (said, sequence) == (self._said, record.sequence):
            return max(next_ms, until_ms)
        return next_ms

    def _divide(self, now_ms: int) -> None:
        record = self.record
        record.rounds += 1
        record.divided_at_ms = now_ms
        record.unsettled = False
        record.revision += 1
        if let_go(record, now_ms):
            self._telling.begin_anew()
            self._begin_anew()
        if record.settings.history_half_life_ms is not None:
            for _, member in self._active.members():
                smooth(member, record.settings, now_ms)
        capacity = without_left(record, self.capacity(), now_ms)
        for tenant in self._shares.renew(capacity, self._said, now_ms):
            self._standings.look_at(tenant)
        if self.enforces:
            steps = self._standings.steps(capacity, now_ms)
            record.unsettled = not steps.settled
            if steps.quiet_until_ms is not None:
                self._quiet = (self._said, record.sequence, steps.quiet_until_ms)
            for tenant, changed in sorted(steps.allocated.items()):
                self._give(tenant, record.members[tenant].allocated | changed, now_ms)
        else:
            for tenant, member in self._active.members():
                self._give(tenant, dict(member.target), now_ms)
        for tenant in self._bounds.renew():
            self._allocate(tenant, dict(record.members[tenant].allocated))
        self._active.forget_idle(now_ms)

    def _give(self, tenant: str, allocated: dict[str, int], now_ms: int) -> None:
        member = self.record.members[tenant]
        if allocated == member.allocated or _something(allocated) == _something(member.allocated):
            # Nothing is nothing, said or not: else one whose ledger does not run would be told of
            # it in each round for good.
            return
        if any(units > member.allocated.get(name, 0) for name, units in allocated.items()):
            member.raised_at_ms = now_ms
        self._allocate(tenant, allocated)

    def _allocate(self, tenant: str, allocated: dict[str, int]) -> None:
        self._telling.allocate(tenant, allocated, self._bounds.of(tenant))
        self._standings.look_at(tenant)

    def _look_at_pressure(self, now_ms: int) -> None:
        """Bring the level up to date, and have ledgers told what concerns them."""
        if self._pressure.is_off:
            return
        record, capacity = self.record, self.capacity()
        told: set[str] = set()
        if self._pressure.assess(capacity, now_ms):
            record.revision += 1
            told.update(tenant for tenant in record.members if self._pressure.is_to_hear(tenant))
        told.update(self._pressure.plan(capacity, now_ms))
        for tenant in sorted(told):
            self._allocate(tenant, dict(record.members[tenant].allocated))


def _something(units: Mapping[str, int]) -> dict[str, int]:
    """Return what there is more than nothing of."""
    return {resource: amount for resource, amount in units.items() if amount}
