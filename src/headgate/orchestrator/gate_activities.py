"""The local activities by which workflows reach the gate of their process."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from temporalio import activity

from headgate.gate.protocol import AnyGate
from headgate.model.entity import ADMIT, RELEASE
from headgate.model.ledger import Admit, Decision, Release


class GateActivities:
    """Activities on one gate.

    Args:
        gate: Returns the gate, once it is running.
    """

    def __init__(self, gate: Callable[[], Awaitable[AnyGate]]) -> None:
        self._gate = gate

    def all(self) -> Sequence[Callable[..., Any]]:
        """Return them, to be registered on a worker."""
        return (self.admit, self.release)

    @activity.defn(name=ADMIT)
    async def admit(self, request: Admit) -> Decision:
        """Ask the gate whether a job may go on."""
        return await (await self._gate()).admit(request)

    @activity.defn(name=RELEASE)
    async def release(self, message: Release) -> None:
        """Give back what a job held."""
        await (await self._gate()).release(message)
