"""A governance worker whose Notifier is a folder: ``... QUEUE FOLDER``.

It notes what comes in the file ``came``, and takes it once there is a file ``takes``.
"""

import asyncio
import os
import sys
from pathlib import Path

from temporalio import activity
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from headgate.activities.snapshots import SnapshotActivities
from headgate.devstack.stack import TEMPORAL_VARIABLE
from headgate.model.entity import NOTIFY, Notification
from headgate.orchestrator.governance_parts import WORKFLOWS
from headgate.orchestrator.sandbox import with_passthrough
from headgate.store.address import DATABASE_URL
from headgate.store.database import Database


async def main(queue: str, folder: Path) -> None:
    """Run until killed."""

    @activity.defn(name=NOTIFY)
    async def notify(notification: Notification) -> None:
        taken = (folder / "takes").exists()
        for alert in notification.alerts:
            with (folder / ("taken" if taken else "came")).open("a") as file:
                file.write(alert.model_dump_json() + "\n")
        if not taken:
            raise ConnectionError("the Notifier is away")

    client = await Client.connect(
        os.environ[TEMPORAL_VARIABLE], data_converter=pydantic_data_converter
    )
    async with Database(os.environ[DATABASE_URL]) as database:
        snapshots = SnapshotActivities(database)
        await Worker(
            client,
            task_queue=queue,
            workflows=[*WORKFLOWS],
            activities=[snapshots.restore, snapshots.save, notify],
            workflow_runner=with_passthrough(SandboxedWorkflowRunner()),
        ).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
