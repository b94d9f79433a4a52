"""Leases: blocks of permits that a ledger hands to a gate, which grants from them by itself."""

from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from headgate.model.contract import Message, Name
from headgate.model.reason import Reason

LEASE_MS: Final = 30_000
"""For how long a gate may grant from a block without asking again."""

LEASES_AT_ONCE: Final = 100
HOLDERS_AT_ONCE: Final = 200
MOST_HOLDERS: Final = 5_000
MOST_TIERS: Final = 20
"""Of so many priorities a gate says how much waits."""

MOST_UNITS: Final = 1_000_000_000
MOST_HOLD_MS: Final = 30 * 86_400_000
"""A call is thought to be over by then, however long its timeout is."""

Units = Annotated[int, Field(ge=0, le=MOST_UNITS)]
Total = Annotated[int, Field(ge=0, lt=2**53)]
Id = Annotated[str, Field(min_length=1, max_length=500)]


class WhenAway(StrEnum):
    """What holds when governance cannot be reached, once what is known is too old to go by."""

    FAIL_STATIC = "fail_static"
    FAIL_OPEN = "fail_open"
    FAIL_CLOSED = "fail_closed"


def _when_away(value: Any) -> WhenAway:
    """Read it as it is written in files: strict validation would want the enum itself."""
    names = [way.value for way in WhenAway]
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"is none of {', '.join(names)}: write one of them")
    return WhenAway(value)


WhenAwayName = Annotated[WhenAway, BeforeValidator(_when_away)]
"""By its name, as it is written in files."""


class LeaseHolder(Message):
    """A job that holds units out of a gate's block.

    Attributes:
        id: Of its permit.
        workflow_id: The job.
        run_id: Its run.
        units: How many.
    """

    id: Id
    workflow_id: Annotated[str, Field(min_length=1, max_length=1000)]
    run_id: Annotated[str, Field(max_length=100)] = ""
    units: Annotated[int, Field(ge=1, le=MOST_UNITS)] = 1


class WaitingCalls(Message):
    """Calls of one priority that wait at a gate.

    Attributes:
        priority: Theirs; higher is served first.
        calls: How many.
        units: What they need.
        waited_ms: For how long the first of them has waited.
    """

    priority: Annotated[int, Field(ge=-1_000, le=1_000)]
    calls: Annotated[int, Field(ge=1, le=1_000_000_000)]
    units: Annotated[int, Field(ge=1, le=MOST_UNITS)]
    waited_ms: Annotated[int, Field(ge=0, le=MOST_HOLD_MS)] = 0


class LeaseAsk(Message):
    """What a gate says of one of its blocks: what it has used, and what it would like.

    Totals count since the gate began, so that a message that comes twice counts once. Until the
    answer comes the gate uses no more than its ceilings.

    Attributes:
        resource: What is counted.
        term: Which block of this gate: one that was not renewed in time is over for good.
        number: Rises by one with every ask in the term, from 1.
        over: The gate grants nothing from it any more: it was not renewed in time, as far as the
            gate has heard. The ledger may have renewed it, and its answer got lost.
        wanted: Units that it would like to have out at once.
        ceiling: Units that it may have out at most until it hears the answer.
        in_use: Units that are out now.
        uses: Permits that are out now.
        started: Units that were ever taken out.
        grants: Permits that were ever taken out.
        denied: Requests that it has ever refused for want of these units.
        starts: Units that it would like to take out until it asks again; for what is limited over
            time.
        starts_ceiling: ``started`` will not be more than this until it hears the answer.
        waiting: Units that calls wait for at the gate, or have been refused lately and will come
            for again.
        largest: Units of the largest of these calls.
        line: Those of them that wait, by priority, the highest first; of too many, the highest.
        hold_ms: How long a unit that it takes out may stay out at most.
        holders: Jobs that have taken units out since it last said so. When the term is over, they
            hold permits of their own from then on, and do not count in ``in_use`` and ``uses``.
        gone: Ids of such jobs that have given them back.
    """

    resource: Name
    term: Annotated[int, Field(ge=1, lt=2**53)] = 1
    number: Annotated[int, Field(ge=1, lt=2**53)]
    over: bool = False
    wanted: Units = 0
    ceiling: Units = 0
    in_use: Units = 0
    uses: Units = 0
    started: Total = 0
    grants: Total = 0
    denied: Total = 0
    starts: Units = 0
    starts_ceiling: Total = 0
    waiting: Units = 0
    largest: Units = 0
    line: Annotated[list[WaitingCalls], Field(max_length=MOST_TIERS)] = []
    hold_ms: Annotated[int, Field(ge=0, le=MOST_HOLD_MS)] = 0
    holders: Annotated[list[LeaseHolder], Field(max_length=HOLDERS_AT_ONCE)] = []
    gone: Annotated[list[Id], Field(max_length=HOLDERS_AT_ONCE)] = []

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.in_use > self.started or self.uses > self.grants:
            raise ValueError("more is out than was ever taken out")
        if self.ceiling < self.in_use or self.starts_ceiling < self.started:
            raise ValueError("a ceiling is below what is used already")
        return self


class LineRoom(Message):
    """How much of one priority may wait at the gate while the pool is under pressure.

    Attributes:
        priority: Which calls.
        units: Units that may wait, and one call even if it is larger, unless it is 0.
        reason: What to tell those who may not.
        retry_in_ms: After what time they may come again.
    """

    priority: int
    units: int
    reason: Reason
    retry_in_ms: int


class LeaseGrant(Message):
    """The answer: the block as it is from now on.

    Attributes:
        resource: What is counted.
        term: Of the ask.
        number: Of the ask.
        is_over: The block is not to be had any more; the next one is another term.
        units: Units that may be out at once.
        starts: ``started`` may grow to this; null: it is not limited over time.
        for_ms: For how long, from when the gate asked.
        ask_in_ms: After what time it should ask again at the latest.
        reason: Why it is less than wanted.
        retry_in_ms: After what time there may be more.
        too_large: Why the largest call of the ask can never pass; it says what limit there is.
        turn_away: Of these priorities not all may wait; empty: whoever wants to.
        idle_ms: So long the gate may keep the block without using it; null: until it asks again.
        ended: Ids of jobs that have closed, or have given their units back elsewhere.
        leased: Permits of jobs may be taken out of the block as well.
        max_hold_ms: A permit of a job that is not given back by then expires.
        when_away: What the gate does when the lease is over and the ledger cannot be reached.
    """

    resource: Name
    term: int
    number: int
    is_over: bool = False
    units: int = 0
    starts: int | None = None
    for_ms: int = LEASE_MS
    ask_in_ms: int = LEASE_MS * 2 // 3
    reason: Reason | None = None
    retry_in_ms: int | None = None
    too_large: Reason | None = None
    turn_away: list[LineRoom] = []
    idle_ms: int | None = None
    ended: list[str] = []
    leased: bool = False
    max_hold_ms: int = 3_600_000
    when_away: WhenAway = WhenAway.FAIL_STATIC


class LeaseView(Message):
    """A block as people see it."""

    resource: str
    gate: str
    units: int
    counted: int
    in_use: int
    waiting: int
    until_ms: int
