"""Group commit: what is asked while one message is under way travels together in the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class GroupCommit(Generic[Ask, Answer]):
    """Sends asks in batches, one batch at a time.

    With one message in flight per gate and workflow the fleet stays below the server's limit of
    ten updates in flight, and the busier a workflow is the more each message carries.

    Args:
        send: Sends a batch and returns the answers in the same order; when it raises, so does
            every ``ask`` of the batch.
        at_most: Asks in one batch.
        pause_s: Returns how long to wait before a batch.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Ask]], Awaitable[Sequence[Answer]]],
        at_most: int,
        pause_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._send = send
        self._at_most = at_most
        self._pause_s = pause_s
        self._pending: list[tuple[Ask, asyncio.Future[Answer]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def ask(self, item: Ask) -> Answer:
        """Return the answer to ``item``."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._run())
        return await future

    async def idle(self) -> None:
        """Return once everything that was asked has been answered."""
        while self._sender is not None and not self._sender.done():
            await asyncio.wait([self._sender])

    async def _run(self) -> None:
        while self._pending:
            if pause_s := self._pause_s():
                await asyncio.sleep(pause_s)
            # An ask whose caller has gone away is still sent if it is under way, never after.
            self._pending = [entry for entry in self._pending if not entry[1].done()]
            batch, self._pending = self._pending[: self._at_most], self._pending[self._at_most :]
            if not batch:
                return
            try:
                answers = await self._send([item for item, _ in batch])
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
