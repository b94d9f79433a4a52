"""What jobs keep out of the blocks of this gate, until they end."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from headgate.gate.stock import UNGOVERNED, Shortage, Stock
from headgate.model.lease import LeaseHolder

if TYPE_CHECKING:
    from headgate.gate.ledger import LedgerLink


class JobHolds:
    """Permits that are held beyond a call: by ``permit()``, and by calls with ``hold="job"``.

    Args:
        link: Returns the link to the ledger of a tenant.
    """

    def __init__(self, link: Callable[[str], "LedgerLink"]) -> None:
        self._link = link
        self._stocks: dict[str, Stock] = {}
        self._of_run: dict[str, dict[str, asyncio.Future[Shortage | None]]] = {}

    def note(self, id: str, stock: Stock) -> None:
        """Note out of which stock a permit came."""
        self._stocks[id] = stock

    def let_go(self, id: str) -> bool:
        """Give a permit back; False: it is not from here."""
        stock = self._stocks.pop(id, None)
        if stock is None:
            return False
        if not stock.let_go(id):
            # Its block is over, so the ledger keeps the permit for itself by now.
            self._link(stock.tenant).release_soon(id)
        return True

    def ended(self, id: str) -> None:
        """Forget a permit whose job has closed elsewhere."""
        self._stocks.pop(id, None)
        run_id, _, _ = id.partition("/")
        self._of_run.pop(run_id, None)

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
    ) -> Shortage | None:
        """Have a job hold units until it ends; once, however many of its calls ask.

        Args:
            workflow_id: The job.
            run_id: Its run.
            stock: Of what.
            units: How many.
            patience_s: How long to wait for them at most.
            hold_ms: How long a call may take: so long the job certainly is here.
            priority: Of the call.

        Returns:
            Why it cannot, or None when it holds them.
        """
        of_run = self._of_run.setdefault(run_id, {})
        key = f"{stock.tenant} {stock.resource}"
        known = of_run.get(key)
        if known is not None:
            return await asyncio.shield(known)
        answer = of_run[key] = asyncio.get_running_loop().create_future()
        shortage: Shortage | None = None
        try:
            taken = await stock.take(units, patience_s, hold_ms=hold_ms, priority=priority)
            if isinstance(taken, Shortage):
                shortage = taken
            elif taken is not UNGOVERNED:
                id = f"{run_id}/{stock.resource}"
                holder = LeaseHolder(id=id, workflow_id=workflow_id, run_id=run_id, units=units)
                stock.hold(taken, holder)
                self._stocks[id] = stock
        finally:
            if shortage is not None or not self._holds(run_id, stock):
                of_run.pop(key, None)
            if not answer.done():
                answer.set_result(shortage)
        return shortage

    def holds(self, run_id: str, tenant: str, resource: str) -> bool:
        """Return whether a run holds units of a tenant's resource."""
        known = self._of_run.get(run_id, {}).get(f"{tenant} {resource}")
        return known is not None and known.done()

    def close(self, run_id: str, elsewhere: list[tuple[str, str]]) -> None:
        """Give back all that a run holds: its workflow has closed.

        Args:
            run_id: The run.
            elsewhere: Tenant and resource of what it may hold out of other gates' blocks.
        """
        self._of_run.pop(run_id, None)
        for tenant, resource in elsewhere:
            id = f"{run_id}/{resource}"
            if not self.let_go(id):
                self._link(tenant).release_soon(id)

    def _holds(self, run_id: str, stock: Stock) -> bool:
        return f"{run_id}/{stock.resource}" in self._stocks
