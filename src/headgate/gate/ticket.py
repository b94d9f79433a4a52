"""A call that was let pass, and the calls that ended well since they were last added up."""

from dataclasses import dataclass

from headgate.gate.block import Block
from headgate.model.reason import Reason


@dataclass(frozen=True, slots=True, eq=False)
class Era:
    """Under what a call was let pass; another object as soon as any of it is different.

    Attributes:
        epoch: Of the verdict.
        limit_epoch: Of the limit of calls in flight.
    """

    epoch: int
    limit_epoch: int = 0


class Ticket:
    """A call that was let pass.

    Not a dataclass: one is made for every call, and half the time of a decision went into making
    it.

    Attributes:
        era: Under what it was.
        began_s: When, by the gate's clock.
        block: From which units were taken for it, if any.
        units: How many.
        probe: The probe that it holds, if any.
    """

    __slots__ = ("began_s", "block", "era", "probe", "units")

    def __init__(self, era: Era, began_s: float, block: Block | None, units: int) -> None:
        self.era = era
        self.began_s = began_s
        self.block = block
        self.units = units
        self.probe: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that was not let pass: why, and when to try again (null: never, as things are)."""

    reason: Reason
    retry_at_ms: int | None


@dataclass(slots=True)
class Calm:
    """Calls of one era that ended well and in time, not added up yet.

    Attributes:
        calls: How many.
        duration_s: How long they took, together.
        squares: The sum of the squares of these durations.
        last_s: When the last of them ended, by the gate's clock.
    """

    calls: int = 0
    duration_s: float = 0.0
    squares: float = 0.0
    last_s: float = 0.0
