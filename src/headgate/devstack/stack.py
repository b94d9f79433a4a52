"""Temporal and Postgres together: embedded, or those that the environment names."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from headgate.devstack.database_connection import require_database
from headgate.devstack.postgres import EmbeddedPostgres
from headgate.devstack.statedir import StateDir
from headgate.devstack.temporal import EmbeddedTemporal
from headgate.devstack.temporal_connection import require_external
from headgate.store.address import DATABASE_URL
from headgate.workflows.search_attributes import BREAKER_STATE, KIND

TEMPORAL_VARIABLE = "TEMPORAL_ADDRESS"
_SEARCH_ATTRIBUTES = [
    argument
    for key in (KIND, BREAKER_STATE)
    for argument in ("--search-attribute", f"{key.name}=Keyword")
]


class Stack:
    """What Headgate needs to run on, for the time of a ``async with`` block.

    A server that ``TEMPORAL_ADDRESS`` or ``HEADGATE_DATABASE_URL`` names is used as it is, after a
    check that it answers. The others are started, at the same time, and ended with the block.

    Args:
        state_dir: Where the data is kept, held for this stack alone; `default_state_dir` when None.
        temporal_ui: Whether the embedded Temporal serves its UI.
        temporal_namespaces: Registered in the embedded Temporal besides ``default``.
        temporal_args: More arguments for ``temporal server start-dev``.
        search_attributes: Whether the embedded Temporal has Headgate's search attributes.
        temporal_port: The port of the embedded Temporal; a free one when None.
        temporal_ui_port: The port of its UI; a free one when None.
        postgres_port: The port of the embedded Postgres; a free one when None.
        environ: The environment; the process's own when None.

    Attributes:
        temporal: The embedded Temporal; None when another is used.
        postgres: The embedded Postgres; None when another is used.
        temporal_address: Where clients connect to.
        searchable: Whether the embedded Temporal has Headgate's search attributes.
        dsn: The address of the database, with the password in it.
        startup_ms: How long the start took.
    """

    def __init__(
        self,
        state_dir: Path | None = None,
        *,
        temporal_ui: bool = True,
        temporal_namespaces: Sequence[str] = (),
        temporal_args: Sequence[str] = (),
        search_attributes: bool = False,
        temporal_port: int | None = None,
        temporal_ui_port: int | None = None,
        postgres_port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._folder = StateDir(state_dir)
        self.temporal: EmbeddedTemporal | None = None
        self.postgres: EmbeddedPostgres | None = None
        if not self._environ.get(TEMPORAL_VARIABLE):
            self.temporal = EmbeddedTemporal(
                self._folder.path,
                ui=temporal_ui,
                namespaces=temporal_namespaces,
                extra_args=[*temporal_args, *(_SEARCH_ATTRIBUTES if search_attributes else ())],
                port=temporal_port,
                ui_port=temporal_ui_port,
                environ=self._environ,
            )
        if not self._environ.get(DATABASE_URL):
            self.postgres = EmbeddedPostgres(
                self._folder.path, port=postgres_port, environ=self._environ
            )
        self.searchable = search_attributes and self.temporal is not None
        self.temporal_address = ""
        self.dsn = ""
        self.startup_ms = 0

    @property
    def state_dir(self) -> Path:
        """Where the data is kept."""
        return self._folder.path

    @property
    def temporal_ui(self) -> str | None:
        """The address of the embedded Temporal's UI, if there is one."""
        return self.temporal.ui_url if self.temporal else None

    async def start(self) -> None:
        """Starts what has to be started and checks the rest.

        Raises:
            UnavailableError: One of the two cannot be used; the other has been ended again.
            ConfigurationError: The environment names something wrong.
        """
        began = time.monotonic()
        self._folder.acquire()
        tasks = [
            asyncio.create_task(self._temporal_ready()),
            asyncio.create_task(self._postgres_ready()),
        ]
        try:
            # The first failure ends the wait and is what is raised.
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.stop()
            raise
        self.startup_ms = round((time.monotonic() - began) * 1000)

    async def stop(self) -> None:
        """Ends what was started, at the same time, and gives the folder up."""
        servers = [server for server in (self.temporal, self.postgres) if server is not None]
        try:
            await asyncio.gather(*(server.stop() for server in servers))
        finally:
            self._folder.release()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _temporal_ready(self) -> None:
        if self.temporal is None:
            self.temporal_address = await require_external(self._environ)
        else:
            await self.temporal.start()
            self.temporal_address = self.temporal.address

    async def _postgres_ready(self) -> None:
        if self.postgres is None:
            dsn = self._environ[DATABASE_URL]
            await require_database(dsn)
            self.dsn = dsn
        else:
            await self.postgres.start()
            self.dsn = self.postgres.dsn
