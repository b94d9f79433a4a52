"""Why a job was refused or waits: a closed list, the most structural reason first."""

from enum import StrEnum

from headgate.model.contract import Message


class ReasonCode(StrEnum):
    """What stands in the way, ranked: where several apply, the first one is named."""

    TAKEN_OUT = "taken_out"
    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_RESOURCE = "unknown_resource"
    SUSPENDED = "suspended"
    FORCED_OPEN = "forced_open"
    CAN_NEVER_FIT = "can_never_fit"
    BREAKER_OPEN = "breaker_open"
    PROBES_BUSY = "probes_busy"
    RAMP = "ramp"
    SHED = "shed"
    IN_FLIGHT = "in_flight"
    RATE = "rate"
    WINDOW = "window"
    QUOTA_USED_UP = "quota_used_up"
    POOL_USED_UP = "pool_used_up"
    QUEUED = "queued"
    WAITED_TOO_LONG = "waited_too_long"
    UNAVAILABLE = "unavailable"


class Reason(Message):
    """Which rule said no, with its numbers.

    Attributes:
        code: The rule.
        message: The rule in a sentence, with numbers, for people.
        resource: Of which resource the numbers are, where a request may need several; null: not
            said, as by those who know of one only.
        limit: What the rule allows, in units.
        used: What is used of it, in units.
        needed: What was asked for, in units.
        position: Place in the queue, 1 is next; only while waiting.
        endless: Nobody knows when that changes: people have to end it, or a pool has to give more.
            What stands beside it as ``retry_at_ms`` is only when to look again.
    """

    code: ReasonCode
    message: str
    resource: str | None = None
    limit: int | None = None
    used: int | None = None
    needed: int | None = None
    position: int | None = None
    endless: bool = False
