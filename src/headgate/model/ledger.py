"""Messages between job, gate and ledger."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_serializer,
    model_validator,
)

from headgate.model.alert_rules import AlertRules, AlertsView
from headgate.model.contract import LAST_MS, Actor, Message, Millis, Name, Why
from headgate.model.entity import IfRevision
from headgate.model.lease import LEASES_AT_ONCE, LeaseAsk, LeaseGrant, LeaseView
from headgate.model.limits import PressureView, SlotUse
from headgate.model.quota import Quota, QuotaChanges, QuotaOverride, Rate, Throttle
from headgate.model.reason import Reason

MAX_BATCH: Final = 500
"""Acquires or releases in one exchange."""

RequestId = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
Priority = Annotated[int, Field(ge=-1_000, le=1_000)]


Needs = Annotated[dict[Name, Annotated[int, Field(ge=1, le=1_000_000_000)]], Field(max_length=20)]
"""Units by resource."""


class Holder(Message):
    """The workflow that asks for a permit and holds it.

    Attributes:
        workflow_id: Its id.
        run_id: Its run; empty: whichever runs.
        namespace: Where it runs; empty: where governance runs. One that runs elsewhere is not told
            when its turn comes: it asks again under the same id.
    """

    workflow_id: Annotated[str, Field(min_length=1, max_length=1000)]
    run_id: Annotated[str, Field(max_length=100)] = ""
    namespace: Annotated[str, Field(max_length=1000)] = ""


def require_each_once(resource: str, also: Mapping[str, int]) -> None:
    """Refuse needs in which a resource occurs twice."""
    if resource in also:
        raise ValueError(f"also names {resource} again: put all of it into units")


class Acquire(Message):
    """One request for a permit.

    Attributes:
        id: Chosen by the asker; the same id gets the same answer, and is the id of the permit.
        holder: Who will hold the permit.
        resource: What is counted.
        units: How much of it.
        also: What else is needed, in units by resource; all is granted together or nothing.
        wait_until_ms: Unix time until which the asker is willing to wait; null: it does not wait.
        priority: A higher one is served before a lower one that waits.
    """

    id: RequestId
    holder: Holder
    resource: Name
    units: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    also: Annotated[
        dict[Name, Annotated[int, Field(ge=1, le=1_000_000_000)]],
        Field(max_length=20),
    ] = Field(default_factory=dict)
    wait_until_ms: Millis | None = None
    priority: Priority = 0

    @model_validator(mode="after")
    def _each_resource_once(self) -> Self:
        require_each_once(self.resource, self.also)
        return self


class Admit(Message):
    """What a job asks its gate before dispatch: a permit of its tenant, a call to a downstream.

    Attributes:
        id: Of the request, and of the permit.
        holder: The job.
        tenant: For whom it runs.
        resource: What is counted.
        downstream: What it will call, if anything.
        units: How much of the resource.
        also: As in ``Acquire``.
        wait_until_ms: As in ``Acquire``.
        priority: As in ``Acquire``.
        held: The permit is held already (its turn came); only the downstream is asked for.
    """

    id: RequestId
    holder: Holder
    tenant: Name
    resource: Name
    downstream: Name | None = None
    units: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    also: Needs = {}
    wait_until_ms: Millis | None = None
    priority: Priority = 0
    held: bool = False


class Release(Message):
    """A permit that is given back, or a request that is withdrawn before it was answered."""

    id: RequestId
    tenant: Name
    downstream: Name | None = None


class Outcome(StrEnum):
    """How a request for a permit was answered."""

    GRANTED = "granted"
    WAITING = "waiting"
    DENIED = "denied"


class Decision(Message):
    """The answer to one request.

    Attributes:
        id: The request's.
        outcome: Granted; waiting (a ``headgate_granted`` signal follows); or denied.
        expires_at_ms: When the permit ends unless released; only when granted.
        retry_at_ms: When it makes sense to ask again, or null when it never does.
        reason: Why not, or why it waits.
        probe: The id of the probe of a half-open breaker that came with the permit.
        probe_epoch: The epoch of that probe.
        quiet: The job gives the permit back by a word to the gate of its process, without an event
            in its history.
    """

    id: RequestId
    outcome: Outcome
    expires_at_ms: Millis | None = None
    retry_at_ms: Millis | None = None
    reason: Reason | None = None
    probe: str | None = None
    probe_epoch: int | None = None
    quiet: bool = False


class Outlook(Message):
    """What a ledger says of a request that a breaker keeps away: by what it is, whatever that does.

    Attributes:
        reason: What stands before any breaker in the rank of reasons; null: nothing.
        retry_at_ms: When that may be different; null with a reason: never.
    """

    reason: Reason | None = None
    retry_at_ms: Millis | None = None


class Exchange(Message):
    """What a gate says to a ledger in one update: releases are done first, then acquires.

    Attributes:
        gate: Who says it.
        number: Higher with each exchange of this gate with this ledger; the same when it is
            repeated. By one that is not higher than the last, nothing new is granted. Null: not
            numbered.
        acquires: Requests for permits.
        releases: Permits that are given back, or requests that are withdrawn.
        leases: What the gate says of its blocks.
        took_ms: How long its last exchange with this ledger took.
        slots: Of the workers of its process; null: not known.
    """

    gate: Annotated[str, Field(min_length=1, max_length=200)]
    number: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    acquires: Annotated[list[Acquire], Field(max_length=MAX_BATCH)] = []
    releases: Annotated[list[RequestId], Field(max_length=MAX_BATCH)] = []
    leases: Annotated[list[LeaseAsk], Field(max_length=LEASES_AT_ONCE)] = []
    took_ms: Annotated[int, Field(ge=0)] = 0
    slots: SlotUse | None = None


class Hello(Message):
    """A gate will exchange with a ledger from now on; then it asks for its turn by query.

    Attributes:
        gate: Its id.
        leaves: It says goodbye instead: no turn has to be kept for it.
    """

    gate: Annotated[str, Field(min_length=1, max_length=200)]
    leaves: bool = False


class Turn(Message):
    """When a gate may exchange with a ledger, so that the server bears the exchanges of all gates.

    Attributes:
        begins_ms: Its turns begin at this remainder of Unix time, by the ledger's clock, divided by
            ``frame_ms``.
        lasts_ms: So long a turn lasts. 0: it may come at any time.
        frame_ms: So often it has a turn. Without turns: within this time it comes at a moment left
            to chance, so that gates that wake up together do not come together.
    """

    begins_ms: Annotated[int, Field(ge=0)] = 0
    lasts_ms: Annotated[int, Field(ge=0)] = 0
    frame_ms: Annotated[int, Field(ge=0)] = 0


class ExchangeReply(Message):
    """The answers, in the order of the acquires.

    Attributes:
        decisions: One for each acquire.
        revision: The ledger's revision after the exchange; rises with every change.
        ready: False when nothing was done because the ledger has not been restored yet.
        leases: The blocks from now on, in the order of what was said of them.
        gates: How many gates exchange with this ledger these days.
        leased: Of the resources of the acquires, those that come out of blocks from now on.
        turn: When the gate may come again.
        now_ms: The ledger's clock; 0: it did not say.
    """

    decisions: list[Decision]
    revision: int
    ready: bool = True
    leases: list[LeaseGrant] = []
    gates: int = 1
    leased: list[str] = []
    turn: Turn = Turn()
    now_ms: int = 0


class Grant(Message):
    """The signal that wakes a waiting job."""

    id: RequestId
    expires_at_ms: Millis


Resolution = Literal["released", "expired", "reclaimed"]


class PermitView(Message):
    """A held permit, as shown to people.

    ``also``: what else it holds, in units by resource; ``namespace``: as in ``Holder``.
    """

    id: str
    resource: str
    units: int
    also: dict[str, int] = {}
    workflow_id: str
    run_id: str
    granted_at_ms: int
    expires_at_ms: int
    namespace: str = ""

    def units_of(self, resource: str | None) -> int:
        """Return what it holds of a resource; of none that it names: of the first."""
        return self.also.get(resource or "", self.units)


class WaiterView(Message):
    """A waiting request, as shown to people.

    ``also``: what else it needs; ``namespace``: as in ``Holder``.
    """

    id: str
    resource: str
    units: int
    also: dict[str, int] = {}
    workflow_id: str
    priority: int
    since_ms: int
    position: int
    namespace: str = ""

    def units_of(self, resource: str | None) -> int:
        """Return what it needs of a resource; of none that it names: of the first."""
        return self.also.get(resource or "", self.units)


class Account(Message):
    """The permits of one resource since the ledger began: granted = held + the other three."""

    granted: int = 0
    released: int = 0
    expired: int = 0
    reclaimed: int = 0
    denied: int = 0
    held: int = 0


class WindowView(Message):
    """A calendar window as it was last touched; after ``ends_at_ms`` nothing of it is used."""

    used: int
    limit: int
    ends_at_ms: int


class LimitView(Message):
    """What limits a resource now: the quota with reservations, overrides and throttles.

    In JSON, what is not set is left out.

    Attributes:
        max_active: Units that may be held.
        allocated: Units that the pool lets the tenant hold; null when no pool limits it.
        pool: The pool of the resource.
        guaranteed: Units of the pool that it has whenever it wants them.
        rate: Units over time.
        windows: Calendar windows by field of the quota (``per_hour``, ...).
        paused: Why nothing is granted.
    """

    max_active: int | None = None
    allocated: int | None = None
    pool: str | None = None
    guaranteed: int = 0
    rate: Rate | None = None
    windows: dict[str, WindowView] = {}
    paused: str | None = None

    @model_serializer(mode="wrap")
    def _what_is_set(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = type(self).model_fields
        return {
            name: value
            for name, value in plain(self).items()
            if getattr(self, name) != defaults[name].default
        }


class LedgerSummary(Message):
    """What lists of many tenants show of a ledger; see ``LedgerView``.

    Of a saved view, only this is read for them.
    """

    tenant: str
    quota_source: Literal["listed", "default", "none"]
    accounts: dict[str, Account]
    units_held: dict[str, int]
    waiting: dict[str, int]
    revision: int
    limits: dict[str, LimitView] = {}
    overrides: list[QuotaOverride] = []
    throttles: list[Throttle] = []
    group: str | None = None
    paused: str | None = None
    leased: dict[str, int] = {}


class LedgerView(LedgerSummary):
    """A ledger as queries return it and snapshots summarise it.

    Attributes:
        tenant: Whose.
        quotas: As configured; in JSON without what has its default value.
        quota_source: Where they come from.
        accounts: The permits of each resource; ``*``: those of resources long out of use.
        units_held: By resource.
        waiting: Requests in line, by resource.
        revision: Of the ledger.
        incarnation: Of the ledger.
        limits: What holds now, by resource; see ``LimitView``.
        overrides: Quotas for a time, in force or to come.
        throttles: Pauses and cuts in force.
        pools: The pool of each resource that is shared, as configured.
        group: The group that the tenant is part of.
        paused: Why the tenant is suspended.
        resource_throttles: Pauses and cuts that hold for all tenants.
        pressure: How full its pools are, as their governors last said.
        leased: Of ``units_held``, those in blocks of gates that no job uses, as the gates last
            said; by resource, where there are any.
        alert_rules: When people are told of something, as applied.
        alerts: What they were told of, and what could not be delivered.
        waiting_units: What the requests in line need, by resource.
        told_revision: When people last set something.
    """

    quotas: dict[str, Quota] | None
    incarnation: int
    pools: dict[str, str] = {}
    resource_throttles: list[Throttle] = []
    pressure: dict[str, PressureView] = {}
    alert_rules: AlertRules | None = None
    alerts: AlertsView = AlertsView()
    waiting_units: dict[str, int] = {}
    told_revision: int = 0

    @field_serializer("quotas")
    def _briefly(self, quotas: dict[str, Quota] | None) -> dict[str, Any] | None:
        if quotas is None:
            return None
        return {
            name: quota.model_dump(mode="json", exclude_defaults=True)
            for name, quota in quotas.items()
        }


class LedgerPage(Message):
    """A ledger with its permits, its waiters and the blocks of gates (at most 500 of each)."""

    ledger: LedgerView
    permits: list[PermitView]
    waiters: list[WaiterView]
    leases: list[LeaseView] = []


class WhyView(Message):
    """Why a request waits, and who is in its way; or that it is held.

    Attributes:
        id: Of the request, and of the permit.
        tenant: Whose.
        resource: What it is for.
        units: How much of it.
        also: What else it needs.
        workflow_id: Who asks or holds.
        state: Whether it is held or waits.
        since_ms: Since when.
        expires_at_ms: When the permit ends, or the patience of the one who waits.
        position: Place in line, in the longest of its lines; 1 is next; only while it waits.
        reason: What stands in its way; only while it waits.
        retry_at_ms: When that may change; an estimate where ``reason.message`` says so. Null while
            it waits: nobody knows.
        holders: Up to 10 permits of what it waits for, the oldest first.
        ahead: Up to 10 requests that are served before it, the next first.
    """

    id: str
    tenant: str
    resource: str
    units: int
    also: dict[str, int] = {}
    workflow_id: str
    state: Literal["held", "waiting"]
    since_ms: int
    expires_at_ms: int
    position: int | None = None
    reason: Reason | None = None
    retry_at_ms: int | None = None
    holders: list[PermitView] = []
    ahead: list[WaiterView] = []


class SetOverride(Message):
    """Another quota for a time.

    Attributes:
        kind: ``override``.
        resource: Whose quota.
        changes: What is different, by field of the quota.
        begins_at_ms: From when; null: from now on.
        ends_at_ms: Until when.
        for_ms: How long it holds, from when it begins by the ledger's clock; ``ends_at_ms`` is then
            for ledgers that do not know of this.
    """

    kind: Literal["override"] = "override"
    resource: Name
    changes: QuotaChanges
    begins_at_ms: Millis | None = None
    ends_at_ms: Millis
    for_ms: Annotated[int, Field(ge=1, le=LAST_MS)] | None = None

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.begins_at_ms is not None and self.ends_at_ms <= self.begins_at_ms:
            raise ValueError("ends_at_ms is not after begins_at_ms: an override lasts for a time")
        return self


class SetThrottle(Message):
    """A cut of a resource, or of all.

    Attributes:
        kind: ``throttle``.
        resource: Of what; ``*``: of all that the tenant has.
        share: What is left of every limit, rounded down, but at least one unit of what was one or
            more; 0: nothing is granted.
        until_ms: When it ends by itself; null: when people end it.
    """

    kind: Literal["throttle"] = "throttle"
    resource: Name | Literal["*"]
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    until_ms: Millis | None = None


class SetPause(Message):
    """Nothing is granted until people resume."""

    kind: Literal["pause"] = "pause"
    resource: Name | Literal["*"]

    def until(self, at_ms: int | None) -> "SetPause | SetThrottle":
        """Return the same that ends by itself, which is a cut to nothing; null: it does not."""
        if at_ms is None:
            return self
        return SetThrottle(resource=self.resource, share=0.0, until_ms=at_ms)


class Resume(Message):
    """End every pause and cut that was set for exactly this resource, or for ``*``."""

    kind: Literal["resume"] = "resume"
    resource: Name | Literal["*"]


class Lift(Message):
    """End one override or throttle, by its id."""

    kind: Literal["lift"] = "lift"
    id: RequestId


class ReleasePermit(Message):
    """Take a permit from its holder, or a request out of the line."""

    kind: Literal["release"] = "release"
    permit: RequestId


LedgerAction = Annotated[
    SetOverride | SetThrottle | SetPause | Resume | Lift | ReleasePermit,
    Field(discriminator="kind"),
]


class LedgerCommand(Message):
    """What an operator tells a ledger.

    Attributes:
        id: The same for every attempt, so that it is done once; the id of what it sets.
        actor: Who.
        reason: Why; for the audit.
        action: What to do.
        if_revision: Refuse it if people have set something since.
        dry_run: Answer what it would be, change nothing.
        allow_below_usage: Do it also if a limit would then be below what is held.
    """

    id: Annotated[str, Field(min_length=1, max_length=200)]
    actor: Actor
    reason: Why
    action: LedgerAction
    if_revision: IfRevision = None
    dry_run: bool = False
    allow_below_usage: bool = False


class CommandReply(Message):
    """What became of a command.

    Attributes:
        id: The command's.
        accepted: Whether it was done, or would be in a dry run.
        message: In a sentence what was done, or why not.
        refused: The kind of refusal: ``invalid``: it makes no sense here; ``not_found``: there is
            no such thing; ``below_usage``: repeat it with ``allow_below_usage``;
            ``changed_since``: by people, since ``if_revision``.
        dry_run: Nothing was changed.
        before: What it changes, as it was.
        after: As it is then.
        revision: Of the ledger, afterwards.
    """

    id: str
    accepted: bool
    message: str
    refused: Literal["invalid", "not_found", "below_usage", "changed_since"] | None = None
    dry_run: bool = False
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    revision: int = 0
