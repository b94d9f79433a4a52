"""What a gate says to one ledger in a message, and what it makes of its failing."""

import asyncio
from typing import Any, cast

import pytest

from headgate.gate.block import Block
from headgate.gate.ledger import LedgerLink
from headgate.gate.stock import Stock
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.lease import LEASES_AT_ONCE, LeaseAsk
from headgate.model.ledger import Exchange, ExchangeReply, Turn
from headgate.quota import Ledger
from tests.unit.ledgers import NOW_MS, quotas


class Ledgers:
    """A ledger in the place of its workflow."""

    def __init__(self, *resources: str) -> None:
        limits = quotas(**{name: {"max_active": 10} for name in resources})
        self.ledger = Ledger.begin("acme", limits, 1)
        self.said: list[Exchange] = []

    async def signal(self, *_: object) -> None: ...

    async def query(self, *_: object) -> Turn:
        return Turn(frame_ms=1)

    async def update(self, _name: str, message: Exchange, *_: object) -> ExchangeReply:
        self.said.append(message)
        return self.ledger.exchange(message, NOW_MS)


def link(ledgers: Ledgers) -> LedgerLink:
    return LedgerLink("acme", "g1", cast(GovernanceWorkflow, ledgers), lambda id: None)


async def take(stock: Stock) -> Any:
    return await stock.take(1, 5, hold_ms=1_000)


async def test_of_more_stocks_than_a_message_can_bear_several_messages_tell() -> None:
    names = [f"r{n}" for n in range(LEASES_AT_ONCE + 50)]
    ledgers = Ledgers(*names)
    to = link(ledgers)
    taken = await asyncio.gather(*(take(to.stock(name)) for name in names))
    assert all(isinstance(one, Block) for one in taken)
    assert len(ledgers.said) > 1
    for name, block in zip(names, taken, strict=True):
        to.stock(name).give(block, 1)
    await to.close()


async def test_what_cannot_be_said_once_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ledgers = Ledgers("scan", "mail")
    to = link(ledgers)
    composed = Stock.compose
    odd = [ValueError("nobody knows how to say that")]

    def compose(stock: Stock) -> list[LeaseAsk]:
        asks = composed(stock)
        if stock.resource == "scan" and odd:
            raise odd.pop()
        return asks

    monkeypatch.setattr(Stock, "compose", compose)
    stocks = [to.stock("scan"), to.stock("mail")]
    with pytest.raises(ValueError, match="nobody knows"):
        await to._exchange(stocks)
    to.look()
    for stock in stocks:
        taken = await take(stock)
        assert isinstance(taken, Block)
        stock.give(taken, 1)
    await to.close()
