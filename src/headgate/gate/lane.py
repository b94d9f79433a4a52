"""The way of one kind of call for one tenant: quota first, then the downstream.

Nearly every call finds its breaker closed and units in the block: then a decision is a few
comparisons and counts, made here in one place and without waiting. Whatever is not so simple is
left to ``Downstream`` and ``Stock``.
"""

from collections.abc import Awaitable, Callable
from time import monotonic

from headgate.gate.clock import now_ms
from headgate.gate.downstream import Downstream
from headgate.gate.outcomes import Ended
from headgate.gate.outlooks import Outlooks
from headgate.gate.stock import UNGOVERNED, Stock
from headgate.gate.ticket import Refusal, Ticket
from headgate.gate.waiting import Shortage
from headgate.model.lease import LeaseHolder


class Lane:
    """Admission of calls to one downstream for one tenant, out of one stock.

    Args:
        downstream: What is called.
        tenant: For whom.
        stock: What counts for the tenant; None: nothing does.
        outlooks: Says of what the downstream's breaker refuses whether the ledger would, too; None:
            nobody does.
    """

    __slots__ = ("_outlooks", "_stock", "_tenant", "downstream")

    def __init__(
        self,
        downstream: Downstream,
        tenant: str,
        stock: Stock | None,
        outlooks: Outlooks | None = None,
    ) -> None:
        self._outlooks = outlooks
        self.downstream = downstream
        self._tenant = tenant
        self._stock = stock

    def enter(self, units: int = 1, hold_ms: int = 0) -> Ticket | None:
        """Let a call pass if there is nothing to consider; None: ask ``wait``.

        Args:
            units: Of the stock.
            hold_ms: How long the call may take.
        """
        to = self.downstream
        now_s = monotonic()
        if now_s >= to.calm_until_s or len(to.flights) >= to.most:
            return None
        block = None
        stock = self._stock
        if stock is not None:
            block = stock.block
            out = block.taken - block.returned + units
            if (
                out > block.units
                or now_s >= block.until_s
                or hold_ms > block.told_hold_ms
                or block.taken + units > block.starts
                or stock.has_waiting
            ):
                return None
            block.taken += units
            block.grants += 1
            if out > block.most:
                block.most = out
        ticket = Ticket(to.era, now_s, block, units)
        to.flights.add(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> bool:
        """Count a call that ended well, if that is all there is to it; False: ask ``settle``."""
        to = self.downstream
        now_s = monotonic()
        took_s = now_s - ticket.began_s
        if (
            ticket.era is not to.era
            or now_s >= to.calm_until_s
            or took_s >= to.slow_s
            or now_s >= to.step_at_s
        ):
            return False
        to.flights.discard(ticket)
        calm = to.calm
        calm.duration_s += took_s
        calm.squares += took_s * took_s
        calm.last_s = now_s
        if not calm.calls:
            to.note_calm()
        calm.calls += 1
        block = ticket.block
        if block is not None:
            block.returned += ticket.units
            block.ends += 1
            stock = self._stock
            if stock is not None and stock.has_waiting:
                stock.serve()
        return True

    async def wait(
        self,
        units: int,
        tenant: str,
        key: str,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
        job: LeaseHolder | None = None,
    ) -> Ticket | Refusal:
        """Let a call pass, perhaps after a while, or say why not.

        All or nothing: what was taken is given back when the rest is not to be had.

        Args:
            units: Of the stock.
            tenant: For whom.
            key: Of the call; the id of its probe, if it needs one.
            patience_s: How long to wait for units at most.
            hold_ms: How long the call may take.
            priority: The higher comes first.
            job: Who keeps the units beyond the call, if anybody does.
        """
        to, stock = self.downstream, self._stock
        await to.know()
        if (refusal := to.refusal()) is not None and not to.may_soon_pass():
            told = refusal
            if stock is not None and units and self._outlooks is not None:
                told = await self._outlooks.ranked(refusal, {stock.resource: units})
            if told is refusal:
                to.count_rejected(tenant)
            return told
        block = None
        if stock is not None and units:
            taken = await stock.take(units, patience_s, hold_ms=hold_ms, priority=priority)
            if isinstance(taken, Shortage):
                return taken.refusal(now_ms())
            block = taken
        try:
            passed = await to.admit(key, tenant)
        except BaseException:
            if block is not None and stock is not None:
                stock.give(block, units)
            raise
        if isinstance(passed, Refusal):
            if block is not None and stock is not None:
                stock.give(block, units)
            return passed
        if block is not None and stock is not None and job is not None:
            if block is not UNGOVERNED:
                stock.hold(block, job)
        elif block is not None:
            passed.block, passed.units = block, units
        return passed

    async def wait_under(
        self,
        begin: Callable[[], Awaitable[Ticket | Refusal]],
        units: int,
        tenant: str,
        key: str,
        *,
        patience_s: float,
        hold_ms: int,
        priority: int = 0,
    ) -> Ticket | Refusal:
        """The same for a call under a permit, which its downstream has let pass already.

        Args:
            begin: Has the call take what the permit was let pass with; see ``Gate.begin``.
            units: Of the stock.
            tenant: For whom.
            key: Of the call.
            patience_s: How long to wait for units at most.
            hold_ms: How long the call may take.
            priority: The higher comes first.
        """
        stock = self._stock
        if stock is None:
            return await begin()
        block = await stock.take(units, patience_s, hold_ms=hold_ms, priority=priority)
        if isinstance(block, Shortage):
            return block.refusal(now_ms())
        passed: Ticket | Refusal | None = None
        try:
            passed = await begin()
        finally:
            if not isinstance(passed, Ticket):
                stock.give(block, units)
        if isinstance(passed, Ticket):
            passed.block, passed.units = block, units
        return passed

    def settle(self, ticket: Ticket, ended: Ended) -> None:
        """Take the end of a call, however it was."""
        if ticket.block is not None and self._stock is not None:
            self._stock.give(ticket.block, ticket.units)
        self.downstream.settle(ticket, ended, self._tenant)
