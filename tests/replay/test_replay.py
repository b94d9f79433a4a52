"""Every recorded history replays: no change has altered what a running workflow does next."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from headgate import HeadgatePlugin
from headgate.devstack.replay import governance_replayer
from tests.jobs import ScanJob
from tests.replay.changed import ChangedBreaker
from tests.replay.record import HISTORIES

FILES = sorted(HISTORIES.glob("*.json"))


def history_of(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(file.stem, file.read_text())


def test_there_are_histories_to_replay() -> None:
    assert FILES, f"no histories in {HISTORIES}: run `make record` and commit what it writes"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    if "-job-" in file.stem:
        replayer = Replayer(workflows=[ScanJob], plugins=[HeadgatePlugin()])
    else:
        replayer = governance_replayer()
    await replayer.replay_workflow(history_of(file))


@pytest.mark.parametrize(
    "file", [file for file in FILES if "-breaker-" in file.stem and "-job-" not in file.stem]
)
async def test_a_workflow_that_was_changed_does_not_replay(file: Path) -> None:
    replayer = Replayer(workflows=[ChangedBreaker], plugins=[HeadgatePlugin()])
    result = await replayer.replay_workflow(history_of(file), raise_on_replay_failure=False)
    assert result.replay_failure is not None
