"""What a proposed configuration would change, and for whom."""

from typing import Annotated, Literal

from pydantic import Field

from headgate.model.contract import Contract, Message, Name
from headgate.model.pool import CapacityOverride, Condition, Strategy, Units
from headgate.model.quota import QuotaChanges

Seen = Literal["live", "saved", "new"]
"""Where the present comes from: the governor; Postgres; there is no such pool yet."""


class WhatIf(Contract):
    """A pool as it might be; what is not said stays as it is.

    Attributes:
        capacity: Units by resource; also in place of what operators have set.
        strategy: How it is divided.
        quotas: What would be different in the quotas of its tenants, by tenant and resource.
    """

    capacity: Annotated[dict[Name, Units], Field(max_length=50)] = {}
    strategy: Strategy | None = None
    quotas: Annotated[dict[Name, dict[Name, QuotaChanges]], Field(max_length=500)] = {}


class PlannedChange(Message):
    """One difference between what runs and what is proposed.

    Attributes:
        action: What is done.
        target: To what, such as ``ledger/acme``.
        lines: The fields that differ; of what is new, or goes, those that are not as by default.
    """

    action: Literal["create", "update", "remove"]
    target: str
    lines: list[str]


class TenantForecast(Message):
    """What one tenant would have of one resource of a pool, in units.

    Attributes:
        tenant: Who.
        resource: Of what.
        held: Held now.
        wanted: Held, and waited for as far as its own limits would let that pass.
        allocated: What the pool gives it now; null: it is not part of the pool, or this is new.
            That may be more than its part, as long as nobody else wants it.
        before: What the same division gives it on this demand as all is configured now; null where
            ``allocated`` is.
        target: What it would be given on the same demand.
        difference: ``target`` less ``before``, or else less what it holds.
        waiting: Jobs in line now.
        unblocked: Of these, about so many could begin at once.
        blocked: About so many jobs that could begin now would have to wait.
        over: What it holds above ``target``: nothing is taken back, nothing granted until it is.
    """

    tenant: str
    resource: str
    held: int
    wanted: int
    allocated: int | None
    before: int | None = None
    target: int
    difference: int
    waiting: int = 0
    unblocked: int = 0
    blocked: int = 0
    over: int = 0


class PoolForecast(Message):
    """A proposed pool, divided on the demand of now.

    Attributes:
        pool: Its name.
        source: Where the present comes from.
        strategy: The proposed one.
        enforced: Whether it would limit anybody.
        capacity_before: Units by resource now; empty: it is new.
        capacity: Units by resource then.
        tenants: Who would have what.
        leaves: Tenants that would no longer share it. What they hold is taken off the capacity
            until it is back, as ``conditions`` say.
        override: What operators have set instead of the capacity, now and then.
        conditions: What to know of the division.
    """

    pool: str
    source: Seen
    strategy: Strategy
    enforced: bool
    capacity_before: dict[str, int]
    capacity: dict[str, int]
    tenants: list[TenantForecast]
    leaves: list[str] = []
    override: CapacityOverride | None = None
    conditions: list[Condition] = []


class Forecast(Message):
    """What ``headgate plan`` tells.

    Attributes:
        changes: What would be applied.
        below_usage: Limits that would be below what is held, in sentences.
        pools: Who would gain and lose, by pool.
        at_ms: When this was reckoned.
    """

    changes: list[PlannedChange]
    below_usage: list[str]
    pools: list[PoolForecast]
    at_ms: int
