"""Two gates and the real ledger, on the test's own clock: nobody starves behind an idle gate."""

import asyncio
from typing import Any

from headgate.gate.block import Block
from headgate.gate.stock import Stock
from headgate.gate.waiting import Shortage
from headgate.model.ledger import Exchange
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.model.settings import LedgerSettings
from headgate.quota import Ledger

T0 = 1_700_000_000_000


class Site:
    """A ledger, and gates that ask it when their stocks say so; messages take no time."""

    def __init__(self, **quota: Any) -> None:
        self.now_s = 1_000.0
        settings = LedgerSettings(quotas={"scan": Quota(**quota)}, source="listed")
        self.book = Ledger.begin("acme", settings, 1, T0)
        self.exchanges = 0
        self.stocks: list[Stock] = []

    def gate(self) -> Stock:
        name = f"gate-{len(self.stocks)}"

        def tell(stock: Stock) -> None:
            self.exchanges += 1
            message = Exchange(gate=name, leases=stock.compose())
            stock.hear(self.book.exchange(message, T0 + round(self.now_s * 1000)).leases)

        self.stocks.append(Stock("acme", "scan", tell, lambda: self.now_s))
        return self.stocks[-1]

    async def pass_s(self, seconds: float) -> None:
        """Let time pass, and every gate ask when it is due, as its keeper does."""
        until_s = self.now_s + seconds
        while True:
            due = [(at_s, n) for n, s in enumerate(self.stocks) if (at_s := s.next_ask_s())]
            at_s, number = min(due, default=(until_s, -1))
            if at_s > until_s or number < 0:
                break
            if at_s <= self.now_s:
                self.stocks[number]._tell(self.stocks[number])
                self.now_s += 0.001
            else:
                self.now_s = at_s
        self.now_s = until_s
        await asyncio.sleep(0)

    async def call(self, stock: Stock, units: int = 1) -> Block | Shortage:
        """A call that waits for next to nothing, as one that Temporal will try again."""
        return await stock.take(units, 0.001, hold_ms=1_000)


async def test_a_gate_that_has_become_idle_gives_back_before_another_has_waited_for_long() -> None:
    site = Site(max_active=2)
    first, second = site.gate(), site.gate()
    for _ in range(6):
        block = await site.call(first)
        assert isinstance(block, Block)
        first.give(block, 1)
        await site.pass_s(0.1)
    began_s = site.now_s
    while isinstance(taken := await site.call(second), Shortage):
        assert taken.reason.code == ReasonCode.QUOTA_USED_UP
        await site.pass_s(taken.retry_in_s or 1.0)
    assert site.now_s - began_s < 8


async def test_a_gate_that_uses_all_there_is_shares_it_with_one_that_comes_again_and_again() -> (
    None
):
    site = Site(max_active=2)
    first, second = site.gate(), site.gate()
    out = [await site.call(first) for _ in range(2)]
    began_s = site.now_s
    while isinstance(await site.call(second), Shortage):
        block = out.pop(0)  # each of its calls takes a second, and another follows
        assert isinstance(block, Block)
        first.give(block, 1)
        if isinstance(again := await site.call(first), Block):
            out.append(again)
        await site.pass_s(1.0)
        assert site.now_s - began_s < 30
    assert site.book.view().units_held["scan"] <= 2


async def test_a_block_that_nobody_else_could_want_stays() -> None:
    site = Site(max_active=100)
    only = site.gate()
    block = await site.call(only)
    assert isinstance(block, Block)
    only.give(block, 1)
    asked = site.exchanges
    await site.pass_s(15)
    assert site.exchanges == asked


async def test_a_call_that_is_too_large_for_the_quota_is_told_so_and_others_pass() -> None:
    site = Site(max_active=2)
    gate = site.gate()
    large = await site.call(gate, 99)
    assert isinstance(large, Shortage)
    assert large.retry_in_s is None
    assert large.reason.code == ReasonCode.CAN_NEVER_FIT
    assert large.reason.message == "99 of scan asked for, but the max_active of tenant acme is 2"
    assert isinstance(await site.call(gate, 2), Block)


async def test_what_is_refused_and_does_not_come_again_is_soon_forgotten() -> None:
    site = Site(max_active=1)
    first, second = site.gate(), site.gate()
    assert isinstance(await site.call(first), Block)
    assert isinstance(await site.call(second), Shortage)
    await site.pass_s(60)
    asked = site.exchanges
    await site.pass_s(60)
    assert second.is_idle
    assert site.exchanges - asked <= 4  # the one that holds it renews its block
