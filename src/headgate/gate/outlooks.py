"""What a ledger says of requests that a breaker keeps away, so that none waits for it in vain.

A breaker is asked first, so that nothing is spent on what it refuses. But what can never be granted
is refused at once, and what stands before a breaker in the rank of reasons is told first. So the
ledger is asked for that, by a query that changes nothing: only when a breaker refuses, for all that
asks in the same moment together, and while there is nothing to say no more than twice a minute, for
which nobody waits but the first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from headgate.gate.clock import monotonic_s
from headgate.gate.group_commit import GroupCommit
from headgate.gate.ticket import Refusal
from headgate.model.ledger import Outlook
from headgate.model.reason import Reason, ReasonCode

_LOG = logging.getLogger("headgate.gate")

Wish = tuple[tuple[str, int], ...]
"""Units by resource, in order."""

_CLEAR_S: Final = 30.0
"""For so long it is believed that nothing but the breaker is in the way."""

_TOLD_S: Final = 5.0
"""And so long what is, which people may end; or that the ledger does not say."""

_MOST_TOLD: Final = 1_000
_NOTHING: Final = Outlook()
_RANK: Final = {code: rank for rank, code in enumerate(ReasonCode)}


class _Clear(NamedTuple):
    """A wish that only the breaker is in the way of, and until when that is believed."""

    wish: Wish
    until_s: float

    def covers(self, wish: Wish) -> bool:
        """Return whether another of the same resources asks for no more."""
        return all(units <= most for (_, units), (_, most) in zip(wish, self.wish, strict=True))


class Outlooks:
    """Asks one ledger, and remembers for a while what it has said.

    Args:
        look: Asks the ledger; raises when it does not say.
        at_most: Wishes in one message.
        pause_s: Returns how long to wait before a message.
    """

    def __init__(
        self,
        look: Callable[[Sequence[Wish]], Awaitable[Sequence[Outlook]]],
        at_most: int,
        pause_s: Callable[[], float],
    ) -> None:
        self._commit = GroupCommit(look, at_most, pause_s)
        self._told: dict[Wish, tuple[Outlook, float]] = {}
        self._clear: dict[tuple[str, ...], _Clear] = {}
        self._asking: set[asyncio.Task[Outlook]] = set()
        self._silent_until_s = 0.0

    async def ranked(self, refusal: Refusal, needs: Mapping[str, int]) -> Refusal:
        """Return what to tell a request that a breaker refuses.

        Args:
            refusal: The breaker's.
            needs: Units by resource.

        Returns:
            The same, if nothing stands before it and it may be granted some time.
        """
        outlook = await self._of(tuple(sorted(needs.items())))
        if (found := outlook.reason) is None:
            return refusal
        if outlook.retry_at_ms is None:
            return Refusal(_first(refusal.reason, found), None)
        if found.endless:  # people may end it any moment
            return Refusal(found, refusal.retry_at_ms)
        return Refusal(found, max(outlook.retry_at_ms, refusal.retry_at_ms or 0))

    async def _of(self, wish: Wish) -> Outlook:
        now_s = monotonic_s()
        told, until_s = self._told.get(wish, (_NOTHING, 0.0))
        if now_s < until_s:
            return told
        clear = self._clear.get(_names(wish))
        if clear is not None and clear.covers(wish):
            if now_s >= clear.until_s:
                self._look_again(clear)
            return _NOTHING
        if now_s < self._silent_until_s:
            return _NOTHING
        return await self._ask(wish)

    def _look_again(self, clear: _Clear) -> None:
        """Ask once more; nobody waits for that."""
        self._clear[_names(clear.wish)] = clear._replace(until_s=monotonic_s() + _TOLD_S)
        task = asyncio.create_task(self._ask(clear.wish))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, wish: Wish) -> Outlook:
        try:
            outlook = await self._commit.ask(wish)
        except Exception as error:  # whatever it is, what the breaker says is true
            _LOG.debug("a ledger does not say what else is in the way: %s", error)
            self._silent_until_s = monotonic_s() + _TOLD_S
            return _NOTHING
        names = _names(wish)
        if outlook.reason is None:
            self._clear[names] = _Clear(wish, monotonic_s() + _CLEAR_S)
            return outlook
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[wish] = outlook, monotonic_s() + _TOLD_S
        if names in self._clear and self._clear[names].covers(wish):
            del self._clear[names]
        return outlook


def _names(wish: Wish) -> tuple[str, ...]:
    return tuple(resource for resource, _ in wish)


def _first(breaker: Reason, never: Reason) -> Reason:
    """Name the first in rank, and say of a breaker that its end will not help."""
    if _RANK[never.code] < _RANK[breaker.code]:
        return never
    message = f"{breaker.message}; and {never.message}"
    return never.model_copy(update={"code": breaker.code, "message": message})
