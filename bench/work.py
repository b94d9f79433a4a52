"""What the jobs of ``bench.jobs`` do, governed or not; their modules let it through the sandbox."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

TENANT: Final = "acme"
TIMEOUT: Final = timedelta(seconds=30)


@dataclass
class Work:
    """What a job does: so many calls, of so many seconds each.

    ``resource`` is what is asked for, by a job that asks; every job has it in its argument, as jobs
    know their work whether they are governed or not, and each argument costs something.
    """

    activity: str
    calls: int = 1
    call_s: float = 0.0
    resource: str = ""


async def call(seconds: float) -> None:
    """Take so long."""
    if seconds:
        await asyncio.sleep(seconds)
