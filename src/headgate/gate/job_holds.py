"""What jobs keep out of the blocks of this gate, until they end."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from headgate.gate.block import Block
from headgate.gate.clock import monotonic_s
from headgate.gate.stock import UNGOVERNED, Stock
from headgate.gate.waiting import Shortage
from headgate.model.lease import LeaseHolder

if TYPE_CHECKING:
    from headgate.gate.ledger import LedgerLink

_BELIEVED_S: Final = 30.0
"""For so long it is believed that a job holds something elsewhere; nobody tells when that ends."""

_ASK_AGAIN_S: Final = 5.0
"""And so long that it does not: a gate tells of the holds of jobs when they are so old."""

_MOST_ELSEWHERE: Final = 10_000


class _Word(NamedTuple):
    """What a ledger has said: whether a job holds something elsewhere, and how long that counts."""

    is_held: bool
    until_s: float


class JobHolds:
    """Permits that are held beyond a call: by ``permit()``, and by calls with ``hold="job"``.

    Args:
        link: Returns the link to the ledger of a tenant.
    """

    def __init__(self, link: Callable[[str], "LedgerLink"]) -> None:
        self._link = link
        self._stocks: dict[tuple[str, str], Stock] = {}
        self._asking: dict[tuple[str, str], asyncio.Future[Shortage | None]] = {}
        self._calls: dict[str, int] = {}
        self._elsewhere: dict[tuple[str, str], _Word] = {}

    def keep(self, stock: Stock, taken: Block, job: LeaseHolder) -> None:
        """Have a job keep what was taken out for it; what it has already, it gets only once."""
        key = (stock.tenant, job.id)
        if key in self._stocks:
            stock.give(taken, job.units)
            return
        stock.hold(taken, job)
        self._stocks[key] = stock

    def knows(self, tenant: str, id: str) -> bool:
        """Return whether a permit came out of a block of this gate, and is still held."""
        return (tenant, id) in self._stocks

    def let_go(self, tenant: str, id: str) -> bool:
        """Give a permit back; False: it is not from here."""
        stock = self._stocks.pop((tenant, id), None)
        if stock is None:
            return False
        if not stock.let_go(id):
            # Its block is over, so the ledger keeps the permit for itself by now.
            self._link(tenant).release_soon(id)
        return True

    def ended(self, tenant: str, id: str) -> None:
        """Forget a permit whose job has closed elsewhere."""
        self._stocks.pop((tenant, id), None)
        self._elsewhere.pop((tenant, id), None)
        run_id, _, _ = id.partition("/")
        self._calls.pop(run_id, None)

    async def hold(
        self,
        workflow_id: str,
        run_id: str,
        stock: Stock,
        units: int,
        patience_s: float,
        *,
        hold_ms: int,
        priority: int = 0,
        is_first: bool = True,
    ) -> Shortage | None:
        """Have a job hold units until it ends; once, however many of its calls ask.

        A job that was called for before may hold them out of the block of another gate, or of one
        whose process has ended, after a deployment say. Where there are none to be had at once, the
        ledger is asked for that: else such a job would wait for what it holds itself.

        Args:
            workflow_id: The job.
            run_id: Its run.
            stock: Of what.
            units: How many.
            patience_s: How long to wait for them at most.
            hold_ms: How long a call may take: so long the job certainly is here.
            priority: Of the call.
            is_first: It is the first attempt of the first such call of the job.

        Returns:
            Why it cannot, or None when it holds them.
        """
        id = _id(run_id, stock.resource)
        key = (stock.tenant, id)
        until_s = monotonic_s() + patience_s
        while (known := self._asking.get(key)) is not None:
            await asyncio.wait([known])
            if not known.cancelled():
                return known.result()
            # Whoever asked has been cancelled meanwhile, and nobody knows the answer.
        if self._has(key):
            return None
        answer = self._asking[key] = asyncio.get_running_loop().create_future()
        taken: Block | Shortage | None
        try:
            word = self._elsewhere.get(key)
            is_there = word is not None and word.is_held
            taken = None if is_there else stock.take_now(units, hold_ms)
            if taken is None and (is_first or not await self._is_elsewhere(key, stock)):
                left_s = max(0.0, until_s - monotonic_s())
                taken = await stock.take(units, left_s, hold_ms=hold_ms, priority=priority)
        except BaseException:
            answer.cancel()
            raise
        finally:
            del self._asking[key]
        shortage = taken if isinstance(taken, Shortage) else None
        if isinstance(taken, Block) and taken is not UNGOVERNED:
            job = LeaseHolder(id=id, workflow_id=workflow_id, run_id=run_id, units=units)
            self.keep(stock, taken, job)
        answer.set_result(shortage)
        return shortage

    def holds(self, run_id: str, tenant: str, resource: str) -> bool:
        """Return whether a run holds units of a tenant's resource."""
        return self._has((tenant, _id(run_id, resource)))

    def called(self, run_id: str, tenant: str, resource: str) -> None:
        """Count a call of a job that holds units here, which was made here and nowhere else."""
        if (tenant, _id(run_id, resource)) in self._stocks:
            self._calls[run_id] = self._calls.get(run_id, 0) + 1

    def close(self, run_id: str, held: Sequence[tuple[str, str]], calls: int) -> None:
        """Give back all that a run holds: its workflow has closed.

        Its calls may have been made in several processes, and then it holds something in each. The
        ledger is told of it, unless this was the only one.

        Args:
            run_id: The run.
            held: Tenant and resource of what it may hold here or out of other gates' blocks.
            calls: How many calls it has had made for which it holds something.
        """
        is_all_here = self._calls.pop(run_id, 0) >= calls
        for tenant, resource in held:
            id = _id(run_id, resource)
            self._elsewhere.pop((tenant, id), None)
            if not self.let_go(tenant, id) or not is_all_here:
                self._link(tenant).release_soon(id)

    # Inside ------------------------------------------------------------------------------------

    def _has(self, key: tuple[str, str]) -> bool:
        word = self._elsewhere.get(key)
        is_there = word is not None and word.is_held and word.until_s > monotonic_s()
        return is_there or key in self._stocks

    async def _is_elsewhere(self, key: tuple[str, str], stock: Stock) -> bool:
        """Return whether a job holds its units already, though not out of a block of this gate."""
        tenant, id = key
        word = self._elsewhere.get(key)
        if word is not None and (stock.is_away or word.until_s > monotonic_s()):
            return word.is_held
        if stock.is_away:
            return False
        is_held = await self._link(tenant).is_held(id)
        now_s = monotonic_s()
        if len(self._elsewhere) >= _MOST_ELSEWHERE:
            known = self._elsewhere.items()
            self._elsewhere = {key: word for key, word in known if word.until_s > now_s}
        self._elsewhere[key] = _Word(is_held, now_s + (_BELIEVED_S if is_held else _ASK_AGAIN_S))
        return is_held


def _id(run_id: str, resource: str) -> str:
    return f"{run_id}/{resource}"
