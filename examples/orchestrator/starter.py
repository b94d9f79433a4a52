"""Starts jobs and waits for them: ``python starter.py acme=20 globex=10``."""

import asyncio
import os
import sys
from collections import Counter
from uuid import uuid4

from calls import Release
from jobs import ReleaseJob
from temporalio.client import Client
from temporalio.common import Priority


async def main() -> None:
    """Start so many jobs for each tenant, and say what became of them."""
    client = await Client.connect(os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"))

    async def release(tenant: str, artifact: str) -> str:
        return await client.execute_workflow(
            ReleaseJob.run,
            Release(tenant, artifact),
            id=f"release-{tenant}-{uuid4().hex[:8]}",
            task_queue="releases",
            priority=Priority(fairness_key=tenant),  # also tells Headgate for whom the job runs
        )

    wanted = [argument.split("=") for argument in sys.argv[1:]]
    jobs = [release(tenant, f"image-{n}") for tenant, count in wanted for n in range(int(count))]
    print(dict(Counter(await asyncio.gather(*jobs))), flush=True)


asyncio.run(main())
os._exit(0)  # not torn down: a short-lived client may crash then (temporalio/sdk-python#300)
