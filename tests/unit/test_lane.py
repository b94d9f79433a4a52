"""The way of a call through quota and downstream: all or nothing."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from headgate.gate.downstream import Downstream
from headgate.gate.lane import Lane
from headgate.gate.outlooks import Outlooks, Wish
from headgate.gate.ticket import Refusal
from headgate.model.ledger import Outlook
from headgate.model.reason import Reason, ReasonCode
from tests.unit.test_stock import Bank

OPEN = Refusal(Reason(code=ReasonCode.BREAKER_OPEN, message="it is open"), 1)


class Undecided:
    """A downstream of which nobody knows yet whether the next call passes."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def know(self) -> None: ...

    def refusal(self) -> Refusal | None:
        return None

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


class Shut(Undecided):
    """A downstream whose breaker refuses, as it says, until then."""

    def __init__(self) -> None:
        super().__init__()
        self.rejected = 0

    def refusal(self) -> Refusal:
        return OPEN

    def may_soon_pass(self) -> bool:
        return False

    def count_rejected(self, tenant: str) -> None:
        self.rejected += 1


async def test_what_a_breaker_refuses_does_not_wait_for_what_the_ledger_says() -> None:
    downstream, bank = Shut(), Bank(units=2)
    heard = asyncio.Event()

    async def never(wishes: Sequence[Wish]) -> list[Outlook]:
        heard.set()
        await asyncio.get_running_loop().create_future()
        return []

    outlooks = Outlooks(never, 10, lambda: 0.0)
    lane = Lane(cast(Downstream, downstream), "acme", bank.stock, outlooks)
    async with asyncio.timeout(5):
        assert await lane.wait(2, "acme", "key", patience_s=60, hold_ms=1_000) is OPEN
        await heard.wait()
    assert (downstream.rejected, bank.stock.block.out) == (1, 0)
    outlooks.close()
