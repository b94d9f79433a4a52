"""The way of a call through quota and downstream: all or nothing."""

import asyncio
from typing import cast

import pytest

from headgate.gate.downstream import Downstream
from headgate.gate.lane import Lane
from tests.unit.test_stock import Bank


class Undecided:
    """A downstream of which nobody knows yet whether the next call passes."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def know(self) -> None: ...

    def refusal(self) -> None: ...

    async def admit(self, key: str, tenant: str) -> None:
        self.asked.set()
        await asyncio.get_running_loop().create_future()


async def test_a_call_that_is_cancelled_at_the_downstream_gives_its_units_back() -> None:
    downstream, bank = Undecided(), Bank(units=2)
    lane = Lane(cast(Downstream, downstream), "acme", bank.stock)
    call = asyncio.create_task(lane.wait(2, "acme", "key", patience_s=5, hold_ms=1_000))
    await downstream.asked.wait()
    assert bank.stock.block.out == 2
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert bank.stock.block.out == 0
