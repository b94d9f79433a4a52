"""What a gate does with one ledger: permits and blocks, many in one exchange."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Final

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.gate.clock import monotonic_s
from headgate.gate.group_commit import GroupCommit
from headgate.gate.metrics import NOT_COUNTED, GateMetrics
from headgate.gate.outlooks import Outlooks, Wish
from headgate.gate.spacing import Spacing
from headgate.gate.stock import Stock
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.errors import UnavailableError
from headgate.model.lease import HOLDERS_AT_ONCE, LEASES_AT_ONCE, MOST_HOLDERS
from headgate.model.ledger import (
    Acquire,
    Decision,
    Exchange,
    ExchangeReply,
    Hello,
    Outlook,
    Turn,
)
from headgate.model.limits import SlotUse

_LOG = logging.getLogger("headgate.gate")
_AT_ONCE: Final = 200
_RETURNED_AT_ONCE: Final = LEASES_AT_ONCE // 2
_GIVE_UP_S: Final = 5.0
_HELLO_S: Final = 2.0
_TURN_S: Final = 0.25
_LOOK_UP_S: Final = 1.0
_LOOK_UP_AFTER_S: Final = 0.1
_LOOK_UP_SHARE_S: Final = 0.05
"""Jobs that may hold something elsewhere are asked after together, and by all gates of a ledger no
more than twenty times a second."""

_BEGINS_WITHIN_S: Final = (0.1, 0.2, 0.4, 0.8, 1.0)
"""A ledger that has just begun is asked again after these pauses."""

_LAST_ROUNDS: Final = MOST_HOLDERS // HOLDERS_AT_ONCE

_FIRST_WITHIN_MS: Final = 1_500
_AFTER_FAILURE_S: Final = 0.5
_RELEASE_AGAIN_S: Final = (1, 2, 5, 10, *[20] * 30)
"""For ten minutes; then it is left to those who look after holders."""

Ask = Acquire | str | Stock


class LedgerLink:
    """Group commit of acquires, releases and asks for blocks to the ledger of one tenant.

    Args:
        tenant: Whose.
        gate: The gate's id.
        ledger: The workflow.
        ended: Is told the id of a permit whose job has closed elsewhere.
        slots: Returns how busy the workers of this process are.
        metrics: What is counted for people.
    """

    def __init__(
        self,
        tenant: str,
        gate: str,
        ledger: GovernanceWorkflow,
        ended: Callable[[str], None],
        slots: Callable[[], SlotUse | None] = lambda: None,
        metrics: GateMetrics = NOT_COUNTED,
    ) -> None:
        self._metrics = metrics
        self._has_told = False
        self._tenant = tenant
        self._gate = gate
        self._ledger = ledger
        self._ended = ended
        self._slots = slots
        self._number = count(1)
        self._stocks: dict[str, Stock] = {}
        self._leased: set[str] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._took_s = 0.0
        self._turn_from_s = 0.0
        self._turn_s = 0.0
        self._frame_s = 0.0
        self._failed = False
        self._spacing = Spacing()
        self._gates = 1
        self._is_introduced = False
        self._is_closing = False
        self._lookups: GroupCommit[str, bool] = GroupCommit(
            self._look_up, _AT_ONCE, self._look_up_pause_s
        )
        self.outlooks = Outlooks(self._look_ahead, _AT_ONCE, self._look_up_pause_s)
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

    async def is_held(self, permit_id: str) -> bool:
        """Return whether a permit is held, out of whichever gate's block.

        For whom would wait else: it takes a moment, and what is not known counts as not held.
        """
        return await self._lookups.ask(permit_id)

    # Blocks ------------------------------------------------------------------------------------

    def stock(self, resource: str) -> Stock:
        """Return what this gate has of a resource."""
        found = self._stocks.get(resource)
        if found is None:
            count_ungoverned = self._metrics.ungoverned(resource)
            found = Stock(self._tenant, resource, self._tell, count_ungoverned=count_ungoverned)
            self._stocks[resource] = found
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
        self._is_closing = True
        if self._keeper is not None:
            self._keeper.cancel()
        self._is_introduced = True  # whoever leaves will not come often enough to need a turn
        await self._commit.idle()
        await self._return([stock for stock in self.stocks if stock.return_all()])
        # Of jobs that one message had no room for, and of those that have ended elsewhere just now.
        for _ in range(_LAST_ROUNDS):
            untold = [one for one in self.stocks if one.has_news and not one.is_away]
            if not untold:
                break
            await self._return([stock for stock in untold if stock.return_all()])
        await self._commit.idle()
        for task in self._asking:
            task.cancel()  # what could not be given back is found
        if self._turn_s:
            try:
                leaves = Hello(gate=self._gate, leaves=True)
                await self._ledger.signal("hello", leaves, _HELLO_S)
            except Exception as error:
                _LOG.debug("the ledger of %s will keep a turn for a while: %s", self._tenant, error)

    # Inside ------------------------------------------------------------------------------------

    async def _look_up(self, ids: Sequence[str]) -> list[bool]:
        held: list[str] = []
        try:
            held = await self._ledger.query("held", list[str], _LOOK_UP_S, list(ids))
        except Exception as error:
            _LOG.debug("the ledger of %s does not say what is held: %s", self._tenant, error)
        return [id in held for id in ids]

    async def _look_ahead(self, wishes: Sequence[Wish]) -> list[Outlook]:
        """Ask whether requests could be granted if it were not for a breaker.

        Of a tenant for whom nothing has been asked yet, whoever asks first has the ledger begin.

        Raises:
            UnavailableError: It does not say; or ``RPCError``.
        """
        asked = list(dict.fromkeys(wishes))
        for pause_s in _BEGINS_WITHIN_S:
            try:
                needs = [dict(wish) for wish in asked]
                found = await self._ledger.query("outlook", list[Outlook], _LOOK_UP_S, needs)
            except WorkflowQueryFailedError as error:  # it is being restored, or of before
                _LOG.debug("the ledger of %s does not look ahead: %s", self._tenant, error)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                await self._ledger.signal("hello", Hello(gate=self._gate), _HELLO_S)
            else:
                said = dict(zip(asked, found, strict=True))
                return [said[wish] for wish in wishes]
            await asyncio.sleep(pause_s)
        raise UnavailableError(f"the ledger of {self._tenant} does not look ahead")

    def _look_up_pause_s(self) -> float:
        return max(_LOOK_UP_AFTER_S, _LOOK_UP_SHARE_S * self._gates)

    def _tell(self, stock: Stock) -> None:
        self._spawn(self._ask(stock))

    async def _ask(self, stock: Stock) -> None:
        try:
            await self._commit.ask(stock)
        except Exception as error:
            # Nobody else would hear of it; and whoever keeps the blocks has to go on.
            if not isinstance(error, UnavailableError):
                stock.trouble = str(error)
            if not self._has_told:
                _LOG.warning("no answer from the ledger of %s, asking on: %s", self._tenant, error)
                self._has_told = True
        else:
            self._has_told = False

    async def _return(self, stocks: Sequence[Stock]) -> None:
        """Give back what is not used, in few messages: whoever leaves has not much time."""
        for n in range(0, len(stocks), _RETURNED_AT_ONCE):
            await asyncio.gather(*map(self._ask, stocks[n : n + _RETURNED_AT_ONCE]))

    async def _try_release(self, permit_id: str) -> None:
        """Give a permit back, also when the ledger is away for a while."""
        for pause_s in _RELEASE_AGAIN_S:
            try:
                await self._commit.ask(permit_id)
            except UnavailableError as error:
                last = error
            else:
                return
            if self._is_closing:
                break
            await asyncio.sleep(pause_s)
        _LOG.warning("permit of %s not given back, it will be found: %s", self._tenant, last)

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
        """Return how long to wait before the next exchange: until the turn that the ledger gave.

        Who has no turns, or has had no answer, comes at a moment left to chance, so that gates
        that begin together do not come together; and no more often than is of use.
        """
        chance = random.random()  # noqa: S311 - no secret
        if self._failed:
            return self._frame_s + _AFTER_FAILURE_S * chance
        if not self._turn_s:
            return max(self._frame_s * chance, self._spacing.wait_s(monotonic_s()))
        since_s = (monotonic_s() - self._turn_from_s) % self._frame_s
        # One that would not be answered within the turn would meet those of the next group.
        is_turn = since_s < max(self._turn_s - self._took_s, self._turn_s / 2)
        return 0.0 if is_turn else self._frame_s - since_s

    async def _introduce(self) -> None:
        """Say hello, and ask when to come.

        Nobody knows how many gates begin in this very moment, after a deployment say, and signals
        are not held to ten at a time. Of queries a busy workflow takes one at a time: who gets no
        answer at once is one of many, and leaves its first exchange to chance.
        """
        try:
            await self._ledger.signal("hello", Hello(gate=self._gate), _HELLO_S)
            turn = await self._ledger.query("turn", Turn, _TURN_S, self._gate)
        except Exception as error:
            _LOG.debug("the ledger of %s does not say when to come: %s", self._tenant, error)
            turn = Turn(frame_ms=_FIRST_WITHIN_MS)
        self._hear(turn, time.time() * 1000)
        await asyncio.sleep(self._pause_s())

    def _hear(self, turn: Turn, ledger_ms: float) -> None:
        self._turn_s, self._frame_s = turn.lasts_ms / 1000, turn.frame_ms / 1000
        since_ms = ledger_ms - turn.begins_ms
        self._turn_from_s = (
            monotonic_s() - (since_ms % turn.frame_ms if turn.lasts_ms else 0) / 1000
        )

    async def _exchange(self, asks: Sequence[Ask]) -> list[Decision | None]:
        if not self._is_introduced:
            await self._introduce()
            self._is_introduced = True
        number = next(self._number)
        stocks, others = _as_many_as_fit(ask for ask in asks if isinstance(ask, Stock))
        for stock in others:
            self._tell(stock)  # with the next message
        began_s = monotonic_s()
        try:
            message = Exchange(
                gate=self._gate,
                number=number,
                acquires=[ask for ask in asks if isinstance(ask, Acquire)],
                releases=[ask for ask in asks if isinstance(ask, str)],
                leases=[lease for stock in stocks for lease in stock.compose()],
                took_ms=round(self._took_s * 1000),
                slots=self._slots(),
            )
            reply = await self._ledger.update(
                "exchange", message, f"{self._gate}:{number}", ExchangeReply, _GIVE_UP_S
            )
            if not reply.ready:
                raise UnavailableError("the ledger is being restored from Postgres; ask again")
        except Exception:
            self._took_s, self._failed = monotonic_s() - began_s, True
            for stock in self._stocks.values():
                stock.is_away = True
            for stock in stocks:
                stock.missed()
            self._changed.set()
            raise
        self._took_s, self._failed = monotonic_s() - began_s, False
        self._hear(reply.turn, reply.now_ms)
        self._leased.update(reply.leased)
        self._gates = reply.gates
        for stock in self._stocks.values():
            stock.is_away = False
        for stock in stocks:
            mine = [one for one in reply.leases if one.resource == stock.resource]
            for id in stock.hear(mine):
                self._ended(id)
        self._changed.set()
        decisions = iter(reply.decisions)
        return [next(decisions) if isinstance(ask, Acquire) else None for ask in asks]


def _as_many_as_fit(stocks: Iterable[Stock]) -> tuple[list[Stock], list[Stock]]:
    """Return those of which one message can speak, and the others."""
    found = list(dict.fromkeys(stocks))
    blocks = 0
    for n, stock in enumerate(found):
        blocks += stock.blocks
        if n and blocks > LEASES_AT_ONCE:
            return found[:n], found[n:]
    return found, []
