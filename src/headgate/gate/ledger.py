"""What a gate does with one ledger: acquires and releases, many in one exchange."""

from collections.abc import Sequence
from itertools import count
from typing import Final

from headgate.gate.group_commit import GroupCommit
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Acquire, Decision, Exchange, ExchangeReply

_AT_ONCE: Final = 200
_GIVE_UP_S: Final = 5.0


class LedgerLink:
    """Group commit of acquires and releases to the ledger of one tenant.

    Args:
        gate: The gate's id.
        ledger: The workflow.
    """

    def __init__(self, gate: str, ledger: GovernanceWorkflow) -> None:
        self._gate = gate
        self._ledger = ledger
        self._number = count(1)
        self._commit: GroupCommit[Acquire | str, Decision | None] = GroupCommit(
            self._exchange, _AT_ONCE
        )

    async def acquire(self, request: Acquire) -> Decision:
        """Return the ledger's decision.

        Raises:
            UnavailableError: The ledger did not answer in time; whether it has granted is unknown,
                so the request must be released or asked again under the same id.
        """
        decision = await self._commit.ask(request)
        assert decision is not None
        return decision

    async def release(self, permit_id: str) -> None:
        """Give a permit back, or withdraw a request.

        Raises:
            UnavailableError: The ledger did not confirm in time.
        """
        await self._commit.ask(permit_id)

    async def close(self) -> None:
        """Return once nothing is under way."""
        await self._commit.idle()

    async def _exchange(self, asks: Sequence[Acquire | str]) -> list[Decision | None]:
        number = next(self._number)
        message = Exchange(
            gate=self._gate,
            number=number,
            acquires=[ask for ask in asks if isinstance(ask, Acquire)],
            releases=[ask for ask in asks if isinstance(ask, str)],
        )
        reply = await self._ledger.update(
            "exchange", message, f"{self._gate}:{number}", ExchangeReply, _GIVE_UP_S
        )
        if not reply.ready:
            raise UnavailableError("the ledger is being restored from Postgres; ask again")
        decisions = iter(reply.decisions)
        return [next(decisions) if isinstance(ask, Acquire) else None for ask in asks]
