"""What a gate does with one ledger: permits and blocks, many in one exchange."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from headgate.gate.clock import monotonic_s
from headgate.gate.group_commit import GroupCommit
from headgate.gate.stock import Stock
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Acquire, Decision, Exchange, ExchangeReply

_LOG = logging.getLogger("headgate.gate")
_AT_ONCE: Final = 200
_GIVE_UP_S: Final = 5.0
_LONG_S: Final = 0.25
_FIRST_WITHIN_S: Final = 0.5
_IN_FLIGHT: Final = 4
"""Exchanges of all gates with one ledger at the same time; from eleven on the server fails them."""

Ask = Acquire | str | Stock


class LedgerLink:
    """Group commit of acquires, releases and asks for blocks to the ledger of one tenant.

    Args:
        tenant: Whose.
        gate: The gate's id.
        ledger: The workflow.
        ended: Is told the id of a permit whose job has closed elsewhere.
    """

    def __init__(
        self,
        tenant: str,
        gate: str,
        ledger: GovernanceWorkflow,
        ended: Callable[[str], None],
    ) -> None:
        self._tenant = tenant
        self._gate = gate
        self._ledger = ledger
        self._ended = ended
        self._number = count(1)
        self._stocks: dict[str, Stock] = {}
        self._leased: set[str] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._took_s = 0.0
        self._last_s = 0.0
        self._turns = 1
        self._commit: GroupCommit[Ask, Decision | None] = GroupCommit(
            self._exchange, _AT_ONCE, self._pause_s
        )

    # Permits, one by one -----------------------------------------------------------------------

    async def acquire(self, request: Acquire) -> Decision:
        """Return the ledger's decision.

        Raises:
            UnavailableError: The ledger did not answer in time; whether it has granted is unknown,
                so the request must be released or asked again under the same id.
        """
        decision = await self._commit.ask(request)
        assert decision is not None
        return decision

    async def release(self, permit_id: str) -> None:
        """Give a permit back, or withdraw a request.

        Raises:
            UnavailableError: The ledger did not confirm in time.
        """
        await self._commit.ask(permit_id)

    def release_soon(self, permit_id: str) -> None:
        """Give a permit back with the next exchange; lost with the process, it is found again."""
        self._spawn(self._try_release(permit_id))

    # Blocks ------------------------------------------------------------------------------------

    def stock(self, resource: str) -> Stock:
        """Return what this gate has of a resource."""
        found = self._stocks.get(resource)
        if found is None:
            found = self._stocks[resource] = Stock(self._tenant, resource, self._tell)
        return found

    def stock_of_jobs(self, resource: str) -> Stock | None:
        """Return the stock out of which permits of jobs may be taken, if the quota says so."""
        return self.stock(resource) if resource in self._leased else None

    @property
    def stocks(self) -> list[Stock]:
        """All stocks of the tenant."""
        return list(self._stocks.values())

    def look(self) -> None:
        """Look anew when which stock has to ask."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        self._changed.set()

    async def close(self) -> None:
        """Return what is held, and return once nothing is under way."""
        if self._keeper is not None:
            self._keeper.cancel()
        await self._commit.idle()
        for stock in self.stocks:
            if stock.return_all():
                await self._ask(stock)
        await self._commit.idle()

    # Inside ------------------------------------------------------------------------------------

    def _tell(self, stock: Stock) -> None:
        self._spawn(self._ask(stock))

    async def _ask(self, stock: Stock) -> None:
        try:
            await self._commit.ask(stock)
        except UnavailableError as error:
            _LOG.warning("no answer to what %s of %s: %s", stock.resource, self._tenant, error)

    async def _try_release(self, permit_id: str) -> None:
        try:
            await self._commit.ask(permit_id)
        except UnavailableError as error:
            _LOG.warning("permit of %s not given back, it will be found: %s", self._tenant, error)

    def _spawn(self, what: object) -> None:
        assert asyncio.iscoroutine(what)
        task: asyncio.Task[None] = asyncio.create_task(what)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        self.look()

    async def _keep(self) -> None:
        """Ask in time: before a block is over, when there may be more, when a job is to be told."""
        while True:
            self._changed.clear()
            times = [
                (at_s, stock)
                for stock in self._stocks.values()
                if (at_s := stock.next_ask_s()) is not None
            ]
            if not times:
                await self._changed.wait()
                continue
            at_s, stock = min(times, key=lambda one: one[0])
            pause_s = at_s - monotonic_s()
            if pause_s > 0:
                try:
                    async with asyncio.timeout(pause_s):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                continue
            await self._ask(stock)

    def _pause_s(self) -> float:
        """Return how long to wait before the next exchange.

        Where more gates than a few exchange with one ledger they take turns, so that no more
        exchanges than the server bears are in flight at once. When one has taken long, there were
        too many all the same, and gates must not come back at the same time.
        """
        if not self._last_s:
            # Nobody knows how many gates begin in this very moment, after a deployment say.
            return _FIRST_WITHIN_S * random.random()  # noqa: S311 - no secret
        # Not all after the same time, or those that were answered together come back together.
        spread = 0.5 + random.random()  # noqa: S311 - no secret
        pause_s = (self._turns - 1) * self._took_s * spread
        if self._last_s > _LONG_S:
            pause_s += self._last_s * random.random()  # noqa: S311 - no secret
        return pause_s

    async def _exchange(self, asks: Sequence[Ask]) -> list[Decision | None]:
        number = next(self._number)
        stocks = list(dict.fromkeys(ask for ask in asks if isinstance(ask, Stock)))
        message = Exchange(
            gate=self._gate,
            number=number,
            acquires=[ask for ask in asks if isinstance(ask, Acquire)],
            releases=[ask for ask in asks if isinstance(ask, str)],
            leases=[lease for stock in stocks for lease in stock.compose()],
        )
        began_s = monotonic_s()
        try:
            reply = await self._ledger.update(
                "exchange", message, f"{self._gate}:{number}", ExchangeReply, _GIVE_UP_S
            )
            if not reply.ready:
                raise UnavailableError("the ledger is being restored from Postgres; ask again")
        except Exception:
            self._last_s = monotonic_s() - began_s
            for stock in self._stocks.values():
                stock.is_away = True
            for stock in stocks:
                stock.missed()
            self._changed.set()
            raise
        self._last_s = monotonic_s() - began_s
        self._took_s += 0.2 * (min(self._last_s, _LONG_S) - self._took_s)
        self._turns = max(1, -(-reply.gates // _IN_FLIGHT))
        self._leased.update(reply.leased)
        for stock in self._stocks.values():
            stock.is_away = False
        for stock in stocks:
            mine = [one for one in reply.leases if one.resource == stock.resource]
            for id in stock.hear(mine):
                self._ended(id)
        self._changed.set()
        decisions = iter(reply.decisions)
        return [next(decisions) if isinstance(ask, Acquire) else None for ask in asks]
