"""An orchestrator worker to be killed: ``python -m tests.chaos.job_worker QUEUE``.

It runs the job workflows and answers their questions; what they call runs elsewhere.
"""

import asyncio
import signal
import sys

from temporalio.worker import Worker

from headgate import HeadgatePlugin
from headgate.cli.connect import connect_temporal
from tests.jobs import ScanJob


async def run(task_queue: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    client = await connect_temporal(plugins=[HeadgatePlugin()])
    async with Worker(client, task_queue=task_queue, workflows=[ScanJob]):
        await stopping.wait()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
