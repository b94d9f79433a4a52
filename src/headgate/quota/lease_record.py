"""What a ledger remembers of the blocks that gates hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from headgate.model.lease import LeaseGrant


class InLine(NamedTuple):
    """Those of one priority who wait.

    Attributes:
        priority: Theirs.
        jobs: How many.
        units: What they need.
        since_ms: Since when the first of them has waited, Unix time.
    """

    priority: int
    jobs: int
    units: int
    since_ms: int


@dataclass(slots=True)
class LeaseJob:
    """A job that holds units out of a block.

    Attributes:
        workflow_id: The job.
        run_id: Its run.
        units: How many.
        since_ms: Since when the ledger knows.
        check_at_ms: When to ask Temporal whether it still runs.
    """

    workflow_id: str
    run_id: str
    units: int
    since_ms: int
    check_at_ms: int


@dataclass(slots=True)
class Lease:
    """A block of permits that one gate grants from.

    Attributes:
        resource: What is counted.
        gate: Who has it.
        term: Which of its blocks.
        number: Of its last ask.
        units: Units that may be out at once.
        counted: Units that count as held: what may be out now, as far as anybody can know.
        wanted: Units that the gate would like to have out.
        waiting: Units that calls wait for there.
        line: Of these, those of each priority, the highest first, as far as the gate says.
        in_use: Units that were out at the last ask.
        uses: Permits that were out then.
        started: Units ever taken out.
        grants: Permits ever taken out.
        denied: Requests ever refused there.
        starts: ``started`` may grow to this; None: not limited over time.
        until_ms: Until when the gate may grant from it.
        hold_ms: How long what it grants may stay out.
        served_ms: When it was last given any units; 0: never.
        is_over: Its time was over before it was renewed.
        jobs: Jobs that hold units of it, by permit id.
        ended: Of these, those that have closed; the gate is told.
        answer: To its last ask, so that a repeat is answered alike.
    """

    resource: str
    gate: str
    term: int
    number: int = 0
    units: int = 0
    counted: int = 0
    wanted: int = 0
    waiting: int = 0
    line: list[InLine] = field(default_factory=list)
    in_use: int = 0
    uses: int = 0
    started: int = 0
    grants: int = 0
    denied: int = 0
    starts: int | None = None
    until_ms: int = 0
    hold_ms: int = 0
    served_ms: int = 0
    is_over: bool = False
    jobs: dict[str, LeaseJob] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    answer: LeaseGrant | None = None

    @property
    def lacks(self) -> bool:
        """Whether calls wait at the gate."""
        return self.waiting > 0 and self.units < self.wanted

    @property
    def idle(self) -> int:
        """Units that count as held and that nobody uses, as far as the gate has said.

        Calls that waited there when it asked have taken what it was given.
        """
        return max(0, self.counted - self.in_use - self.waiting)

    @property
    def ends_at_ms(self) -> int:
        """When it next changes by itself: its time is over, or all that was out has to be back."""
        return self.until_ms + self.hold_ms if self.is_over else self.until_ms


def idle_units(leases: Iterable[Lease]) -> dict[str, int]:
    """Return what gates hold and do not use, by resource."""
    found: dict[str, int] = {}
    for lease in leases:
        if idle := lease.idle:
            found[lease.resource] = found.get(lease.resource, 0) + idle
    return found


def lease_key(resource: str, gate: str, term: int) -> str:
    """Return by what a record knows a block."""
    return f"{resource} {gate} {term}"
