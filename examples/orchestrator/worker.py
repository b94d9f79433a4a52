"""The worker: ``python worker.py``."""

import asyncio
import os

from calls import attest, evaluate, scan
from jobs import ReleaseJob
from temporalio.client import Client
from temporalio.worker import Worker


async def main() -> None:
    """Run until interrupted."""
    address = os.environ.get("TEMPORAL_ADDRESS", "localhost:7233")
    client = await Client.connect(address)
    worker = Worker(
        client,
        task_queue="releases",
        workflows=[ReleaseJob],
        activities=[scan, attest, evaluate],
    )
    await worker.run()


asyncio.run(main())
