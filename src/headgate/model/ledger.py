"""Messages between job, gate and ledger."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field

from headgate.model.contract import Message, Millis, Name
from headgate.model.quota import Quota
from headgate.model.reason import Reason

MAX_BATCH: Final = 500
"""Acquires or releases in one exchange."""

RequestId = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")]
Priority = Annotated[int, Field(ge=-1_000, le=1_000)]


class Holder(Message):
    """The workflow that asks for a permit and holds it."""

    workflow_id: Annotated[str, Field(min_length=1, max_length=1000)]
    run_id: Annotated[str, Field(max_length=100)] = ""


class Acquire(Message):
    """One request for a permit.

    Attributes:
        id: Chosen by the asker; the same id gets the same answer, and is the id of the permit.
        holder: Who will hold the permit.
        resource: What is counted.
        units: How much of it.
        wait_until_ms: Unix time until which the asker is willing to wait; null: it does not wait.
        priority: A higher one is served before a lower one that waits.
    """

    id: RequestId
    holder: Holder
    resource: Name
    units: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    wait_until_ms: Millis | None = None
    priority: Priority = 0


class Admit(Message):
    """What a job asks its gate before dispatch: a permit of its tenant, a call to a downstream.

    Attributes:
        id: Of the request, and of the permit.
        holder: The job.
        tenant: For whom it runs.
        resource: What is counted.
        downstream: What it will call, if anything.
        units: How much of the resource.
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
    """

    id: RequestId
    outcome: Outcome
    expires_at_ms: Millis | None = None
    retry_at_ms: Millis | None = None
    reason: Reason | None = None
    probe: str | None = None
    probe_epoch: int | None = None


class Exchange(Message):
    """What a gate says to a ledger in one update: releases are done first, then acquires."""

    gate: Annotated[str, Field(min_length=1, max_length=200)]
    acquires: Annotated[list[Acquire], Field(max_length=MAX_BATCH)] = []
    releases: Annotated[list[RequestId], Field(max_length=MAX_BATCH)] = []


class ExchangeReply(Message):
    """The answers, in the order of the acquires.

    Attributes:
        decisions: One for each acquire.
        revision: The ledger's revision after the exchange; rises with every change.
        ready: False when nothing was done because the ledger has not been restored yet.
    """

    decisions: list[Decision]
    revision: int
    ready: bool = True


class Grant(Message):
    """The signal that wakes a waiting job."""

    id: RequestId
    expires_at_ms: Millis


Resolution = Literal["released", "expired", "reclaimed"]


class PermitView(Message):
    """A held permit, as shown to people."""

    id: str
    resource: str
    units: int
    workflow_id: str
    run_id: str
    granted_at_ms: int
    expires_at_ms: int


class WaiterView(Message):
    """A waiting request, as shown to people."""

    id: str
    resource: str
    units: int
    workflow_id: str
    priority: int
    since_ms: int
    position: int


class Account(Message):
    """The permits of one resource since the ledger began: granted = held + the other three."""

    granted: int = 0
    released: int = 0
    expired: int = 0
    reclaimed: int = 0
    denied: int = 0
    held: int = 0


class LedgerView(Message):
    """A ledger as queries return it and snapshots summarise it."""

    tenant: str
    quotas: dict[str, Quota] | None
    quota_source: Literal["listed", "default", "none"]
    accounts: dict[str, Account]
    units_held: dict[str, int]
    waiting: dict[str, int]
    revision: int
    incarnation: int


class LedgerPage(Message):
    """A ledger with its permits and waiters (at most 500 of each)."""

    ledger: LedgerView
    permits: list[PermitView]
    waiters: list[WaiterView]
