"""Which governance workers run, as they say themselves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from headgate.model.errors import HeadgateError
from headgate.store.database import Database
from headgate.version import __version__

BEAT_S: Final = 5.0

_log = logging.getLogger("headgate")


@dataclass(frozen=True, slots=True)
class LastSeen:
    """When there was last a sign of life; Unix time.

    Attributes:
        worker_ms: Of any governance worker; None: never.
        temporal_ms: Of Temporal, as any governance worker says; None: never.
    """

    worker_ms: int | None
    temporal_ms: int | None


class WorkerStore:
    """The table ``governance_worker``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, id: str, *, temporal_answers: bool = True) -> None:
        """Say that a worker runs, and whether Temporal answers it."""
        await self._database.execute(
            "INSERT INTO governance_worker AS known (id, version, temporal_answered_at) "
            "VALUES ($1, $2, CASE WHEN $3 THEN now() END) ON CONFLICT (id) DO UPDATE SET "
            "seen_at = now(), temporal_answered_at = "
            "coalesce(excluded.temporal_answered_at, known.temporal_answered_at)",
            id,
            __version__,
            temporal_answers,
        )

    async def forget(self) -> None:
        """Forget those that have not run for long."""
        await self._database.execute(
            "DELETE FROM governance_worker WHERE seen_at < now() - interval '1 day'"
        )

    async def last_seen(self) -> LastSeen:
        """Return when any worker last said that it runs, by the clock of Postgres."""
        [found] = await self._database.fetch(
            "SELECT (extract(epoch FROM max(seen_at)) * 1000)::bigint AS worker_ms, "
            "(extract(epoch FROM max(coalesce(temporal_answered_at, seen_at))) * 1000)::bigint "
            "AS temporal_ms FROM governance_worker"
        )
        return LastSeen(found["worker_ms"], found["temporal_ms"])

    @asynccontextmanager
    async def beating(
        self,
        temporal_answers: Callable[[], Awaitable[bool]],
        see_to: Callable[[], Awaitable[None]] | None = None,
    ) -> AsyncIterator[None]:
        """Say for the block, again and again, that a worker runs.

        Args:
            temporal_answers: Asks Temporal; takes a few seconds at most.
            see_to: What a worker that runs sees to each time.
        """
        with suppress(HeadgateError):  # it is only tidying up
            await self.forget()
        task = asyncio.create_task(self._beat(uuid4().hex, temporal_answers, see_to))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _beat(
        self,
        id: str,
        temporal_answers: Callable[[], Awaitable[bool]],
        see_to: Callable[[], Awaitable[None]] | None,
    ) -> None:
        is_told = False
        while True:
            try:
                await self.beat(id, temporal_answers=await temporal_answers())
                if see_to is not None:
                    await see_to()
                is_told = False
            except HeadgateError as error:
                if not is_told:  # once per outage; decisions go on without Postgres
                    _log.warning("cannot say that this worker runs: %s", error)
                is_told = True
            await asyncio.sleep(BEAT_S)
