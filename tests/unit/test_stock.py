"""What a gate grants by itself, and when it does not: with a clock of the test's own."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.common import MetricMeter
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate.block import SAFETY_S, Block
from headgate.gate.ledger import LedgerLink
from headgate.gate.metrics import GateMetrics
from headgate.gate.stock import UNGOVERNED, Stock
from headgate.gate.waiting import Shortage
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.lease import (
    LEASE_MS,
    MOST_HOLD_MS,
    MOST_UNITS,
    LeaseGrant,
    LeaseHolder,
    WhenAway,
)
from headgate.model.reason import Reason, ReasonCode


class Bank:
    """A ledger that answers every ask with what the test says."""

    def __init__(self, **grant: Any) -> None:
        self.now_s = 1_000.0
        self.answer = {"units": 2, **grant}
        self.is_away = False
        self.asked = 0
        self.passed_uncounted = 0
        self.stock = Stock(
            "acme", "scan", self.tell, lambda: self.now_s, count_ungoverned=self._count
        )

    def _count(self) -> None:
        self.passed_uncounted += 1

    def tell(self, stock: Stock) -> None:
        self.asked += 1
        asks = stock.compose()
        if self.is_away:
            stock.missed()
            return
        stock.hear(
            [
                LeaseGrant(resource="scan", term=ask.term, number=ask.number, **self.answer)
                for ask in asks
            ]
        )

    async def take(self, units: int = 1, patience_s: float = 0.05, **more: Any) -> Any:
        return await self.stock.take(units, patience_s, hold_ms=more.pop("hold_ms", 1_000), **more)


async def test_the_first_call_asks_and_those_after_it_do_not() -> None:
    bank = Bank()
    one, two = await bank.take(), await bank.take()
    assert isinstance(one, Block) and one is two
    assert bank.asked == 1
    assert bank.stock.block.out == 2


async def test_who_waits_gets_what_comes_back_higher_priority_first() -> None:
    bank = Bank(units=1)
    block = await bank.take()
    order: list[str] = []

    async def wait(name: str, priority: int) -> None:
        taken = await bank.take(patience_s=5, priority=priority)
        assert isinstance(taken, Block)
        order.append(name)
        bank.stock.give(taken, 1)

    waiting = [asyncio.create_task(wait(n, p)) for n, p in (("a", 0), ("b", 5), ("c", 0))]
    await asyncio.sleep(0)
    assert bank.stock.block.waiting == 3
    assert bank.stock.take_now(1, 0) is None  # nobody passes those who wait
    bank.stock.give(block, 1)
    await asyncio.gather(*waiting)
    assert order == ["b", "a", "c"]
    assert (bank.stock.block.waiting, bank.stock.block.out) == (0, 0)


async def test_a_call_that_waits_no_longer_leaves_nothing_behind() -> None:
    reason = Reason(code=ReasonCode.QUOTA_USED_UP, message="2 of 2 in use")
    bank = Bank(units=1, reason=reason, retry_in_ms=700)
    block = await bank.take()
    short = await bank.take()
    assert isinstance(short, Shortage)
    assert (short.reason, short.retry_in_s) == (reason, 0.7)
    cancelled = asyncio.create_task(bank.take(patience_s=5))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    bank.stock.give(block, 1)
    assert (bank.stock.block.waiting, bank.stock.block.out) == (0, 0)
    assert bank.stock.block.denied == 1


async def test_what_can_never_be_had_is_refused_at_once() -> None:
    reason = Reason(code=ReasonCode.UNKNOWN_TENANT, message="no quota for tenant acme")
    bank = Bank(units=0, reason=reason, is_over=True, for_ms=0)
    assert await bank.take() == Shortage(reason, None)
    assert await bank.take(patience_s=60) == Shortage(reason, None)


async def test_after_a_stop_of_a_minute_nothing_is_granted_from_the_old_block() -> None:
    bank = Bank(units=3)
    old = await bank.take()
    bank.now_s += 60  # SIGSTOP, and CONT
    assert bank.stock.take_now(1, 0) is None
    new = await bank.take()
    assert new is not old
    assert (old.is_over, new.term) == (True, old.term + 1)
    bank.stock.give(old, 1)
    assert new.out == 1


async def test_a_block_is_over_here_before_it_is_over_there() -> None:
    bank = Bank()
    await bank.take()
    bank.now_s += LEASE_MS / 1000 - SAFETY_S
    assert bank.stock.take_now(1, 0) is None


async def test_a_longer_call_than_the_ledger_knows_of_is_told_first() -> None:
    bank = Bank()
    await bank.take()
    assert await bank.take(hold_ms=3_600_000) is bank.stock.block
    assert bank.asked == 2
    assert bank.stock.block.told_hold_ms == 3_600_000


@pytest.mark.parametrize("when_away", list(WhenAway))
async def test_when_the_ledger_is_away(when_away: WhenAway) -> None:
    bank = Bank(when_away=when_away)
    assert isinstance(await bank.take(), Block)
    bank.is_away = True
    bank.now_s += 20
    assert isinstance(await bank.take(), Block)  # the block goes on until its end
    bank.now_s += 20
    answer = await bank.take()
    if when_away is WhenAway.FAIL_OPEN:
        assert answer is UNGOVERNED
        assert bank.passed_uncounted == 1
    else:
        assert isinstance(answer, Shortage)
        assert answer.reason.code is ReasonCode.UNAVAILABLE
    bank.is_away = False
    bank.now_s += 1
    if when_away is WhenAway.FAIL_OPEN:
        await bank.take()  # has it asked
    assert isinstance(await bank.take(), Block)


async def test_while_the_ledger_is_known_to_be_away_no_call_waits_and_it_is_asked_on() -> None:
    bank = Bank(when_away=WhenAway.FAIL_OPEN)
    await bank.take()
    bank.is_away = True
    bank.now_s += 40
    assert await bank.take() is UNGOVERNED
    asked = bank.asked
    async with asyncio.timeout(5):
        for _ in range(10):
            bank.now_s += 0.1
            assert await bank.take(patience_s=60) is UNGOVERNED
    assert bank.passed_uncounted == 11
    assert asked + 1 <= bank.asked <= asked + 2
    assert not bank.stock.has_waiting


async def test_jobs_keep_their_units_and_the_ledger_is_told_of_them_in_time() -> None:
    bank = Bank()
    block = await bank.take()
    bank.stock.hold(block, LeaseHolder(id="job", workflow_id="w"))
    due_s = bank.stock.next_ask_s()
    assert due_s is not None and due_s <= bank.now_s + 5
    bank.tell(bank.stock)
    assert bank.stock.let_go("job")
    assert not bank.stock.let_go("job")
    assert bank.stock.block.out == 0


async def test_a_job_of_a_block_that_is_over_is_the_ledgers_business() -> None:
    bank = Bank()
    block = await bank.take()
    bank.stock.hold(block, LeaseHolder(id="job", workflow_id="w"))
    bank.tell(bank.stock)
    bank.now_s += 60
    await bank.take()
    assert not bank.stock.let_go("job")  # so the ledger has to be told


async def test_an_idle_stock_wants_nothing_and_begins_anew_when_used() -> None:
    bank = Bank()
    bank.stock.give(await bank.take(), 1)
    first = bank.stock.block
    for _ in range(3):
        bank.now_s += 20
        asks = bank.stock.compose()
        units = 2 if asks[0].wanted else 0
        bank.stock.hear(
            [
                LeaseGrant(resource="scan", term=ask.term, number=ask.number, units=units)
                for ask in asks
            ]
        )
    assert asks[0].wanted == 0
    assert bank.stock.is_idle
    assert bank.stock.next_ask_s() is None
    assert await bank.take() is not first


@pytest.mark.parametrize(("idle_ms", "within_s"), [(3_000, 6), (None, 60)])
@pytest.mark.parametrize("busy_ms", [0, 1_000, 2_900, 10_000])
async def test_an_idle_block_goes_back_in_the_time_that_the_readme_says(
    idle_ms: int | None, within_s: int, busy_ms: int
) -> None:
    bank = Bank(idle_ms=idle_ms)
    stock = bank.stock
    stock.give(await bank.take(), 1)
    wanted, after_ms = stock.block.units, -busy_ms
    while wanted and after_ms <= within_s * 1_000 + 200:  # what the steps of this clock leave over
        if after_ms <= 0 and after_ms % 300 == 0:
            stock.give(await bank.take(), 1)
        at_s = stock.next_ask_s()
        if at_s is not None and at_s <= bank.now_s:
            (ask,) = stock.compose()
            wanted = ask.wanted
            grant = LeaseGrant(
                resource="scan", term=ask.term, number=ask.number, units=wanted, idle_ms=idle_ms
            )
            stock.hear([grant])
        bank.now_s += 0.1
        after_ms += 100
    assert wanted == 0
    assert stock.take_now(1, 0) is None


class Meter:
    """Writes down what is counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, int, Any]] = []

    def create_counter(self, name: str, *_: str) -> Any:
        def add(value: int, additional_attributes: Any = None) -> None:
            self.counted.append((name, value, additional_attributes))

        return SimpleNamespace(add=add)

    def create_histogram_float(self, *_: str) -> None: ...


async def test_what_passes_without_its_ledger_is_exported_and_so_is_that_nothing_did() -> None:
    meter = Meter()
    metrics = GateMetrics(cast(MetricMeter, meter))
    ledger = cast(GovernanceWorkflow, None)
    stock = LedgerLink("acme", "gate", ledger, lambda _: None, metrics=metrics).stock("scan")
    name, of = "headgate_ungoverned_calls_total", {"resource": "scan"}
    assert meter.counted == [(name, 0, of)]
    stock._pass_uncounted()
    assert meter.counted == [(name, 0, of), (name, 1, of)]


class Unaskable:
    """A ledger whose name Temporal refuses."""

    async def update(self, *_: Any, **__: Any) -> None:
        raise RPCError("WorkflowId length exceeds limit", RPCStatusCode.INVALID_ARGUMENT, b"")


async def test_a_call_hears_what_to_mend_and_who_keeps_the_blocks_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = LedgerLink("acme", "gate", cast(GovernanceWorkflow, Unaskable()), lambda _: None)
    link._is_introduced = True
    stock = link.stock("scan")
    shortages = [await stock.take(1, 0.7, hold_ms=0) for _ in range(2)]
    for shortage in shortages:
        assert isinstance(shortage, Shortage)
        assert shortage.reason.message == (
            "the ledger of acme cannot be asked: WorkflowId length exceeds limit"
        )
    assert link._keeper is not None and not link._keeper.done()
    told = [one for one in caplog.records if "WorkflowId length" in one.getMessage()]
    assert len(told) == 1
    link._keeper.cancel()


async def test_a_call_may_last_longer_than_a_ledger_can_be_told() -> None:
    bank = Bank()
    assert isinstance(await bank.take(hold_ms=400 * 86_400_000), Block)
    assert bank.stock.block.told_hold_ms == MOST_HOLD_MS


async def test_calls_may_wait_for_more_than_a_ledger_can_be_told() -> None:
    bank = Bank(units=MOST_UNITS)
    taken = await bank.take(MOST_UNITS)
    waiting = [asyncio.create_task(bank.take(MOST_UNITS - n, patience_s=5)) for n in range(3)]
    await asyncio.sleep(0)
    bank.tell(bank.stock)
    bank.stock.give(taken, MOST_UNITS)
    for n, one in enumerate(waiting):
        bank.stock.give(await one, MOST_UNITS - n)
    assert bank.stock.next_ask_s() is not None


async def test_more_than_anybody_can_have_is_refused_at_once() -> None:
    bank = Bank()
    answer = await bank.take(MOST_UNITS + 1, patience_s=60)
    assert isinstance(answer, Shortage)
    assert (answer.reason.code, answer.retry_in_s) == (ReasonCode.CAN_NEVER_FIT, None)
    assert isinstance(await bank.take(), Block)
