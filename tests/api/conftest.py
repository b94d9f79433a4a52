"""An API on the real stack: Temporal, Postgres of its own, a governance worker, uvicorn."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from temporalio.client import Client

from headgate.api.server import serving
from headgate.api.service import Service, Temporal
from headgate.api.settings import ApiSettings
from headgate.devstack.stack import Stack
from headgate.model.configuration import Configuration
from headgate.model.entity import EntityOptions
from headgate.model.ids import Kind
from headgate.orchestrator.configure import Configurator
from headgate.store.database import Database
from headgate.store.keys import KeyStore, RoleName
from headgate.store.pages import Saved
from headgate.store.snapshots import SnapshotStore
from tests.harness import Governance, eventually
from tests.notifier.site import SECRET, VARIABLE, Site
from tests.store.fresh_database import migrated_database


class Desk:
    """An API, callers with keys, and something to govern."""

    def __init__(self, client: Client, governance: Governance, name: str) -> None:
        self.governance = governance
        self.database = governance.database
        self.keys = KeyStore(self.database)
        self.name = name
        self.base = ""
        self.service: Service
        self._client = client
        self._stack = AsyncExitStack()
        self._served = AsyncExitStack()
        self._working = AsyncExitStack()

    def of(self, key: str) -> str:
        """A name of the test's own."""
        return f"{self.name}-{key}"

    async def serve(self, port: int = 0, **settings: Any) -> str:
        """Serve an API, on a free port, until the test is over, or ``stop``."""
        await self.stop()

        async def connect() -> Client:
            return self._client

        self.service = Service(
            self.database,
            Temporal(connect),
            ApiSettings(**settings),
            self.governance.task_queue,
            self.governance.options,
        )
        self.base = await self._served.enter_async_context(serving(self.service, port=port))
        return self.base

    async def stop(self) -> None:
        """End the API that is served."""
        await self._served.aclose()

    async def work(self) -> None:
        """Run a governance worker until the test is over, or ``stop_working``."""
        await self._working.enter_async_context(self.governance.running())

    async def stop_working(self) -> None:
        """End the governance worker."""
        await self._working.aclose()

    async def key(
        self,
        role: RoleName = "admin",
        tenant: str | None = None,
        name: str = "",
        lasts: timedelta | None = None,
    ) -> str:
        """The text of a new key."""
        _, text = await self.keys.create(name or f"{role}-key", role, "test", tenant, lasts)
        return text

    async def caller(
        self, role: RoleName | None = None, tenant: str | None = None, **headers: str
    ) -> httpx2.AsyncClient:
        """A client with a key of a role; without a role it says nothing of who it is."""
        if role is not None:
            headers["Authorization"] = f"Bearer {await self.key(role, tenant)}"
        opened = httpx2.AsyncClient(base_url=self.base, headers=headers, timeout=20)
        return await self._stack.enter_async_context(opened)

    async def apply(self, **sections: Any) -> None:
        configurator = Configurator(
            self._client, self.database, self.governance.task_queue, self.governance.options
        )
        await configurator.apply(Configuration.model_validate(sections), "test", "test")

    async def saved(self, kind: Kind, *subjects: str) -> None:
        """Wait until Postgres has these as they are now: their first snapshot may be older."""
        for subject in subjects:
            # It may just be being restored, and says so.
            revision = await eventually(
                partial(self.governance.revision, kind, subject), lambda revision: revision > 0
            )
            await eventually(
                partial(self.service.pages.one, kind, subject), partial(_is_as_new, revision)
            )

    async def close(self) -> None:
        await self._stack.aclose()
        await self.stop()
        kinds: tuple[Kind, ...] = ("breaker", "ledger", "governor")
        for kind in kinds:
            for subject in await SnapshotStore(self.database).subjects(kind):
                await self.governance.handle(kind, subject).terminate("the test is over")


def _is_as_new(revision: int, found: Saved | None) -> bool:
    return found is not None and found.revision >= revision


@pytest_asyncio.fixture
async def desk(
    stack: Stack, client: Client, name: str, task_queue: str, options: EntityOptions
) -> AsyncIterator[Desk]:
    async with migrated_database(stack.dsn) as dsn, Database(dsn) as database:
        # The holders of these tests are only names: nobody is to find out that they have ended.
        kept = options.model_copy(update={"check_holders_every_ms": 600_000})
        governance = Governance(client, database, task_queue, kept)
        opened = Desk(client, governance, name)
        await opened.work()
        try:
            await opened.serve()
            yield opened
        finally:
            try:
                await opened.close()
            finally:
                await opened.stop_working()


@pytest_asyncio.fixture
async def site(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """The only Notifier on the database of the API: no governance worker delivers beside it."""
    await desk.stop_working()
    monkeypatch.setenv(VARIABLE, SECRET)
    async with AsyncExitStack() as resources:
        yield Site(desk.database, resources)
