"""Calls that wait at gates, in a pool under pressure: real stocks, ledgers and governor."""

import asyncio
from itertools import count

from headgate.gate.block import Block
from headgate.gate.stock import Stock
from headgate.gate.waiting import Shortage
from headgate.model.ledger import Exchange
from headgate.model.limits import BackpressurePolicy, PressureLevel, SheddingPolicy, Steps
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from tests.unit.pools import PoolOfLedgers

BACKPRESSURE = BackpressurePolicy(
    queue_age_ms=Steps(elevated=60_000),
    waiting=Steps(elevated=8, saturated=16, emergency=32),
    hold_ms=2_000,
    retry_after_ms=1_000,
)
SHEDDING = SheddingPolicy(elevated=2, saturated=1, emergency=0.5, min_flow=0)


class Site(PoolOfLedgers):
    """A pool of four units, and gates whose clock is the pool's."""

    def __init__(self, **quotas: Quota) -> None:
        super().__init__(4, quotas, backpressure=BACKPRESSURE, shedding=SHEDDING)
        self.gates: list[Gate] = []

    def gate(self, tenant: str) -> "Gate":
        self.gates.append(Gate(self, tenant, f"gate-{len(self.gates)}"))
        return self.gates[-1]

    async def go_on(self, ms: int) -> None:
        """Let time pass, with every gate asking when it has to."""
        for _ in range(ms // 100):
            self.wait(100)
            for gate in self.gates:
                at_s = gate.stock.next_ask_s()
                if at_s is not None and at_s <= self.now_ms / 1000:
                    gate.tell(gate.stock)
            await asyncio.sleep(0)  # lets those go on who have been answered


class Gate:
    """What one process has of a tenant, and the calls that wait there."""

    def __init__(self, site: Site, tenant: str, name: str) -> None:
        self._site, self._tenant, self._name = site, tenant, name
        self.stock = Stock(tenant, "scan", self.tell, lambda: site.now_ms / 1000)
        self.calls: dict[int, asyncio.Task[Block | Shortage]] = {}
        self._number = count()

    def tell(self, stock: Stock) -> None:
        message = Exchange(gate=self._name, leases=stock.compose())
        reply = self._site.ledgers[self._tenant].exchange(message, self._site.now_ms)
        stock.hear(reply.leases)

    async def call(self, calls: int, *, priority: int = 0, units: int = 1) -> list[int]:
        """Begin calls, which wait for as long as it takes; return their numbers."""
        numbers = [next(self._number) for _ in range(calls)]
        for number in numbers:
            taking = self.stock.take(units, 3_600.0, hold_ms=1_000, priority=priority)
            self.calls[number] = asyncio.create_task(taking)
        await asyncio.sleep(0)
        return numbers

    def refused(self) -> list[int]:
        """Return who has been refused, each because there is too much to be done."""
        found = []
        for number, call in self.calls.items():
            if call.done() and isinstance(call.result(), Shortage):
                shortage = call.result()
                assert isinstance(shortage, Shortage)
                assert shortage.reason.code is ReasonCode.SHED, shortage
                assert shortage.retry_in_s is not None
                found.append(number)
        return found

    def waiting(self) -> list[int]:
        return [number for number, call in self.calls.items() if not call.done()]

    async def close(self) -> None:
        for call in self.calls.values():
            call.cancel()
        await asyncio.gather(*self.calls.values(), return_exceptions=True)


async def test_the_youngest_of_the_lowest_priority_are_turned_away_and_told_why() -> None:
    site = Site(acme=Quota())
    gate = site.gate("acme")
    await gate.call(4)
    await site.go_on(2_000)
    high = await gate.call(6, priority=5)
    low = await gate.call(6)
    await site.go_on(5_000)
    assert site.governor.pressure().level is PressureLevel.ELEVATED
    # Twice the capacity may wait: the six that matter more, and the first two of the others.
    assert gate.waiting() == [*high, *low[:2]]
    assert gate.refused() == low[2:]
    told = gate.calls[low[-1]].result()
    assert isinstance(told, Shortage)
    assert (told.reason.limit, told.reason.used, told.retry_in_s) == (8, 12, 1.0)
    assert "of which 8 may while its pressure is elevated: refused at priority 0" in (
        told.reason.message
    )
    # A newcomer is refused as well, unless it matters more.
    (late,) = await gate.call(1)
    (more,) = await gate.call(1, priority=6)
    await asyncio.sleep(0)
    assert late in gate.refused() and more in gate.waiting()
    site.ledgers["acme"].check_conservation()
    await gate.close()


async def test_gates_and_the_ledgers_own_line_share_what_may_wait() -> None:
    site = Site(acme=Quota())
    one, two = site.gate("acme"), site.gate("acme")
    await one.call(4)
    await site.go_on(2_000)
    await one.call(8)
    await two.call(4)
    site.ask("acme", 4)
    await site.go_on(4_000)
    # 16 waited, which is saturated, so no more than the capacity may: some here and some there.
    left = [len(one.waiting()), len(two.waiting()), site.waiting("acme")]
    assert all(left) and sum(left) == 4
    assert len(one.refused()) > len(two.refused())
    await one.close()
    await two.close()


async def test_what_is_within_the_guarantee_waits_whatever_the_pressure() -> None:
    site = Site(acme=Quota(guaranteed=3), globex=Quota())
    gate, other = site.gate("acme"), site.gate("globex")
    await other.call(4, units=1)
    await site.go_on(2_000)
    await other.call(40, priority=9)
    await site.go_on(1_000)
    mine = await gate.call(3)
    await site.go_on(200)
    assert gate.refused() == []
    assert other.refused()
    await site.go_on(5_000)
    assert not set(mine) & set(gate.refused())
    await gate.close()
    await other.close()


async def test_when_the_pressure_is_gone_anybody_may_wait_again() -> None:
    site = Site(acme=Quota())
    gate = site.gate("acme")
    held = await gate.call(4)
    await site.go_on(2_000)
    await gate.call(12)
    await site.go_on(5_000)
    assert gate.refused()
    refused = len(gate.refused())
    for number in held:
        block = gate.calls[number].result()
        assert isinstance(block, Block)
        gate.stock.give(block, 1)
    for _ in range(20):
        await site.go_on(500)
        for number, call in list(gate.calls.items()):
            if number not in held and call.done() and isinstance(call.result(), Block):
                block = gate.calls.pop(number).result()
                assert isinstance(block, Block)
                gate.stock.give(block, 1)
    await site.go_on(5_000)
    assert site.governor.pressure().level is PressureLevel.NORMAL
    assert len(gate.refused()) == refused and not gate.waiting()
    await gate.call(6)
    await site.go_on(1_000)
    assert len(gate.refused()) == refused
    await gate.close()
