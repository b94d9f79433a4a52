"""The local activities by which workflows reach the gate of their process."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from temporalio import activity

from headgate.gate.protocol import AnyGate
from headgate.model.consistency import not_listed
from headgate.model.entity import ADMIT, RELEASE
from headgate.model.ledger import Admit, Decision, Release
from headgate.orchestrator.errors import invalid_request


class GateActivities:
    """Activities on one gate.

    Args:
        gate: Returns the gate, once it is running.
        downstreams: That there are, perhaps with ``*`` for all others; None: nobody said.
    """

    def __init__(
        self,
        gate: Callable[[], Awaitable[AnyGate]],
        downstreams: Collection[str] | None = None,
    ) -> None:
        self._gate = gate
        self._downstreams = downstreams

    def all(self) -> Sequence[Callable[..., Any]]:
        """Return them, to be registered on a worker."""
        return (self.admit, self.release)

    @activity.defn(name=ADMIT)
    async def admit(self, request: Admit) -> Decision:
        """Ask the gate whether a job may go on.

        Raises:
            ApplicationError: ``headgate.InvalidRequest``: there is no such downstream.
        """
        if self._downstreams is not None and request.downstream is not None:
            mistake = not_listed(request.downstream, self._downstreams)
            if mistake is not None:
                raise invalid_request(f"governance.permit(): {mistake}")
        return await (await self._gate()).admit(request)

    @activity.defn(name=RELEASE)
    async def release(self, message: Release) -> None:
        """Give back what a job held."""
        await (await self._gate()).release(message)
