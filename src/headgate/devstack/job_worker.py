"""The demo's orchestrator worker: ``python -m headgate.devstack.job_worker``."""

import asyncio
import signal

import httpx2
from temporalio.worker import Worker

from headgate import HeadgatePlugin
from headgate.cli.connect import connect_temporal
from headgate.devstack.governance_options import demo_options
from headgate.devstack.jobs import TASK_QUEUE, Caller, DemoJob


async def run() -> None:
    """Run job workflows and their calls until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    client = await connect_temporal(plugins=[HeadgatePlugin(options=demo_options())])
    async with httpx2.AsyncClient(timeout=30) as http:
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[DemoJob],
            activities=[Caller(http).call],
            max_concurrent_activities=200,
        )
        async with worker:
            await stopping.wait()


if __name__ == "__main__":
    asyncio.run(run())
