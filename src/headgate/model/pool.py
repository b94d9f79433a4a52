"""What ledgers and the governor of a pool tell each other, and what a pool is."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from headgate.model.contract import Contract, Message, Millis, Name

Units = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""How much of a resource."""

Weight = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""A share relative to the others of the pool."""


class Strategy(StrEnum):
    """How a pool divides its capacity."""

    EQUAL = "equal"
    PROPORTIONAL = "proportional"
    PRIORITY = "priority"
    RESERVED = "reserved"
    FIXED = "fixed"
    MAX_LIMIT = "max_limit"
    UNLIMITED = "unlimited"


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


class Claim(Message):
    """What a ledger has and wants of one resource of a pool.

    Attributes:
        held: Units held now.
        wanted: Units that it would hold now if the pool had no end: held and waiting.
        share: What it may claim, with overrides and reservations as they are now.
    """

    held: Units = 0
    wanted: Units = 0
    share: Share = Share()


class Demand(Message):
    """A ledger to the governor of a pool (signal ``demand``), whenever it changes.

    Attributes:
        pool: The pool.
        tenant: Whose ledger.
        incarnation: Of the ledger; a restored one knows no allocation until it gets a new one.
        revision: Of the ledger: the later of two messages has the higher one.
        sequence: The last allocation that the ledger has taken; 0: none in this incarnation.
        claims: By resource.
    """

    pool: Name
    tenant: Name
    incarnation: int
    revision: int
    sequence: int = 0
    claims: dict[Name, Claim]


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
    """

    pool: Name
    sequence: Annotated[int, Field(ge=1)]
    incarnation: int = 0
    units: dict[Name, Units] = {}
    enforced: bool = True
    why: str = ""
    capacity: dict[Name, Units] = {}
    allocated: dict[Name, Units] = {}


class Damping(Contract):
    """How re-allocation is kept calm. A guarantee is given back at once, whatever this says.

    Attributes:
        dead_zone: An allocation is not changed for less than this share of it.
        share_per_round: Of what a borrower is to lose, this share is taken in each round.
        min_hold_ms: What was raised is not cut before this time.
        round_ms: Rounds are at least so far apart.
        demand_half_life_ms: Demand counts at once when it rises, and falls by half in this time.
    """

    dead_zone: Annotated[float, Field(ge=0, le=1)] = 0.1
    share_per_round: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_hold_ms: Millis = 2_000
    round_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    demand_half_life_ms: Millis = 5_000


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
    """

    capacity: dict[Name, Units] = {}
    strategy: Strategy = Strategy.PROPORTIONAL
    tenants: dict[Name, Name | None] = {}
    groups: dict[Name, GroupShare] = {}
    enforced: bool = True
    damping: Damping = Damping()
    history_half_life_ms: Annotated[int, Field(ge=1_000)] | None = None
    source: Literal["listed", "none"] = "none"
