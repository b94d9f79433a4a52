"""A governance worker killed between decision and delivery: people are told all the same."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import Response
from temporalio.client import Client

from headgate.devstack.process import GuardedProcess
from headgate.devstack.stack import Stack
from headgate.devstack.workers import GOVERNANCE, worker_environment
from headgate.model.entity import EntityOptions
from headgate.model.ids import GOVERNANCE_TASK_QUEUE
from headgate.model.policy import BreakerPolicy
from headgate.store.address import DATABASE_URL
from headgate.store.database import Database
from tests.harness import Governance, eventually
from tests.notifier.site import VARIABLE, Endpoint, Site, webhook


@dataclass
class Worker:
    """The real worker, in a process that can be killed."""

    stack: Stack
    database: Database
    environment: dict[str, str]
    process: GuardedProcess | None = None

    async def start(self) -> None:
        """Start it, and wait until it says that it runs: on a busy machine that takes a while."""

        async def running() -> int:
            found: int = await self.database.fetch_value("SELECT count(*) FROM governance_worker")
            return found

        before = await running()
        self.process = await GuardedProcess.start(
            (sys.executable, *GOVERNANCE),
            name="governance",
            log=self.stack.state_dir / "logs" / "governance-killed.log",
            env=self.environment,
            stop_signal=signal.SIGINT,
        )
        await eventually(running, lambda count: count > before, within_s=60)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.stop()


@pytest_asyncio.fixture
async def worker(
    desk: Site, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Worker]:
    dsn = f"{stack.dsn.rpartition('/')[0]}/{desk.database.address.rpartition('/')[2]}"
    environment = worker_environment(stack)
    running = Worker(stack, desk.database, {**environment, DATABASE_URL: dsn})
    assert VARIABLE in environment
    try:
        yield running
    finally:
        if running.process is not None:
            await running.process.stop()


@pytest_asyncio.fixture
async def governance(client: Client, desk: Site, name: str) -> AsyncIterator[Governance]:
    options = EntityOptions(snapshot_every_ms=100)
    found = Governance(client, desk.database, GOVERNANCE_TASK_QUEUE, options)
    yield found
    await found.handle("breaker", name).terminate("the test is over")


async def trip(governance: Governance, name: str) -> None:
    policy = BreakerPolicy(consecutive_failures=3, open_ms=86_400_000)
    await governance.set_policy(name, policy)
    await governance.report(name, 1, failures=3)


async def test_killed_while_it_sends(
    desk: Site, worker: Worker, governance: Governance, name: str
) -> None:
    release = asyncio.Event()

    async def hang(request: Request) -> Response:
        await release.wait()
        return Response(status_code=503)

    endpoint = Endpoint(answers=[hang])
    channel = webhook(await desk.serve(endpoint.app()), timeout_ms=1_000)
    await desk.apply(channels={"ops": channel})
    await worker.start()
    await trip(governance, name)

    async def requests() -> int:
        return len(endpoint.requests)

    await eventually(requests, lambda count: count == 1, within_s=40)
    await worker.kill()
    release.set()
    await worker.start()
    await eventually(requests, lambda count: count == 2, within_s=60)

    async def states() -> set[str]:
        return {*(await desk.states("ops")).values()}

    await eventually(states, lambda found: found == {"delivered"})
    endpoint.require_one_content_for_each_id()
    assert len({*endpoint.ids}) == 1


async def test_killed_before_it_could_hand_the_alert_over(
    desk: Site, worker: Worker, governance: Governance, name: str
) -> None:
    endpoint = Endpoint()
    await desk.channels(ops=await desk.serve(endpoint.app()))
    await worker.start()
    await desk.database.execute("ALTER TABLE alert RENAME TO alert_away")
    await trip(governance, name)

    async def failed() -> list[Any]:
        description = await governance.handle("breaker", name).describe()
        return [
            one
            for one in description.raw_description.pending_activities
            if one.activity_type.name == "headgate.notify" and one.last_failure.message
        ]

    await eventually(failed, lambda found: len(found) == 1, within_s=40)
    await worker.kill()
    await desk.database.execute("ALTER TABLE alert_away RENAME TO alert")
    assert endpoint.requests == []
    await worker.start()

    async def told() -> list[str]:
        return [event["type"] for event in endpoint.bodies]

    await eventually(told, lambda found: found == ["headgate.breaker.opened"], within_s=60)
