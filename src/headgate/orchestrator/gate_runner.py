"""Running gates: one for each client, as long as any worker of that client runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from temporalio.client import Client

from headgate.gate.protocol import AnyGate

_log = logging.getLogger("headgate")


class SharedGate:
    """The gate of one client, shared by the workers of that client in this process.

    Args:
        make: Makes the gate for a client, anew for every time that a first worker starts.
    """

    def __init__(self, make: Callable[[Client], AnyGate]) -> None:
        self._make = make
        self._running: _RunningGate | None = None
        self._users = 0
        self._changing = asyncio.Lock()
        self._started = asyncio.Event()

    async def gate(self) -> AnyGate:
        """Return the gate; waits until a worker has started it."""
        await self._started.wait()  # a worker may poll before its plugin has been entered
        assert self._running is not None
        return self._running.gate

    @property
    def now(self) -> AnyGate | None:
        """The gate if it is running; for any thread."""
        running = self._running
        return None if running is None else running.gate

    @asynccontextmanager
    async def used(self, client: Client) -> AsyncIterator[None]:
        """Keep the gate of ``client`` running for the block; the last one to leave stops it."""
        async with self._changing:
            if self._running is None or self._running.has_ended:
                self._running = await _RunningGate.start(self._make(client))
                self._started.set()
            self._users += 1
        try:
            yield
        finally:
            async with self._changing:
                self._users -= 1
                if self._users == 0:
                    running, self._running = self._running, None
                    self._started.clear()
                    assert running is not None
                    await running.stop()


class Gates:
    """The gates of the clients that one plugin was given to.

    Args:
        make: Makes a gate for a client.
    """

    def __init__(self, make: Callable[[Client], AnyGate]) -> None:
        self._make = make
        self._of: WeakKeyDictionary[Client, SharedGate] = WeakKeyDictionary()

    def of(self, client: Client) -> SharedGate:
        """Return the gate of a client, which need not be running yet."""
        found = self._of.get(client)
        if found is None:
            found = self._of[client] = SharedGate(self._make)
        return found


class _RunningGate:
    """A gate whose context is entered and left in a task of its own.

    Workers start and stop in tasks of their own, and a context must be left in the task that
    entered it.
    """

    def __init__(self, gate: AnyGate) -> None:
        self.gate = gate
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"headgate gate {gate.id}")

    @classmethod
    async def start(cls, gate: AnyGate) -> "_RunningGate":
        running = cls(gate)
        waiting = asyncio.create_task(running._ready.wait())
        try:
            await asyncio.wait([running._task, waiting], return_when=asyncio.FIRST_COMPLETED)
            if running._task.done():
                running._task.result()
        except BaseException:
            running._task.cancel()  # nobody would ever stop it
            raise
        finally:
            waiting.cancel()
        return running

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    async def stop(self) -> None:
        self._stopping.set()
        # The worker has done its work by now, whatever has become of its gate.
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            async with self.gate.running():
                self._ready.set()
                await self._stopping.wait()
        except Exception:
            if self._ready.is_set():
                _log.exception(
                    "gate %s has ended: it hears of no verdicts any more; the next worker that "
                    "starts in this process has a new gate",
                    self.gate.id,
                )
            raise
