"""The ungoverned job of ``bench.jobs``; knows nothing of Headgate.

In a module of its own: the sandbox imports the module of a workflow anew for every run.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio import activity, workflow

TIMEOUT: Final = timedelta(seconds=30)


@dataclass
class Work:
    """What a job does: so many calls, of so many seconds each."""

    activity: str
    calls: int = 1
    call_s: float = 0.0


async def call(seconds: float) -> None:
    """Take so long."""
    if seconds:
        await asyncio.sleep(seconds)


@activity.defn(name="plain")
async def plain(seconds: float) -> None:
    """Be a call."""
    await call(seconds)


@workflow.defn
class PlainJob:
    """Makes its calls."""

    @workflow.run
    async def run(self, work: Work) -> None:
        """Make them."""
        for _ in range(work.calls):
            await workflow.execute_activity(
                work.activity, work.call_s, start_to_close_timeout=TIMEOUT
            )
