"""Fixtures for every test that needs the real thing.

One Temporal server and one Postgres for the session; for each test a task queue and names of its
own, so that tests do not meet although they share both.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.devstack.stack import Stack
from headgate.model.entity import EntityOptions
from headgate.store.database import Database
from headgate.store.migrate import migrate
from tests.harness import Governance, Orchestrator

PROMPT = ("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="10ms"')
"""Durable timers fire when they are due, and not up to a second later to save the server work."""


@pytest.fixture(scope="session")
def stack_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headgate-tests-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # Postgres runs as another user when the tests run as root
        yield path


@pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
async def _the_end_comes() -> AsyncIterator[None]:
    """Let go of what does not end: a worker that hangs in its shutdown, after a test has failed.

    The loop would wait for it for ever, and its end be counted as an error of the last test.
    """
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    hung = (await asyncio.wait(left, timeout=10))[1] if left else set()
    for task in hung:
        asyncio._unregister_task(task)


@asynccontextmanager
async def migrated_stack(folder: Path) -> AsyncIterator[Stack]:
    async with Stack(folder, temporal_ui=False, temporal_args=PROMPT) as running:
        async with Database(running.dsn) as database:
            # Nothing has to outlive the machine, and databases are made much faster so.
            await database.execute("ALTER SYSTEM SET fsync = off")
            await database.execute("ALTER SYSTEM SET full_page_writes = off")
            await database.execute("SELECT pg_reload_conf()")
            await migrate(database)
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(stack_folder: Path) -> AsyncIterator[Stack]:
    async with migrated_stack(stack_folder / "stack") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(stack: Stack) -> AsyncIterator[Database]:
    async with Database(stack.dsn) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fragile(stack_folder: Path) -> AsyncIterator[Stack]:
    """Another stack, which tests may break as long as they leave it running."""
    async with migrated_stack(stack_folder / "fragile") as running:
        yield running


@pytest_asyncio.fixture
async def client(stack: Stack) -> Client:
    return await Client.connect(stack.temporal_address, data_converter=pydantic_data_converter)


@pytest.fixture
def task_queue() -> str:
    return f"governance-{uuid4().hex[:8]}"


_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """A name of the test's own, for its tenant and its downstream."""
    return f"t{next(_numbers)}-{uuid4().hex[:6]}"


@pytest.fixture
def options() -> EntityOptions:
    """Snapshots soon, so that tests wait for conditions and not for intervals.

    Holders are looked after seldom: a permit that a job gives back as it ends would else be
    released in one run and reclaimed in the next. Tests of reclaiming are `watchful`.
    """
    return EntityOptions(snapshot_every_ms=100, check_holders_every_ms=60_000)


@pytest_asyncio.fixture
async def governance(
    client: Client, database: Database, task_queue: str, options: EntityOptions
) -> AsyncIterator[Governance]:
    async with Governance(client, database, task_queue, options).running() as running:
        yield running


@pytest_asyncio.fixture
async def orchestrator(
    stack: Stack, governance: Governance, options: EntityOptions
) -> AsyncIterator[Orchestrator]:
    async with Orchestrator(stack.temporal_address, governance.task_queue, options).running() as o:
        yield o
