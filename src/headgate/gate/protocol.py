"""What the orchestrator asks of a gate: ``Gate`` answers it, and so does the one for tests."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from headgate.gate.gate import Call
from headgate.gate.outcomes import Ended
from headgate.gate.slots import WorkerSlots
from headgate.gate.ticket import Refusal, Ticket
from headgate.model.breaker import Verdict
from headgate.model.lease import LeaseHolder
from headgate.model.ledger import Admit, Decision, Release
from headgate.model.outcomes import OutcomeRules


class AnyDownstream(Protocol):
    """What is called; see ``Downstream``."""

    @property
    def verdict(self) -> Verdict:
        """What its breaker lets pass."""
        ...


class AnyLane(Protocol):
    """The way of calls to one downstream for one tenant; see ``Lane``."""

    @property
    def downstream(self) -> AnyDownstream:
        """What is called."""
        ...

    def enter(self, units: int = 1, hold_ms: int = 0) -> Ticket | None:
        """Let a call pass if there is nothing to consider; None: ask ``wait``."""
        ...

    async def wait(
        self,
        units: int,
        tenant: str,
        key: str,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
        job: LeaseHolder | None = None,
    ) -> Ticket | Refusal:
        """Let a call pass, perhaps after a while, or say why not."""
        ...

    async def wait_under(
        self,
        begin: Callable[[], Awaitable[Ticket | Refusal]],
        units: int,
        tenant: str,
        key: str,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
    ) -> Ticket | Refusal:
        """The same for a call under a permit, which its downstream has let pass already."""
        ...

    def leave(self, ticket: Ticket) -> bool:
        """Count a call that ended well, if that is all there is to it; False: ask ``settle``."""
        ...

    def settle(self, ticket: Ticket, ended: Ended) -> None:
        """Take the end of a call, however it was."""
        ...


class AnyJobs(Protocol):
    """What jobs hold until they end; see ``JobHolds``."""

    def holds(self, run_id: str, tenant: str, resource: str) -> bool:
        """Return whether a run holds units of a tenant's resource."""
        ...

    def called(self, run_id: str, tenant: str, resource: str) -> None:
        """Count a call of a job that holds units here, which was made here and nowhere else."""
        ...

    def close(self, run_id: str, held: Sequence[tuple[str, str]], calls: int) -> None:
        """Give back all that a run holds: its workflow has closed."""
        ...


class AnyGate(Protocol):
    """Answers admission in this process; see ``Gate``."""

    id: str
    is_running: bool
    slots: WorkerSlots

    @property
    def jobs(self) -> AnyJobs:
        """What jobs hold until they end."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run for the block."""
        ...

    def call_soon(self, do: Callable[[], None]) -> None:
        """Do something in the gate's thread; may be called in any other."""
        ...

    async def admit(self, request: Admit) -> Decision:
        """Decide whether a job may go on."""
        ...

    async def release(self, message: Release) -> None:
        """Give back what a job holds, or withdraw what it asked for."""
        ...

    def release_soon(self, message: Release) -> None:
        """The same without waiting."""
        ...

    async def begin(self, call: Call, key: str) -> Ticket | Refusal:
        """Let a call under a job's permit pass or not, right before it is made."""
        ...

    def rules(self, call: Call) -> OutcomeRules:
        """Return how outcomes of a call are classified."""
        ...

    def end(self, call: Call, ticket: Ticket, ended: Ended) -> None:
        """Record how a call under a job's permit ended."""
        ...

    def lane(self, downstream: str, tenant: str, resource: str | None) -> AnyLane:
        """Return the way of calls to a downstream for a tenant, out of its quota of a resource."""
        ...

    async def hold_for_job(
        self,
        workflow_id: str,
        run_id: str,
        tenant: str,
        resource: str,
        units: int,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
        is_first: bool = True,
    ) -> Refusal | None:
        """Have a job hold units until it ends; return why it cannot, or None."""
        ...
