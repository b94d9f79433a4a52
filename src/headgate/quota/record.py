"""What a ledger remembers: plain data, carried across continue-as-new and into snapshots."""

from dataclasses import dataclass, field
from typing import Literal

from headgate.alerts.usage import UsageLevel
from headgate.model.alert import Alert
from headgate.model.entity import EntityOptions
from headgate.model.ledger import Decision, Resolution
from headgate.model.quota import Quota


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
    """

    resource: str
    units: int
    workflow_id: str
    run_id: str
    granted_at_ms: int
    expires_at_ms: int
    check_at_ms: int


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
    """

    resource: str
    units: int
    workflow_id: str
    run_id: str
    priority: int
    order: int
    since_ms: int
    until_ms: int


@dataclass(slots=True)
class Meter:
    """What has been taken of one resource.

    Permits: ``granted == held + released + expired + reclaimed`` after every step.

    Attributes:
        units: Units held.
        held: Permits held.
        tat: The rate's theoretical arrival time, see ``gcra``.
        granted: Permits granted since the ledger began, like those that follow.
        released: Given back by their holders.
        expired: Not given back in time.
        reclaimed: Taken back because their holders had closed.
        denied: Requests refused.
        hold_ms: A moving average of how long permits are held; for estimates only.
        usage: The alert level of ``max_active``.
    """

    units: int = 0
    held: int = 0
    tat: int = 0
    granted: int = 0
    released: int = 0
    expired: int = 0
    reclaimed: int = 0
    denied: int = 0
    hold_ms: int = 0
    usage: UsageLevel = field(default_factory=UsageLevel)


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
        resolved: How the last permits ended, oldest first; a repeat is answered from it.
        denials: The last denials, oldest first; likewise.
        wakes: When a waiter was granted its permit, by permit id, until it has been told.
        alerts: The outbox: alerts that are not delivered yet.
        alerts_lost: Alerts that the full outbox could not take.
        alert_sequence: Number of the last alert.
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
    resolved: dict[str, Resolution] = field(default_factory=dict)
    denials: dict[str, Decision] = field(default_factory=dict)
    wakes: dict[str, int] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    alerts_lost: int = 0
    alert_sequence: int = 0


@dataclass(slots=True)
class LedgerInput:
    """The input of a ledger workflow.

    Attributes:
        tenant: Whose ledger it is.
        record: What the previous run carried over; None: restore from Postgres.
        saved_revision: The revision that Postgres has.
        options: How it keeps house.
    """

    tenant: str
    record: LedgerRecord | None = None
    saved_revision: int = -1
    options: EntityOptions = field(default_factory=EntityOptions)
