"""What jobs keep out of the blocks of a gate: once, and until they end."""

import asyncio
from typing import Any, cast

import pytest

from headgate.gate.block import Block
from headgate.gate.job_holds import JobHolds
from headgate.gate.ledger import LedgerLink
from headgate.model.lease import LeaseHolder
from tests.unit.test_stock import Bank

HELD = [("acme", "scan")]


class Place:
    """A gate with blocks of some tenants, whose ledgers hear what is released."""

    def __init__(self, **grant: Any) -> None:
        self.released: list[tuple[str, str]] = []
        self.jobs = JobHolds(self.link)
        self.bank = Bank(**grant)

    def link(self, tenant: str) -> LedgerLink:
        place = self

        class Link:
            def release_soon(self, id: str) -> None:
                place.released.append((tenant, id))

        return cast(LedgerLink, Link())

    async def hold(self, run: str = "r", bank: Bank | None = None, patience_s: float = 5) -> Any:
        stock = (bank or self.bank).stock
        return await self.jobs.hold("w", run, stock, 1, patience_s, hold_ms=1_000)


async def test_a_job_holds_once_however_many_of_its_calls_ask() -> None:
    place = Place()
    assert await asyncio.gather(*(place.hold() for _ in range(5))) == [None] * 5
    assert await place.hold() is None
    assert place.bank.stock.block.out == 1
    place.jobs.close("r", HELD, 0)
    assert place.bank.stock.block.out == 0
    assert not place.jobs.holds("r", "acme", "scan")


async def test_when_the_first_call_is_cancelled_the_second_asks_for_itself() -> None:
    place = Place(units=1)
    taken = await place.bank.take()
    first = asyncio.create_task(place.hold())
    await asyncio.sleep(0)
    second = asyncio.create_task(place.hold())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not second.done()  # nobody holds anything yet
    place.bank.stock.give(taken, 1)
    assert await second is None
    assert place.jobs.holds("r", "acme", "scan")
    assert place.bank.stock.block.out == 1


async def test_a_second_call_that_is_cancelled_leaves_the_first_alone() -> None:
    place = Place(units=1)
    taken = await place.bank.take()
    first, second = (asyncio.create_task(place.hold()) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    place.bank.stock.give(taken, 1)
    assert await first is None


async def test_one_job_may_hold_the_same_resource_of_two_tenants() -> None:
    place, other = Place(), Bank()
    other.stock.tenant = "zeta"
    await place.hold()
    await place.hold(bank=other)
    place.jobs.close("r", [("acme", "scan"), ("zeta", "scan")], 0)
    assert (place.bank.stock.block.out, other.stock.block.out) == (0, 0)
    assert place.released == []


async def test_what_a_job_keeps_already_it_is_not_given_again() -> None:
    place = Place()
    job = LeaseHolder(id="p", workflow_id="w")
    for _ in range(2):
        taken = await place.bank.take()
        assert isinstance(taken, Block)
        place.jobs.keep(place.bank.stock, taken, job)
    assert place.bank.stock.block.out == 1
    assert place.jobs.let_go("acme", "p")
    assert place.bank.stock.block.out == 0


@pytest.mark.parametrize(("here", "made"), [(2, 2), (1, 2), (0, 1)])
async def test_the_ledger_hears_of_the_end_of_a_job_with_calls_elsewhere(
    here: int, made: int
) -> None:
    place = Place()
    await place.hold()
    for _ in range(here):
        place.jobs.called("r", "acme", "scan")
    place.jobs.close("r", HELD, made)
    assert place.bank.stock.block.out == 0
    assert place.released == ([] if here == made else [("acme", "r/scan")])


async def test_the_ledger_hears_of_the_end_of_a_job_that_holds_nothing_here() -> None:
    place = Place()
    place.jobs.called("r", "acme", "scan")  # let pass while the ledger was away
    place.jobs.close("r", HELD, 1)
    assert place.released == [("acme", "r/scan")]


async def test_a_job_that_has_ended_elsewhere_is_forgotten() -> None:
    place = Place()
    await place.hold()
    place.bank.stock.let_go("r/scan")
    place.jobs.ended("acme", "r/scan")
    assert not place.jobs.holds("r", "acme", "scan")
    assert await place.hold() is None
    assert place.bank.stock.block.out == 1
