"""What a pool is, and what its governor, the ledgers and the operators tell each other."""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from headgate.model.alert_rules import AlertRules, AlertsView
from headgate.model.contract import Actor, Contract, Count, Message, Millis, Name, Why
from headgate.model.entity import IfRevision
from headgate.model.limits import BackpressurePolicy, PressureView, SheddingPolicy, SlotUse

Units = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""How much of a resource."""

Weight = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""A share relative to the others of the pool."""


MOST_NAMED: Final = 200
"""Members of a pool that its governor names in an answer: Temporal would not take thousands."""


class Strategy(StrEnum):
    """How a pool divides its capacity."""

    EQUAL = "equal"
    PROPORTIONAL = "proportional"
    PRIORITY = "priority"
    RESERVED = "reserved"
    FIXED = "fixed"
    MAX_LIMIT = "max_limit"
    UNLIMITED = "unlimited"


GUARANTEEING: Final = (Strategy.RESERVED, Strategy.PRIORITY)
"""Strategies that look at guarantees."""

WEIGHING: Final = (Strategy.PROPORTIONAL, Strategy.PRIORITY, Strategy.RESERVED, Strategy.MAX_LIMIT)
"""Strategies that look at how much a weight is, and so at the past, which changes weights."""


def _strategy(value: Any) -> Strategy:
    """Read a strategy: strict validation would want the enum itself, which no file has."""
    names = [strategy.value for strategy in Strategy]
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"is no strategy: write {', '.join(names[:-1])} or {names[-1]}")
    return Strategy(value)


StrategyName = Annotated[Strategy, BeforeValidator(_strategy)]
"""A strategy by its name, as it is written in files."""


class Share(Message):
    """What a tenant, or a group of tenants, may claim of a resource of a pool.

    Attributes:
        weight: Its part relative to the others'.
        priority: The higher tier is served first, with the strategy ``priority``.
        guaranteed: Units that it has whenever it wants them.
        borrow_limit: Units above the guarantee at most; null: no limit.
        lend_limit: Units of an unused guarantee that others may use at most; null: all of them.
        maximum: Units it may hold at most, whatever the pool has; null: no limit.
    """

    weight: Weight = 1.0
    priority: Annotated[int, Field(ge=-1_000, le=1_000)] = 0
    guaranteed: Units = 0
    borrow_limit: Units | None = None
    lend_limit: Units | None = None
    maximum: Units | None = None


class Tier(Message):
    """Those of one priority who wait.

    Attributes:
        priority: Theirs; higher is served first.
        jobs: How many wait.
        units: What they need.
        since_ms: Since when the first of them has waited.
    """

    priority: Annotated[int, Field(ge=-1_000, le=1_000)]
    jobs: Count
    units: Units
    since_ms: Millis


class Claim(Message):
    """What a ledger has and wants of one resource of a pool.

    Attributes:
        held: Units held now.
        wanted: Units that it would hold now if the pool had no end: held and waiting.
        next: Units that the next in line needs at once; 0: nobody waits.
        share: What it may claim, with overrides and reservations as they are now.
        tiers: Who waits in line for the pool, highest priority first; null: of a ledger that does
            not say.
        at_gates: Units that calls wait for at gates, which ask for larger blocks.
        at_best: The most that it may ever claim, and the least that it may ever not lend, with all
            reservations and overrides there are, and without throttles; null: there are none, so it
            is as ``share`` says.
    """

    held: Units = 0
    wanted: Units = 0
    next: Units = 0
    share: Share = Share()
    tiers: list[Tier] | None = None
    at_gates: Units = 0
    at_best: Share | None = None

    @property
    def ever(self) -> Share:
        """Return what it may ever claim."""
        return self.at_best or self.share


class Demand(Message):
    """A ledger to the governor of a pool (signal ``demand``), whenever it changes.

    Attributes:
        pool: The pool.
        tenant: Whose ledger.
        incarnation: Of the ledger; a restored one knows no allocation until it gets a new one.
        revision: Of the ledger: the later of two messages has the higher one.
        sequence: The last allocation that the ledger has taken; 0: none in this incarnation.
        claims: By resource.
        slots: Of the workers whose gates exchange with the ledger; null: not known, or idle.
    """

    pool: Name
    tenant: Name
    incarnation: int
    revision: int
    sequence: int = 0
    claims: dict[Name, Claim]
    slots: SlotUse | None = None


class TierRoom(Message):
    """How many units of one priority of a tenant may wait."""

    priority: Annotated[int, Field(ge=-1_000, le=1_000)]
    units: Units


class MayWait(Message):
    """What of a tenant's work may wait while there is too much; see ``limits.shedding``.

    Attributes:
        below: What has a lower priority may not wait, unless ``tiers`` names it.
        tiers: Units that may wait, by priority, and one job even if it is larger, unless it is 0.
            One that is not named, and not below: any.
        flow: One job of each priority that is below and not named may wait, so that it does not
            starve.
        asked: Units that wait in the whole pool; for people.
        room: Units that may; for people.
        used: What the tenant held lately on average, in micro-units; for people.
    """

    below: Annotated[int, Field(ge=-1_000, le=1_000)]
    tiers: list[TierRoom] = []
    flow: bool = False
    asked: Annotated[int, Field(ge=0)] = 0
    room: Annotated[int, Field(ge=0)] = 0
    used: Annotated[int, Field(ge=0)] = 0

    def room_at(self, priority: int) -> int | None:
        """Return how many units of a priority may wait; None: any."""
        for tier in self.tiers:
            if tier.priority == priority:
                return tier.units
        return int(self.flow) if priority < self.below else None


class AtMost(Message):
    """What a tenant could hold of a resource, as if nobody else wanted any of it.

    Attributes:
        units: How many.
        why: What keeps it from more, in words.
        share: What the tenant may ever claim: this holds only as long as that is so.
    """

    units: Units
    why: str
    share: Share


class Allocation(Message):
    """The governor of a pool to a ledger (signal ``allocate``). The ledger answers with a demand.

    Attributes:
        pool: The pool.
        sequence: Rises with every allocation, across restarts of the governor.
        incarnation: Of the ledger that it is for; 0: for whichever runs.
        units: What the tenant may hold, by resource; a resource that is not named: nothing.
        enforced: False: the pool only observes; shown, and limits nothing.
        why: In a sentence, what the division was made by; for people.
        capacity: Units of the whole pool, by resource; for people.
        allocated: Units that all tenants together have been given, by resource; for people.
        whole: Units that the pool has when the downstream that it follows is well, by resource:
            a job that is larger than that never fits. Not named: as in ``capacity``.
        pressure: How full the pool is; that it is there asks the ledger to tell of it when others
            wait, and not only when more or less is wanted.
        may_wait: What may wait, by resource; not named: anything.
        guarantees: The strategy goes by guarantees, so that ``borrow_limit`` limits what the tenant
            could ever hold. False also of governors that do not say.
        at_most: What the tenant could ever hold, by resource: a job that is larger never fits. Not
            named: ``whole``, or not known.
    """

    pool: Name
    sequence: Annotated[int, Field(ge=1)]
    incarnation: int = 0
    units: dict[Name, Units] = {}
    enforced: bool = True
    why: str = ""
    capacity: dict[Name, Units] = {}
    allocated: dict[Name, Units] = {}
    whole: dict[Name, Units] = {}
    pressure: PressureView | None = None
    may_wait: dict[Name, MayWait] = {}
    guarantees: bool = False
    at_most: dict[Name, AtMost] = {}


class Damping(Contract):
    """How re-allocation is kept calm. A guarantee is given back at once, whatever this says.

    Attributes:
        dead_zone: An allocation is not changed for less than this share of it.
        share_per_round: Of what borrowers are to lose, this share is taken in each round.
        min_hold_ms: What was raised is not cut before this time.
        round_ms: Rounds are at least so far apart.
        demand_half_life_ms: What was wanted lately counts half after this time: a tenant keeps so
            much at hand as long as nobody else wants it.
        headroom: As long as the pool has some to spare, a tenant is given this share more than it
            wants, so that its next job need not wait for a round.
    """

    dead_zone: Annotated[float, Field(ge=0, le=1)] = 0.1
    share_per_round: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_hold_ms: Millis = 2_000
    round_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    demand_half_life_ms: Annotated[int, Field(ge=1)] = 5_000
    headroom: Annotated[float, Field(ge=0, le=10)] = 0.25


class GroupShare(Share):
    """A group of tenants in one pool, with its share of every resource of it.

    Attributes:
        parent: The group that it is part of; null: the pool itself.
    """

    parent: Name | None = None


class PoolSettings(Contract):
    """The applied configuration of one pool, as its governor receives it.

    Attributes:
        capacity: Units by resource; several: divided by dominant shares.
        strategy: How.
        tenants: Who shares it, with the group of each or null.
        groups: By name.
        enforced: False: observe only.
        damping: How calmly.
        history_half_life_ms: Who used little lately comes first, with usage counting half after
            this time; null: the past does not matter.
        source: ``listed`` while the configuration names the pool, ``none`` once it does not.
        follows: The downstream whose adaptive limit is the capacity when it is lower.
        backpressure: When producers are told to slow down.
        shedding: How much may wait under pressure; null: as much as likes.
        alerts: When people are told of something; None: applied before there were rules.
        unlent: Units of the guarantee of a tenant that others may never use, where there are any.
            Its ledger says more, but only once it has spoken.
    """

    capacity: dict[Name, Units] = {}
    strategy: Strategy = Strategy.PROPORTIONAL
    tenants: dict[Name, Name | None] = {}
    groups: dict[Name, GroupShare] = {}
    enforced: bool = True
    damping: Damping = Damping()
    history_half_life_ms: Annotated[int, Field(ge=1_000)] | None = None
    source: Literal["listed", "none"] = "none"
    follows: Name | None = None
    backpressure: BackpressurePolicy = BackpressurePolicy()
    shedding: SheddingPolicy | None = None
    alerts: AlertRules | None = None
    unlent: dict[Name, Units] = {}


class PoolCommand(Message):
    """What an operator tells the governor of a pool.

    Attributes:
        id: The same for every attempt, so that it is done once.
        action: ``set_capacity``: the pool has so many units. ``throttle``: the pool has this share
            of its capacity, set or configured. ``resume``: end all that was set. What was set
            before for longer than this is back when this ends.
        actor: Who.
        reason: Why; for the audit.
        if_revision: Refuse it if people have set something since.
        capacity: With ``set_capacity``: units by resource; those not named stay.
        share: With ``throttle``.
        for_ms: How long it holds; null: until ``resume``.
        dry_run: Answer what it would be, change nothing.
    """

    id: Annotated[str, Field(min_length=1, max_length=200)]
    action: Literal["set_capacity", "throttle", "resume"]
    actor: Actor
    reason: Why
    if_revision: IfRevision = None
    capacity: dict[Name, Units] = {}
    share: Annotated[float, Field(ge=0, lt=1)] | None = None
    for_ms: Annotated[int, Field(ge=1_000, le=365 * 86_400_000)] | None = None
    dry_run: bool = False

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.action == "set_capacity" and not self.capacity:
            raise ValueError("set_capacity needs a capacity, such as {scan: 40}")
        if self.action == "throttle" and self.share is None:
            raise ValueError("throttle needs a share, such as 0.5")
        return self


class CapacityOverride(Message):
    """A capacity that an operator has set.

    Attributes:
        capacity: Units by resource, where set.
        share: What is left of what lies beneath, set or configured, where it is a cut.
        actor: Who.
        reason: Why.
        since_ms: Since when.
        until_ms: Until when; null: until ``resume``.
    """

    capacity: dict[Name, Units] = {}
    share: float | None = None
    actor: str
    reason: str
    since_ms: int
    until_ms: int | None = None


class Followed(Message):
    """What is known of the downstream that a pool follows.

    Attributes:
        downstream: Which one.
        limit: Calls of the whole fleet that may be in flight; null: its breaker knows of no limit.
        since_ms: Since when the limit is so.
        revision: Of the breaker, when it last said so.
    """

    downstream: str
    limit: int | None
    since_ms: int
    revision: int


class Condition(Message):
    """Something about a division that people should know, such as ``OVERCOMMITTED``."""

    type: str
    message: str


class MemberView(Message):
    """One tenant in a pool, for people. All by resource.

    Attributes:
        held: Units held, as last told.
        wanted: Units wanted, as last told.
        demand: What is wanted, or was lately; it falls more slowly.
        target: What the last division gave.
        allocated: What the ledger has been told it may hold.
        ceiling: What it may hold until it has confirmed the last cut.
        guaranteed: Its guarantee.
        weight: Its weight.
        group: Its group.
        stopped: Its ledger does not run, as far as is known. What it last held still counts, as
            its jobs may still be running, until the ledger runs again and says what it holds.
        waiting: Jobs in line and at gates, by resource, as last told.
        waiting_since_ms: Since when the first of them has waited; null: none waits.
        may_wait: What may wait under pressure, by resource; not named: anything.
    """

    held: dict[str, int] = {}
    wanted: dict[str, int] = {}
    demand: dict[str, int] = {}
    target: dict[str, int] = {}
    allocated: dict[str, int] = {}
    ceiling: dict[str, int] = {}
    guaranteed: dict[str, int] = {}
    weight: float = 1.0
    group: str | None = None
    stopped: bool = False
    waiting: dict[str, int] = {}
    waiting_since_ms: int | None = None
    may_wait: dict[str, MayWait] = {}


class PoolView(Message):
    """A pool as queries return it and snapshots summarise it.

    Attributes:
        pool: Its name.
        settings: What is applied.
        capacity: Units by resource, with what operators have set and the limit that it follows.
        override: What they have set last, as far as it holds.
        beneath: What else they have set: that which holds longer, so that it is back when what lies
            over it ends; the last of it next.
        follows: The limit that it follows; null: it follows none, or has not heard of it yet.
        pressure: How full it is.
        malformed: Signals that could not be used.
        members: By tenant.
        left_out: How many more members there are than are named.
        unheard: Tenants whose ledgers have not answered yet; nothing is raised until they have.
        left: What those who share it no more may still hold, by tenant and resource.
        conditions: Of the last division.
        rounds: How many divisions there have been.
        divided_at_ms: When the last one was; 0: never.
        revision: Rises with every change.
        incarnation: How often the governor has been restored.
        alerts: What people were told of, and what could not be delivered.
        message: Only in the answer to a command: what it does to what was set before, and of how
            much a cut is.
    """

    pool: str
    settings: PoolSettings
    capacity: dict[str, int]
    override: CapacityOverride | None = None
    beneath: list[CapacityOverride] = []
    follows: Followed | None = None
    pressure: PressureView = PressureView()
    malformed: int = 0
    members: dict[str, MemberView] = {}
    left_out: int = 0
    unheard: list[str] = []
    left: dict[str, dict[str, int]] = {}
    conditions: list[Condition] = []
    rounds: int = 0
    divided_at_ms: int = 0
    revision: int
    incarnation: int
    alerts: AlertsView = AlertsView()
    message: str = ""

    @property
    def set_by_people(self) -> list[CapacityOverride]:
        """Return all that operators have set, that which lies over the others last."""
        return [] if self.override is None else [*self.beneath, self.override]
