"""An operator's desk: the commands, a governance worker they reach, and a database of its own."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from headgate.devstack.stack import Stack
from headgate.model.configuration import Configuration
from headgate.model.entity import EntityOptions
from headgate.model.ids import GOVERNANCE_TASK_QUEUE, Kind
from headgate.orchestrator.configure import Configurator
from headgate.store.database import Database
from headgate.store.snapshots import SnapshotStore
from tests.cli.command import Answer, run_here
from tests.harness import Governance, Orchestrator
from tests.store.fresh_database import migrated_database


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that a test runs in its own process must not end that process."""
    monkeypatch.setattr("headgate.cli.main._leave", sys.exit)


class Desk:
    """What an operator has: ``headgate``, and something to govern."""

    def __init__(self, stack: Stack, dsn: str, governance: Governance, name: str) -> None:
        self.governance = governance
        self.name = name
        self._address = stack.temporal_address
        self.environ = {
            "TEMPORAL_ADDRESS": stack.temporal_address,
            "HEADGATE_DATABASE_URL": dsn,
            "COLUMNS": "80",
        }

    def of(self, key: str) -> str:
        """A name of the test's own."""
        return f"{self.name}-{key}"

    async def headgate(self, *arguments: str) -> Answer:
        return await run_here(*arguments, environ=self.environ)

    async def done(self, *arguments: str) -> str:
        """What a command prints that ends well; nothing of it is wider than 80 columns."""
        answer = await self.headgate(*arguments)
        assert (answer.code, answer.err) == (0, ""), answer.err
        if "--json" not in arguments:
            assert max(map(len, answer.out.splitlines()), default=0) <= 80, answer.out
        return answer.out

    async def apply(self, **sections: Any) -> None:
        governance = self.governance
        configurator = Configurator(
            governance.client, governance.database, GOVERNANCE_TASK_QUEUE, governance.options
        )
        await configurator.apply(Configuration.model_validate(sections), "test", "test")

    async def close(self) -> None:
        """End what was governed: the next desk's worker polls the same task queue."""
        kinds: tuple[Kind, ...] = ("breaker", "ledger", "governor")
        for kind in kinds:
            for subject in await SnapshotStore(self.governance.database).subjects(kind):
                with suppress(RPCError):
                    await self.governance.handle(kind, subject).terminate("the test is over")

    @asynccontextmanager
    async def orchestrator(self) -> AsyncIterator[Orchestrator]:
        """An orchestrator whose downstream does not answer before it is opened."""
        working = Orchestrator(self._address, GOVERNANCE_TASK_QUEUE, self.governance.options)
        working.scanner.open.clear()
        async with working.running():
            try:
                yield working
            finally:
                working.scanner.open.set()


@pytest_asyncio.fixture
async def desk(
    stack: Stack, client: Client, name: str, options: EntityOptions
) -> AsyncIterator[Desk]:
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        governance = Governance(client, database, GOVERNANCE_TASK_QUEUE, options)
        async with governance.running():
            opened = Desk(stack, dsn, governance, name)
            yield opened
            await opened.close()
