"""A gate runs as long as any worker of its client runs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headgate.orchestrator.gate_runner import SharedGate

CLIENT: Any = object()


class FakeGate:
    """A gate of which one can see whether it runs, and which may fail."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.is_running = False
        self.failing = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        body = asyncio.current_task()
        assert body is not None

        async def fail() -> None:
            await self.failing.wait()
            body.cancel()

        failing = asyncio.create_task(fail())
        self.is_running = True
        try:
            yield
        except asyncio.CancelledError:
            if self.failing.is_set():
                raise RuntimeError("poll failed") from None
            raise
        finally:
            self.is_running = False
            failing.cancel()


class Made:
    """A shared gate, and what it has made."""

    def __init__(self) -> None:
        self.gates: list[FakeGate] = []
        self.shared = SharedGate(self._make)

    def _make(self, client: object) -> Any:
        assert client is CLIENT
        self.gates.append(FakeGate(f"g{len(self.gates)}"))
        return self.gates[-1]

    @property
    def running(self) -> list[bool]:
        return [gate.is_running for gate in self.gates]


async def test_the_last_worker_stops_it_and_the_next_one_has_a_new_one() -> None:
    made = Made()
    asked = asyncio.create_task(made.shared.gate())
    async with made.shared.used(CLIENT):
        async with made.shared.used(CLIENT):
            assert made.running == [True]
            assert (await asked).id == made.gates[0].id
        assert made.running == [True]
    assert made.running == [False]
    async with made.shared.used(CLIENT):
        assert made.running == [False, True]


async def test_workers_that_start_at_the_same_time_share_it() -> None:
    made = Made()
    everybody, may_leave = asyncio.Barrier(5), asyncio.Event()

    async def work() -> None:
        async with made.shared.used(CLIENT):
            await everybody.wait()
            await may_leave.wait()

    workers = [asyncio.create_task(work()) for _ in range(4)]
    await everybody.wait()
    assert made.running == [True]
    may_leave.set()
    await asyncio.gather(*workers)
    assert made.running == [False]


async def test_a_worker_that_is_cancelled_leaves_it_stopped() -> None:
    made = Made()

    async def work() -> None:
        async with made.shared.used(CLIENT):
            await asyncio.Event().wait()

    worker = asyncio.create_task(work())
    await made.shared.gate()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert made.running == [False]


async def test_one_that_fails_while_workers_run_is_told_of_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Made()
    async with made.shared.used(CLIENT):
        with caplog.at_level(logging.ERROR, "headgate"):
            made.gates[0].failing.set()
            while not caplog.records:
                await asyncio.sleep(0)
        assert "hears of no verdicts any more" in caplog.text
        async with made.shared.used(CLIENT):
            assert made.running == [False, True]
    assert made.running == [False, False]
