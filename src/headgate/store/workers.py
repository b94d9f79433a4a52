"""Which governance workers run, as they say themselves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

from headgate.model.errors import HeadgateError
from headgate.store.database import Database
from headgate.version import __version__

BEAT_S: Final = 5.0

_log = logging.getLogger("headgate")


class WorkerStore:
    """The table ``governance_worker``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, id: str) -> None:
        """Say that a worker runs."""
        await self._database.execute(
            "INSERT INTO governance_worker (id, version) VALUES ($1, $2) "
            "ON CONFLICT (id) DO UPDATE SET seen_at = now()",
            id,
            __version__,
        )

    async def forget(self) -> None:
        """Forget those that have not run for long."""
        await self._database.execute(
            "DELETE FROM governance_worker WHERE seen_at < now() - interval '1 day'"
        )

    async def last_seen_ms(self) -> int | None:
        """Return when any worker last said that it runs, by the clock of Postgres."""
        found = await self._database.fetch_value(
            "SELECT (extract(epoch FROM max(seen_at)) * 1000)::bigint FROM governance_worker"
        )
        return None if found is None else int(found)

    @asynccontextmanager
    async def beating(
        self, see_to: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Say for the block, again and again, that a worker runs.

        Args:
            see_to: What a worker that runs sees to each time.
        """
        with suppress(HeadgateError):  # it is only tidying up
            await self.forget()
        task = asyncio.create_task(self._beat(uuid4().hex, see_to))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _beat(self, id: str, see_to: Callable[[], Awaitable[None]] | None) -> None:
        is_told = False
        while True:
            try:
                await self.beat(id)
                if see_to is not None:
                    await see_to()
                is_told = False
            except HeadgateError as error:
                if not is_told:  # once per outage; decisions go on without Postgres
                    _log.warning("cannot say that this worker runs: %s", error)
                is_told = True
            await asyncio.sleep(BEAT_S)
