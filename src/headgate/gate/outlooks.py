"""What a ledger says of requests that a breaker keeps away, so that none waits for it in vain.

A breaker is asked first, so that nothing is spent on what it refuses. But what can never be granted
is refused at once, and what stands before a breaker in the rank of reasons is told first. So the
ledger is asked for that, by a query that changes nothing: only when a breaker refuses, for all that
asks in the same moment together, and while there is nothing to say no more than twice a minute.

What a breaker refuses is refused fast: a call waits for no ledger, and a job that has time only for
a moment. Who is told by the breaker alone is told the rest when it comes again; only what can never
be granted, as the ledger has said, waits for it to say so again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from headgate.gate.clock import monotonic_s
from headgate.gate.downstream import Downstream
from headgate.gate.group_commit import GroupCommit
from headgate.gate.ticket import Refusal
from headgate.model.ledger import Outlook
from headgate.model.reason import Reason, ReasonCode

_LOG = logging.getLogger("headgate.gate")

Wish = tuple[tuple[str, int], ...]
"""Units by resource, in order."""

Key = TypeVar("Key")
Value = TypeVar("Value")

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

    What can never be granted ends a job for good. So that is not remembered as an answer, which
    people may have changed since, but as a reason to wait for a new one.

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
        self._never: dict[Wish, None] = {}
        self._clear: dict[tuple[str, ...], _Clear] = {}
        self._asking: dict[Wish, asyncio.Task[Outlook]] = {}
        self._silent_until_s = 0.0

    async def of(self, needs: Mapping[str, int], patience_s: float = 0.0) -> Outlook:
        """Return what the ledger says of a request; nothing, as long as that is not known.

        Args:
            needs: Units by resource.
            patience_s: How long to wait for its answer at most. It goes on being asked after that.
                What it has said can never be granted waits for it in any case.
        """
        wish = tuple(sorted(needs.items()))
        if (known := self._known(wish)) is not None:
            return known
        asking = self._ask_aside(wish)
        if wish in self._never:
            await asyncio.wait([asking])
        elif patience_s:
            await asyncio.wait([asking], timeout=patience_s)
        return asking.result() if asking.done() else _NOTHING

    def close(self) -> None:
        """Ask no more."""
        for task in self._asking.values():
            task.cancel()

    def _known(self, wish: Wish) -> Outlook | None:
        now_s = monotonic_s()
        told, until_s = self._told.get(wish, (_NOTHING, 0.0))
        if now_s < until_s:
            return told
        clear = self._clear.get(_names(wish))
        if clear is not None and clear.covers(wish):
            if now_s >= max(clear.until_s, self._silent_until_s):
                self._ask_aside(clear.wish)
            return _NOTHING
        return _NOTHING if now_s < self._silent_until_s else None

    def _ask_aside(self, wish: Wish) -> asyncio.Task[Outlook]:
        """Ask, once for all who want to know."""
        task = self._asking.get(wish)
        if task is None:
            task = self._asking[wish] = asyncio.create_task(self._ask(wish))
            task.add_done_callback(lambda _: self._asking.pop(wish))
        return task

    async def _ask(self, wish: Wish) -> Outlook:
        try:
            outlook = await self._commit.ask(wish)
        except Exception as error:  # whatever it is, what the breaker says is true
            _LOG.debug("a ledger does not say what else is in the way: %s", error)
            self._silent_until_s = monotonic_s() + _TOLD_S
            return _NOTHING
        names = _names(wish)
        self._never.pop(wish, None)
        if outlook.reason is None:
            _keep(self._clear, names, _Clear(wish, monotonic_s() + _CLEAR_S))
            return outlook
        if outlook.retry_at_ms is None:
            _keep(self._never, wish, None)
        else:
            _keep(self._told, wish, (outlook, monotonic_s() + _TOLD_S))
        if names in self._clear and self._clear[names].covers(wish):
            del self._clear[names]
        return outlook


async def refusal_beside(
    to: Downstream,
    tenant: str,
    outlooks: Outlooks | None = None,
    needs: Mapping[str, int] = MappingProxyType({}),
    patience_s: float = 0.0,
) -> Refusal | None:
    """Return what to tell a request that a breaker refuses, and count it if it is the breaker's.

    Args:
        to: Whose breaker refuses.
        tenant: Who asks.
        outlooks: Of the tenant's ledger; None: no ledger is asked.
        needs: Units by resource.
        patience_s: How long to wait for what the ledger says at most.

    Returns:
        None, if the breaker has come to let pass meanwhile.
    """
    outlook = await outlooks.of(needs, patience_s) if outlooks is not None and needs else _NOTHING
    refusal = to.refusal()
    if refusal is None:
        return None
    told = ranked(refusal, outlook)
    if told is refusal:
        to.count_rejected(tenant)
    return told


def ranked(refusal: Refusal, outlook: Outlook) -> Refusal:
    """Return what to tell a request that a breaker refuses.

    Args:
        refusal: The breaker's.
        outlook: What the ledger says.

    Returns:
        The same refusal, if nothing stands before it and it may be granted some time.
    """
    if (found := outlook.reason) is None:
        return refusal
    if outlook.retry_at_ms is None:
        return Refusal(_first(refusal.reason, found), None)
    if found.endless:  # people may end it any moment
        return Refusal(found, refusal.retry_at_ms)
    return Refusal(found, max(outlook.retry_at_ms, refusal.retry_at_ms or 0))


def _keep(known: dict[Key, Value], key: Key, value: Value) -> None:
    if len(known) >= _MOST_TOLD:
        known.clear()
    known[key] = value


def _names(wish: Wish) -> tuple[str, ...]:
    return tuple(resource for resource, _ in wish)


def _first(breaker: Reason, never: Reason) -> Reason:
    """Name the first in rank, and say of a breaker that its end will not help."""
    if _RANK[never.code] < _RANK[breaker.code]:
        return never
    message = f"{breaker.message}; and {never.message}"
    return never.model_copy(update={"code": breaker.code, "message": message})
