"""Replaying the histories of all that ran: the proof that the workflows are deterministic."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from headgate.gate.kinds import GOVERNANCE_WORKFLOWS
from headgate.orchestrator.governance_parts import WORKFLOWS
from headgate.orchestrator.plugin import HeadgatePlugin

_PAUSES_S: Final = (0.5, 2.0, 5.0)
_SLOW: Final = {
    RPCStatusCode.CANCELLED,  # what the SDK makes of a call that took too long
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNAVAILABLE,
}


@dataclass(slots=True)
class ReplayResult:
    """How many histories were replayed, and which failed and why.

    Attributes:
        checked: How many were replayed.
        failures: Which failed, and why.
        missing: Why there were not more; empty: these are all.
    """

    checked: int = 0
    failures: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def failed(self) -> int:
        """How many failed."""
        return len(self.failures)


def governance_replayer() -> Replayer:
    """Return a replayer of the governance workflows."""
    return Replayer(workflows=WORKFLOWS, plugins=[HeadgatePlugin()])


async def replay_all(client: Client, query: str = GOVERNANCE_WORKFLOWS) -> ReplayResult:
    """Replay every run of the workflows that ``query`` finds in the namespace.

    Where Temporal does not give one, those after it are left out as well.
    """
    result = ReplayResult()
    histories = _begun(_histories(client, query))
    try:
        async with governance_replayer().workflow_replay_iterator(histories) as replays:
            async for replay in replays:
                result.checked += 1
                if replay.replay_failure is not None:
                    result.failures.append(f"{_name(replay.history)}: {replay.replay_failure}")
    except RPCError as error:
        result.missing = f"Temporal: {error.message} ({error.status.name.lower()})"
    return result


async def _histories(client: Client, query: str) -> AsyncIterator[WorkflowHistory]:
    """Yield the history of every run; a server that is slow just now is asked again."""
    async for found in client.list_workflows(query, page_size=200):
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        for pause_s in (*_PAUSES_S, None):
            try:
                history = await handle.fetch_history()
            except RPCError as error:
                if pause_s is None or error.status not in _SLOW:
                    raise
                await asyncio.sleep(pause_s)
            else:
                yield history
                break


async def _begun(histories: AsyncIterator[WorkflowHistory]) -> AsyncIterator[WorkflowHistory]:
    """Leave out runs whose first workflow task is yet to come.

    There is nothing to replay in them, and the SDK's replayer would wait for ever for its end.
    """
    async for history in histories:
        if len(history.events) > 1:
            yield history


def _name(history: WorkflowHistory) -> str:
    return f"{history.workflow_id} run {history.run_id}"
