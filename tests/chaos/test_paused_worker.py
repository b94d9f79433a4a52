"""A worker that is stopped for longer than its block lasts, and goes on: ``make chaos``.

A minute of standing still is too long for every run of the tests; ``tests/unit/test_stock.py``
has the same with a clock of its own.
"""

import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.devstack.stack import Stack
from headgate.model.entity import EntityOptions
from headgate.model.quota import Quota
from headgate.store.database import Database
from tests.chaos.test_killed_workers import QUOTA, Fleet, Process, _active
from tests.harness import apply, eventually, is_conserved

STANDS_STILL_S = 60
"""Twice as long as a block lasts."""

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("HEADGATE_CHAOS"), reason="takes minutes: make chaos runs it"
    ),
    pytest.mark.timeout(300),
]


async def test_a_worker_that_stood_still_grants_nothing_from_its_old_block(
    fragile: Stack, name: str
) -> None:
    client = await Client.connect(fragile.temporal_address, data_converter=pydantic_data_converter)
    quota = Quota(max_active=QUOTA, leased=True)
    async with Database(fragile.dsn) as database:
        await apply(database, None, {name: {"quotas": {"scan": quota.model_dump(mode="json")}}})
        fleet = Fleet(fragile, database, client, name)
        fleet.governance.options = EntityOptions(check_holders_every_ms=2_000)
        async with fleet.running(quota):
            jobs = await fleet.jobs_that_hold_and_wait(waiting=None)
            await eventually(_active(fleet), lambda active: active == QUOTA, within_s=40)
            fleet.job_worker.signal(signal.SIGSTOP)
            stopped_s = time.monotonic()
            second = Process("jobs-2", fragile, "-m", "tests.chaos.job_worker", fleet.job_queue)
            async with second.running():
                fleet.scanner.open.set()
                await eventually(
                    _standing_still_s(stopped_s), lambda s: s > STANDS_STILL_S, within_s=90
                )
                fleet.job_worker.signal(signal.SIGCONT)
                for job in jobs:
                    await job.result()
                more = await fleet.jobs_that_hold_and_wait(waiting=None)
                fleet.scanner.open.set()
                for job in more:
                    await job.result()
            assert fleet.scanner.most_active <= QUOTA
            view = await eventually(
                lambda: fleet.governance.account(name),
                lambda account: account.accounts["scan"].held == 0,
                within_s=100,
            )
            assert is_conserved(view)


def _standing_still_s(since_s: float) -> Callable[[], Awaitable[float]]:
    async def still() -> float:
        return time.monotonic() - since_s

    return still
