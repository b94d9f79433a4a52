"""What changes, as it changes: one look at Postgres at a time for all who watch."""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from headgate.model.errors import UnavailableError
from headgate.store.pages import PageStore

_LOG: Final = logging.getLogger("headgate.api")
_KEPT: Final = 500
_BEHIND: Final = 100
"""Batches that one watcher may not have taken yet; then it is told to look at everything anew."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What has changed at once.

    Attributes:
        event: ``changed``; ``stale``: Postgres cannot be asked; ``reset``: look at all of it.
        mark: By which a watcher goes on after it; None: it is no place to go on from.
        changes: Kind, subject and revision of each.
    """

    event: str
    mark: int | None = None
    changes: tuple[dict[str, Any], ...] = ()

    def written(self, tenant: str | None) -> str | None:
        """Return it as an event of a stream; None when it has nothing for who sees one tenant."""
        changes = self.changes
        if tenant is not None:
            changes = tuple(
                one
                for one in changes
                if one["kind"] in ("ledger", "alerts") and one["subject"] == tenant
            )
            if self.event == "changed" and not changes:
                return None
        id = "" if self.mark is None else f"id: {self.mark}\n"
        return f"{id}event: {self.event}\ndata: {json.dumps(changes)}\n\n"


@dataclass(slots=True, eq=False)
class _Watcher:
    batches: deque[Batch] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, batch: Batch) -> None:
        if len(self.batches) >= _BEHIND:
            self.batches.clear()
            batch = Batch("reset", batch.mark)
        self.batches.append(batch)
        self.woken.set()


class Feed:
    """Looks at what has changed, for as long as somebody watches.

    Args:
        pages: Where to look.
        every_s: How often.
    """

    def __init__(self, pages: PageStore, every_s: float) -> None:
        self._pages = pages
        self._every_s = every_s
        self._watchers: set[_Watcher] = set()
        self._kept: deque[Batch] = deque(maxlen=_KEPT)
        self._since: int | None = None
        self._oldest: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.looks = 0

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def close(self) -> None:
        """End every watch: what waits for the end of an answer would wait for that of a browser."""
        self._is_closed = True
        for watcher in self._watchers:
            watcher.woken.set()

    async def watch(self, after: int | None, quiet_s: float) -> AsyncIterator[Batch | None]:
        """Yield what changes, and None whenever nothing has for a while; until ``close``.

        Args:
            after: The mark to go on from; None: from now on.
            quiet_s: How long that while is.
        """
        watcher = _Watcher()
        # Before anything is awaited: what is found meanwhile is told as well.
        if after is not None:
            for batch in self._missed(after):
                watcher.tell(batch)
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            while True:
                while watcher.batches:
                    yield watcher.batches.popleft()
                if self._is_closed:
                    return
                watcher.woken.clear()
                try:
                    await asyncio.wait_for(watcher.woken.wait(), quiet_s)
                except TimeoutError:
                    yield None
        finally:
            self._watchers.discard(watcher)

    def _missed(self, after: int) -> list[Batch]:
        if self._oldest is None or self._since is None or not self._oldest <= after <= self._since:
            return [Batch("reset", self._since)]
        return [one for one in self._kept if one.mark is not None and one.mark > after]

    async def _look(self) -> None:
        away = False
        while self._watchers:
            try:
                if self._since is None:
                    self._since = self._oldest = await self._pages.now()
                self.looks += 1
                mark, found = await self._pages.changed(self._since)
                if away:
                    self._tell(Batch("reset", mark))
                away = False
            except UnavailableError as error:
                if not away:
                    _LOG.warning("no live updates: %s", error)
                    self._tell(Batch("stale"))
                away = True
                await asyncio.sleep(max(1.0, self._every_s))
                continue
            if found:
                # Kept and told with the mark after it: whoever has it needs nothing before.
                batch = Batch(
                    "changed",
                    mark,
                    tuple(
                        {"kind": one.kind, "subject": one.subject, "revision": one.revision}
                        for one in found
                    ),
                )
                if len(self._kept) == _KEPT:
                    self._oldest = self._kept[0].mark
                self._kept.append(batch)
                self._tell(batch)
            self._since = mark
            await asyncio.sleep(self._every_s)
        # Nobody looks from here on, so what follows is not known.
        self._since = self._oldest = None
        self._kept.clear()

    def _tell(self, batch: Batch) -> None:
        for watcher in self._watchers:
            watcher.tell(batch)
