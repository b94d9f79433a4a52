"""What a governor remembers: plain data, carried across continue-as-new and into snapshots."""

from dataclasses import dataclass, field

from headgate.alerts.episode import Episode
from headgate.limits import Pressure, RecentUsage
from headgate.model.alert import Alert
from headgate.model.audit import AuditEntry
from headgate.model.entity import EntityOptions
from headgate.model.limits import PressureLevel, SlotUse
from headgate.model.pool import (
    AtMost,
    CapacityOverride,
    Claim,
    Condition,
    Followed,
    MayWait,
    PoolSettings,
)

Amounts = dict[str, int]
"""Units by resource."""


@dataclass(slots=True)
class Member:
    """What is known of one tenant of the pool.

    Attributes:
        incarnation: Of its ledger; 0: it has never said anything.
        revision: Of its ledger, when it last said something.
        claims: What it said, by resource.
        told_at_ms: When.
        smoothed: Its demand in micro-units; it falls more slowly than what it wants.
        smoothed_at_ms: When that was reckoned.
        target: What the last division gave it.
        allocated: What it was last told that it may hold.
        outstanding: The most it was told before, by allocations that it may still go by.
        sequence: Of the last allocation; 0: none.
        acknowledged: Whether the ledger has taken that one.
        raised_at_ms: When it was last given more.
        to_tell: The last allocation has not been sent yet.
        left_out_ms: Since when its share has been too small for its next job, by resource.
        usage: Micro-units used lately, if the pool looks back; see ``history``.
        stopped: Its ledger did not run when it was last told something.
        told_level: The pressure that it was last told of.
        may_wait: What of its work may wait, by resource; not named: anything.
        recent: What it held lately, by resource; only of a pool that refuses work under pressure.
        slots: Of the workers that run its jobs, as its ledger last said.
        at_most: What its ledger was last told that it could ever hold, by resource.
    """

    incarnation: int = 0
    revision: int = -1
    claims: dict[str, Claim] = field(default_factory=dict)
    told_at_ms: int = 0
    smoothed: Amounts = field(default_factory=dict)
    smoothed_at_ms: int = 0
    target: Amounts = field(default_factory=dict)
    allocated: Amounts = field(default_factory=dict)
    outstanding: Amounts = field(default_factory=dict)
    sequence: int = 0
    acknowledged: bool = True
    raised_at_ms: int = 0
    to_tell: bool = False
    left_out_ms: Amounts = field(default_factory=dict)
    usage: Amounts = field(default_factory=dict)
    stopped: bool = False
    told_level: PressureLevel = PressureLevel.NORMAL
    may_wait: dict[str, MayWait] = field(default_factory=dict)
    recent: dict[str, RecentUsage] = field(default_factory=dict)
    slots: SlotUse | None = None
    at_most: dict[str, AtMost] = field(default_factory=dict)


@dataclass(slots=True)
class Left:
    """Who shares the pool no more.

    Attributes:
        units: What it may still hold, by resource.
        heard_ms: When it last said so, or left.
        incarnation: Of its ledger, when it last said something.
        revision: Likewise.
    """

    units: Amounts
    heard_ms: int
    incarnation: int = 0
    revision: int = -1


@dataclass(slots=True)
class GovernorRecord:
    """The state of one governor.

    Attributes:
        pool: Its pool.
        settings: What is applied.
        revision: Rises with every change; starts at ``incarnation`` x 10^9.
        incarnation: How often the governor has been restored.
        sequence: Of the last allocation; starts there too.
        members: By tenant.
        unheard: Whose ledgers have not answered this incarnation yet, and may hold anything.
        override: A capacity that people have set: the last that holds.
        beneath: Others, which hold longer; that which lies over the others last.
        commands: The last commands of operators, so that a repeat does nothing.
        conditions: Of the last division.
        rounds: How many divisions there have been.
        divided_at_ms: When the last one was.
        unsettled: Something has changed since, or was left undone then.
        strangers: Demands of tenants that do not share the pool.
        audit: What people did, until Postgres has it.
        alerts: The outbox: alerts that are not delivered yet.
        alerts_lost: Alerts that were collapsed into a summary.
        alert_sequence: Number of the last alert.
        episodes: What people have been told of or will be, by the key of its alerts.
        followed: What is known of the downstream that the pool follows.
        asked_for_limit: The breaker of that downstream has been asked.
        pressure: How full the pool is.
        planned_ms: When it was last reckoned what may wait.
        malformed: Signals that could not be used.
        told_revision: When people last set something.
        left: What tenants who share the pool no more may still hold.
    """

    pool: str
    settings: PoolSettings
    revision: int = 0
    incarnation: int = 0
    sequence: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    unheard: list[str] = field(default_factory=list)
    override: CapacityOverride | None = None
    beneath: list[CapacityOverride] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    rounds: int = 0
    divided_at_ms: int = 0
    unsettled: bool = True
    strangers: int = 0
    audit: list[AuditEntry] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    alerts_lost: int = 0
    alert_sequence: int = 0
    episodes: dict[str, Episode] = field(default_factory=dict)
    followed: Followed | None = None
    asked_for_limit: bool = False
    pressure: Pressure = field(default_factory=Pressure)
    planned_ms: int = 0
    malformed: int = 0
    told_revision: int = 0
    left: dict[str, Left] = field(default_factory=dict)

    @property
    def set_by_people(self) -> list[CapacityOverride]:
        """All that people have set, that which lies over the others last."""
        return [] if self.override is None else [*self.beneath, self.override]


@dataclass(slots=True)
class GovernorInput:
    """The input of a governor workflow.

    Attributes:
        pool: Its pool.
        record: What the previous run carried over; None: restore from Postgres.
        packed: The same in JSON, compressed, where it would be long; see ``headgate.packed``.
        saved_revision: The revision that Postgres has.
        options: How it keeps house.
    """

    pool: str
    record: GovernorRecord | None = None
    saved_revision: int = -1
    options: EntityOptions = field(default_factory=EntityOptions)
    packed: str | None = None
