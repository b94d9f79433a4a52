"""What governance writes into histories: ``python -m bench.events [--seconds N]``.

Leased jobs at a steady 20 a second, after a minute of warming up less; counted are the events that
all governance workflows have written meanwhile, in all of their runs, per 1,000 jobs.
"""

import argparse
import asyncio
import json
import time
from typing import Any
from uuid import uuid4

from temporalio.client import Client

from bench.jobs import PERMIT_LEASED, Bench
from bench.site import governed_site
from headgate.gate.kinds import GOVERNANCE_WORKFLOWS

PER_SECOND = 20
WARM_S = 20


async def events_written(client: Client) -> int:
    """Return how many events the governance workflows have written, in all of their runs."""
    runs = [run async for run in client.list_workflows(GOVERNANCE_WORKFLOWS)]

    async def length(run: Any) -> int:
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        return (await handle.describe()).history_length

    return sum(await asyncio.gather(*(length(run) for run in runs)))


async def steadily(bench: Bench, seconds: float) -> int:
    """Start jobs at a steady pace; return how many, once all have ended."""
    jobs: list[asyncio.Task[None]] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        jobs.append(asyncio.create_task(bench.one(PERMIT_LEASED, 1, 0.0, uuid4().hex)))
        due = began + len(jobs) / PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await asyncio.gather(*jobs)
    return len(jobs)


async def events_per_1000_jobs(site: Client, bench: Bench, seconds: float) -> dict[str, float]:
    """Return the figures."""
    await steadily(bench, WARM_S)
    before = await events_written(site)
    began = time.perf_counter()
    jobs = await steadily(bench, seconds)
    took_s = time.perf_counter() - began
    written = await events_written(site) - before
    return {
        "events_per_1000_jobs": round(written * 1000 / jobs, 1),
        "jobs": jobs,
        "jobs_per_s": round(jobs / took_s, 1),
        "events": written,
    }


async def measure(seconds: float) -> dict[str, float]:
    """Measure on a site of its own."""
    async with governed_site() as site, Bench(site).running() as bench:
        return await events_per_1000_jobs(site, bench, seconds)


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=100)
    print(json.dumps(asyncio.run(measure(arguments.parse_args().seconds)), indent=2))


if __name__ == "__main__":
    main()
