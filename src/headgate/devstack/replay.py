"""Replaying the histories of all that ran: the proof that the workflows are deterministic."""

from dataclasses import dataclass

from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from headgate.cli.worker import WORKFLOWS, workflow_runner


@dataclass(slots=True)
class ReplayResult:
    """How many histories were replayed, and which failed and why."""

    checked: int = 0
    failures: list[str] | None = None

    @property
    def failed(self) -> int:
        """How many failed."""
        return len(self.failures or ())


def governance_replayer() -> Replayer:
    """Return a replayer of the governance workflows."""
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=workflow_runner(),
    )


async def replay_all(client: Client) -> ReplayResult:
    """Replay every run of every governance workflow in the namespace."""
    result = ReplayResult(failures=[])
    executions = client.list_workflows(
        "WorkflowType IN ('BreakerWorkflow', 'LedgerWorkflow')", page_size=200
    )
    replayer = governance_replayer()
    async with replayer.workflow_replay_iterator(executions.map_histories()) as replays:
        async for replay in replays:
            result.checked += 1
            if replay.replay_failure is not None:
                assert result.failures is not None
                result.failures.append(f"{_name(replay.history)}: {replay.replay_failure}")
    return result


def _name(history: WorkflowHistory) -> str:
    return f"{history.workflow_id} run {history.run_id}"
