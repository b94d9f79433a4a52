"""What a ledger remembers: plain data, carried across continue-as-new and into snapshots."""

from dataclasses import dataclass, field
from typing import Literal

from headgate.alerts.episode import Episode
from headgate.alerts.forecast import Pace
from headgate.alerts.usage import UsageLevel
from headgate.model.alert import Alert
from headgate.model.alert_rules import AlertRules
from headgate.model.audit import AuditEntry
from headgate.model.entity import EntityOptions
from headgate.model.ledger import CommandReply, Decision, Resolution
from headgate.model.pool import Allocation, Demand
from headgate.model.quota import Quota, QuotaOverride, Rate, Throttle
from headgate.model.settings import LedgerSettings
from headgate.quota.lease_record import Lease
from headgate.quota.past import GateMark, Memory, fingerprint

WindowKind = Literal["per_hour", "per_day", "per_month"]


@dataclass(slots=True)
class Permit:
    """The right of one workflow to run one job.

    Attributes:
        resource: What it counts against.
        units: How much of it.
        workflow_id: The holder.
        run_id: The holder's run.
        granted_at_ms: Since when.
        expires_at_ms: When it ends unless it is resolved before.
        check_at_ms: When to ask Temporal whether the holder is still running.
        also: What else it holds, in units by resource.
        namespace: Of the holder; empty: that of the ledger.
        is_asked_for: It has come to its end, and its holder is being looked after: it goes on if
            that one still runs.
    """

    resource: str
    units: int
    workflow_id: str
    run_id: str
    granted_at_ms: int
    expires_at_ms: int
    check_at_ms: int
    also: dict[str, int] = field(default_factory=dict)
    namespace: str = ""
    is_asked_for: bool = False

    @property
    def needs(self) -> list[tuple[str, int]]:
        """All that it holds: (resource, units)."""
        first = [(self.resource, self.units)]
        return [*first, *self.also.items()] if self.also else first


@dataclass(slots=True)
class TurnedAway:
    """A waiter that will never get its turn, until it has been told.

    Attributes:
        workflow_id: Who waited.
        run_id: The waiting run.
        decision: What it is told.
        namespace: As of a permit.
    """

    workflow_id: str
    run_id: str
    decision: Decision
    namespace: str = ""


@dataclass(slots=True)
class Waiter:
    """A request that waits for its turn.

    Attributes:
        resource: What it waits for.
        units: How much of it.
        workflow_id: Who waits.
        run_id: The waiting run.
        priority: Higher is served first.
        order: Place in the order of arrival.
        since_ms: Since when it waits.
        until_ms: How long it is willing to.
        also: What else it needs, in units by resource; all is granted together.
        namespace: As of a permit.
        check_at_ms: When to ask Temporal whether it still runs; 0: it is not looked after.
    """

    resource: str
    units: int
    workflow_id: str
    run_id: str
    priority: int
    order: int
    since_ms: int
    until_ms: int
    also: dict[str, int] = field(default_factory=dict)
    namespace: str = ""
    check_at_ms: int = 0

    @property
    def needs(self) -> list[tuple[str, int]]:
        """All that it needs: (resource, units)."""
        first = [(self.resource, self.units)]
        return [*first, *self.also.items()] if self.also else first

    def turned_away(self, decision: Decision) -> TurnedAway:
        """Return it as one that will never get its turn."""
        return TurnedAway(self.workflow_id, self.run_id, decision, self.namespace)


@dataclass(slots=True)
class Window:
    """What was granted in a calendar window.

    Attributes:
        used: Units.
        ends_at_ms: When it ends; computed once, when it begins.
        pace: How fast it is being used; None: nobody wants to know.
    """

    used: int
    ends_at_ms: int
    pace: Pace | None = None


@dataclass(slots=True)
class Refused:
    """What was lately refused because the pool had no more: demand that stands in no line.

    Attributes:
        units: In the present stretch of time.
        before: In the stretch before.
        since_ms: When the present stretch began.
        until_ms: When all of it is forgotten.
    """

    units: int
    before: int
    since_ms: int
    until_ms: int


@dataclass(slots=True)
class PoolAccount:
    """What a ledger and the governor of a pool have told each other.

    Attributes:
        allocation: What the tenant may hold; None: nothing heard in this incarnation.
        sequence: Allocations up to this one are old news.
        told: The demand that the governor was last told.
        lower_since_ms: Since when less is wanted than it was told.
        left: What was held of resources when they left the pool, and has not come back as far as
            the governor was told. (Ledgers that began before the patch
            ``headgate-held-when-left`` went by the allocation, which may have been lowered below.)
    """

    allocation: Allocation | None = None
    sequence: int = 0
    told: Demand | None = None
    lower_since_ms: int | None = None
    left: dict[str, int] = field(default_factory=dict)

    @property
    def gives(self) -> bool:
        """Whether the pool gives anything."""
        return self.allocation is not None and any(self.allocation.units.values())


@dataclass(slots=True)
class Meter:
    """What has been taken of one resource.

    Permits: ``granted == held + released + expired + reclaimed`` after every step.

    Attributes:
        units: Units held.
        held: Permits held.
        tat: The rate's theoretical arrival time, see ``gcra``.
        rate: The rate in whose ticks ``tat`` counts; kept while there is none, so that taking a
            rate away and setting it again forgives nothing.
        windows: Calendar windows that something was granted in.
        refused: What the pool had no room for.
        granted: Permits granted since the ledger began, like those that follow.
        released: Given back by their holders.
        expired: Not given back in time.
        reclaimed: Taken back because their holders had closed.
        denied: Requests refused.
        hold_ms: A moving average of how long permits are held; for estimates only.
        usage: The alert level of ``max_active``, while there are no alert rules.
        denying_since_ms: Since when requests were refused and none granted.
        denied_at_ms: When one was last refused.
    """

    units: int = 0
    held: int = 0
    tat: int = 0
    rate: Rate | None = None
    windows: dict[WindowKind, Window] = field(default_factory=dict)
    refused: Refused | None = None
    granted: int = 0
    released: int = 0
    expired: int = 0
    reclaimed: int = 0
    denied: int = 0
    hold_ms: int = 0
    usage: UsageLevel = field(default_factory=UsageLevel)
    denying_since_ms: int | None = None
    denied_at_ms: int = 0


@dataclass(slots=True)
class LedgerRecord:
    """The state of one ledger.

    Attributes:
        tenant: Whose.
        quotas: By resource, ``*`` for the ones not named; None: the tenant is unknown.
        quota_source: Where the quotas come from.
        revision: Rises with every change; starts at ``incarnation`` x 10^9.
        incarnation: How often the ledger has been restored.
        permits: Held, by id.
        waiters: Waiting, by id.
        meters: By resource.
        arrivals: How many requests have ever waited.
        ended: How requests ended, by the fingerprint of their id; a repeat is answered from it.
        denied: Denials by id; likewise.
        gates: How far each gate has come; see ``past``.
        places: Where in the order of turns each gate stands that comes these seconds.
        resolved: ``ended`` as it was up to 0.1.0's first histories, by id; read, never written.
        denials: ``denied`` of that time.
        wakes: When a waiter was granted its permit, by permit id, until it has been told.
        turned_away: Waiters that lost their place, by request id, until they have been told.
        alerts: The outbox: alerts that are not delivered yet.
        alerts_lost: Alerts that were collapsed into a summary.
        alert_sequence: Number of the last alert.
        alert_rules: When people are told of something; None: applied before there were rules.
        episodes: What people have been told of or will be, by the key of its alerts.
        pools: The pool of each resource that is shared.
        group: The group of the tenant.
        paused: Why the tenant is suspended.
        resource_throttles: Set for all tenants.
        overrides: Quotas for a time, by the id of the command; in force, or to come.
        throttles: Pauses and cuts of this tenant, likewise.
        accounts: What is known of pools, by name.
        commands: The last answers to operators, oldest first; a repeat is answered from it.
        audit: Changes made by people that are not saved yet, oldest first.
        audit_lost: Such changes that there was no room for.
        leases: Blocks in the hands of gates, by ``lease_key``.
        settled_at_ms: The time for which overrides, throttles and reservations were last looked at.
        told_revision: When people last set something.
    """

    tenant: str
    quotas: dict[str, Quota] | None
    quota_source: Literal["listed", "default", "none"]
    revision: int = 0
    incarnation: int = 0
    permits: dict[str, Permit] = field(default_factory=dict)
    waiters: dict[str, Waiter] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    arrivals: int = 0
    ended: Memory[Resolution] = field(default_factory=Memory)
    denied: Memory[Decision] = field(default_factory=Memory)
    gates: dict[str, GateMark] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    resolved: dict[str, Resolution] = field(default_factory=dict)
    denials: dict[str, Decision] = field(default_factory=dict)
    wakes: dict[str, int] = field(default_factory=dict)
    turned_away: dict[str, TurnedAway] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    alerts_lost: int = 0
    alert_sequence: int = 0
    alert_rules: AlertRules | None = None
    episodes: dict[str, Episode] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    paused: str | None = None
    resource_throttles: list[Throttle] = field(default_factory=list)
    overrides: dict[str, QuotaOverride] = field(default_factory=dict)
    throttles: dict[str, Throttle] = field(default_factory=dict)
    accounts: dict[str, PoolAccount] = field(default_factory=dict)
    commands: dict[str, CommandReply] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    audit_lost: int = 0
    settled_at_ms: int = 0
    leases: dict[str, Lease] = field(default_factory=dict)
    told_revision: int = 0


@dataclass(slots=True)
class LedgerInput:
    """The input of a ledger workflow.

    Attributes:
        tenant: Whose ledger it is.
        record: What the previous run carried over; None: restore from Postgres.
        saved_revision: The revision that Postgres has.
        options: How it keeps house.
        packed: In place of ``record`` when that is large; see ``quota.packed``.
    """

    tenant: str
    record: LedgerRecord | None = None
    saved_revision: int = -1
    options: EntityOptions = field(default_factory=EntityOptions)
    packed: str | None = None


def take_settings(record: LedgerRecord, settings: LedgerSettings) -> None:
    """Note what is configured."""
    record.quotas = dict(settings.quotas) if settings.quotas is not None else None
    record.quota_source = settings.source
    record.pools = dict(settings.pools)
    record.group = settings.group
    record.paused = settings.paused
    record.resource_throttles = list(settings.resource_throttles)
    record.alert_rules = settings.alerts


def take_old_memory(record: LedgerRecord) -> None:
    """Turn what a record of the old form remembers of past requests into the new form."""
    record.ended.recent |= {fingerprint(id): how for id, how in record.resolved.items()}
    record.denied.recent |= record.denials
    record.resolved, record.denials = {}, {}
