"""What a gate has of one tenant's resource: the block it grants from, and the calls that wait."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Final

from headgate.gate.block import Block
from headgate.gate.clock import monotonic_s
from headgate.gate.waiting import (
    Shortage,
    Waiting,
    beyond,
    has_room,
    line_of,
    turned_away,
)
from headgate.model.lease import (
    LEASES_AT_ONCE,
    MOST_HOLD_MS,
    MOST_UNITS,
    LeaseAsk,
    LeaseGrant,
    LeaseHolder,
    LineRoom,
    WhenAway,
)
from headgate.model.reason import Reason, ReasonCode

_TELL_JOBS_AFTER_S: Final = 5.0
"""So old a job's hold may become before the ledger is told of it, if the process should die."""

_TELL_JOBS: Final = 150
_SOON_S: Final = 0.5
_RETRY_MS: Final = 250
_UNMET_S: Final = 10.0
"""For so long after a refusal a call counts as still there: Temporal will try it again."""

_HOLDS_S: Final = 5.0
"""So long calls are refused by what the ledger has said, and do not ask it themselves."""

_ANSWERS_WITHIN_S: Final = 1.0
_NEVER: Final = frozenset(
    {ReasonCode.UNKNOWN_TENANT, ReasonCode.UNKNOWN_RESOURCE, ReasonCode.CAN_NEVER_FIT}
)


UNGOVERNED: Final = Block("", 0)
"""Stands for units that were let pass uncounted while the ledger was away."""


class Stock:
    """Units of one resource of one tenant, as far as this gate may grant them by itself.

    Attributes:
        trouble: What people have to mend before the ledger can be asked; empty: nothing is known.

    Args:
        tenant: Whose.
        resource: What is counted.
        tell: Sends what ``compose`` returns to the ledger, and hands the answers to ``hear``.
        clock: Seconds that never go back.
        count_ungoverned: Counts a call that passes although the ledger is away.
    """

    def __init__(
        self,
        tenant: str,
        resource: str,
        tell: Callable[["Stock"], None],
        clock: Callable[[], float] = monotonic_s,
        count_ungoverned: Callable[[], None] = lambda: None,
    ) -> None:
        self.tenant = tenant
        self.resource = resource
        self.block = Block(resource, 1)
        self._tell = tell
        self._count_ungoverned = count_ungoverned
        self._clock = clock
        self._closing: list[Block] = []
        self._waiting: list[Waiting] = []
        self.has_waiting = False
        self._order = itertools.count()
        self._is_asking = False
        self.is_away = False
        self.trouble = ""
        self._heard_s = 0.0
        self._asked_s = 0.0
        self._told_waiting = 0
        self._untold_since_s: dict[str, float] = {}
        self._unmet_until_s = 0.0
        self._ask_on_s = 0.0
        self._look_at_s = 0.0
        self._taken_at_look = 0

    # Taking and giving -------------------------------------------------------------------------

    def take_now(self, units: int, hold_ms: int) -> Block | None:
        """Take units out without waiting; None: they are not here, or others wait for them."""
        if self._waiting or not self.block.take(units, self._clock(), hold_ms):
            return None
        self.block.note_peak()
        return self.block

    async def take(
        self, units: int, patience_s: float, *, hold_ms: int, priority: int = 0
    ) -> Block | Shortage:
        """Take units out, or wait for them; the higher priority first, then who came first.

        Args:
            units: How many.
            patience_s: How long to wait at most.
            hold_ms: How long they may stay out.
            priority: Of the call.
        """
        hold_ms = min(hold_ms, MOST_HOLD_MS)  # more the ledger cannot be told
        if hold_ms > self.block.hold_ms:
            self.block.hold_ms = hold_ms
        if (block := self.take_now(units, hold_ms)) is not None:
            return block
        shortage = self._hopeless(units) or self._one_too_many(units, priority)
        if shortage is not None:
            self.block.denied += 1
            return shortage
        if self.lets_pass_while_away:
            self._ask_on(units)
            return self._pass_uncounted()
        future: asyncio.Future[Block | Shortage] = asyncio.get_running_loop().create_future()
        heapq.heappush(
            self._waiting,
            Waiting((-priority, next(self._order)), units, hold_ms, future, self._clock()),
        )
        self.has_waiting = True
        self.block.waiting += units
        self._ask_if_due()
        try:
            async with asyncio.timeout(patience_s):
                return await future
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()  # in the same moment
            self._forget(future, units)
            if self.lets_pass_while_away:
                return self._pass_uncounted()
            self.block.denied += 1
            self._come_again_for(units)
            return self._shortage()
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                taken = future.result()
                if isinstance(taken, Block):
                    self.give(taken, units)
            else:
                self._forget(future, units)
            raise

    def give(self, block: Block, units: int) -> None:
        """Give units back; who waits gets them at once."""
        block.give(units)
        if self._waiting:
            self.serve()

    def hold(self, block: Block, job: LeaseHolder) -> None:
        """Note that a job keeps what was taken out, until ``let_go``."""
        block.hold(job)
        self._untold_since_s[job.id] = self._clock()

    def let_go(self, id: str) -> bool:
        """Give back what a job has kept; False: it is not known here, the ledger has to be told.

        A block that is over has passed its jobs on to the ledger.
        """
        self._untold_since_s.pop(id, None)
        if self.block.let_go(id) is not None:
            if self._waiting:
                self.serve()
            return True
        for block in self._closing:
            block.let_go(id)
        return False

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing here that anybody would miss."""
        block = self.block
        return not (
            self._waiting
            or self._closing
            or block.out
            or block.number
            or block.unmet
            or block.has_news
        )

    @property
    def lets_pass_while_away(self) -> bool:
        """Whether calls pass uncounted: the ledger is away, and it is configured so."""
        return (
            self._is_unreachable
            and self._clock() >= self.block.until_s
            and self.block.when_away is WhenAway.FAIL_OPEN
        )

    @property
    def _is_unreachable(self) -> bool:
        waits_in_vain = self._is_asking and self._clock() >= self._asked_s + _ANSWERS_WITHIN_S
        return self.is_away or waits_in_vain

    # The ledger --------------------------------------------------------------------------------

    def next_ask_s(self) -> float | None:
        """Return when the ledger has to be asked next, by the gate's clock; None: not at all."""
        if self._is_asking:
            return None
        times: list[float] = []
        block = self.block
        if block.number:
            times.append(self._idle_at_s(block.ask_at_s))
        if block.unmet and self._clock() >= self._unmet_until_s:
            block.unmet = 0
        if self._waiting or block.unmet:
            times.append(self._retry_s())
        if self._closing:
            times.append(self._heard_s + _SOON_S)
        if block.has_news >= _TELL_JOBS:
            times.append(0.0)
        elif self._untold_since_s:
            # Jobs that are soon over need not be told of at all.
            times.append(next(iter(self._untold_since_s.values())) + _TELL_JOBS_AFTER_S)
        return min(times, default=None)

    @property
    def blocks(self) -> int:
        """How many blocks ``compose`` speaks of, at most."""
        return len(self._closing) + 1 + bool(self.block.number)

    def compose(self) -> list[LeaseAsk]:
        """Return what to tell the ledger now."""
        now_s = self._clock()
        if self.block.number and now_s >= self.block.until_s and self.block.grant is not None:
            self._begin_anew()  # not renewed in time: nobody may take it for valid any more
        self._is_asking = True
        self._asked_s = now_s
        self._untold_since_s.clear()
        self._told_waiting = self.block.lacking
        waiting = max((one.units for one in self._waiting if not one.future.done()), default=0)
        self.block.largest = max(waiting, self.block.unmet)
        self.block.line = line_of(self._waiting, now_s)
        blocks = [*self._closing]
        if self.block.number or self._waiting or self.block.unmet:
            blocks.append(self.block)
        return [block.ask(now_s) for block in blocks[-LEASES_AT_ONCE:]]

    def hear(self, grants: Sequence[LeaseGrant]) -> list[str]:
        """Take the answers; return the jobs that have closed elsewhere."""
        self._is_asking = self.is_away = False
        self.trouble = ""
        self._heard_s = self._clock()
        ended: list[str] = []
        for grant in grants:
            for block in (*self._closing, self.block):
                if block.term != grant.term:
                    continue
                block.hear(grant)
                if block is self.block:
                    ended += grant.ended
                    for id in grant.ended:
                        block.let_go(id)
                    if grant.is_over:
                        self._begin_anew()
                    elif not (grant.units or block.out or self._waiting or block.unmet):
                        self.block = Block(self.resource, block.term + 1, grant=block.grant)
        self._closing = [block for block in self._closing if block.is_needed]
        self._dismiss_hopeless()
        self.serve()
        self._turn_away()
        self._told_waiting = min(self._told_waiting, self.block.lacking)
        self._look_at_s = 0.0
        return ended

    def missed(self) -> None:
        """Note that the ledger has not answered."""
        self._is_asking = False
        self.is_away = True
        self._heard_s = self._clock()
        if self.lets_pass_while_away:
            while self._waiting:
                waiting = heapq.heappop(self._waiting)
                self.has_waiting = bool(self._waiting)
                if not waiting.future.done():
                    self.block.waiting -= waiting.units
                    waiting.future.set_result(self._pass_uncounted())

    @property
    def has_news(self) -> bool:
        """Whether there are jobs that the ledger has yet to hear of, or takes for holders still."""
        return any(block.has_news for block in (*self._closing, self.block))

    def return_all(self) -> bool:
        """Want nothing more; return whether there is something to tell the ledger.

        Jobs that hold units go on in other processes, so their permits are the ledger's own: else
        what they give back there would count for as long as a block that nobody renews.
        """
        self.block.want_no_more()
        if self.block.has_jobs:
            self._begin_anew()
        return bool(self.block.number or self._closing)

    # Inside ------------------------------------------------------------------------------------

    def _pass_uncounted(self) -> Block:
        self._count_ungoverned()
        return UNGOVERNED

    def _come_again_for(self, units: int) -> None:
        """Ask the ledger, though nobody waits here just now."""
        self.block.unmet = max(self.block.unmet, units)
        self._unmet_until_s = self._clock() + _UNMET_S

    def _ask_on(self, units: int) -> None:
        """Ask now and then whether the ledger is back, since nobody waits for it."""
        self._come_again_for(units)
        now_s = self._clock()
        if now_s >= self._ask_on_s:
            self._ask_on_s = now_s + _SOON_S
            self._ask_if_due()

    def _begin_anew(self) -> None:
        over, self.block = self.block, Block(self.resource, self.block.term + 1)
        self.block.grant, self.block.hold_ms = over.grant, over.hold_ms
        self.block.unmet = over.unmet
        self.block.waiting = sum(one.units for one in self._waiting if not one.future.done())
        over.end()
        over.waiting = 0
        if over.number and over.is_needed:
            self._closing.append(over)

    def serve(self) -> None:
        """Give those who wait what there is, in their order."""
        now_s = self._clock()
        block = self.block
        while self._waiting:
            first = self._waiting[0]
            if first.future.done():
                heapq.heappop(self._waiting)
                self.has_waiting = bool(self._waiting)
                continue
            if not block.take(first.units, now_s, first.hold_ms):
                self._ask_if_due()
                return
            heapq.heappop(self._waiting)
            self.has_waiting = bool(self._waiting)
            block.waiting -= first.units
            block.note_peak()
            first.future.set_result(block)

    def _dismiss_hopeless(self) -> None:
        """Tell those who wait for what can never be had."""
        for one in list(self._waiting):
            if not one.future.done() and (shortage := self._hopeless(one.units)) is not None:
                self._forget(one.future, one.units)
                self.block.denied += 1
                one.future.set_result(shortage)

    def _turn_away(self) -> None:
        """Refuse those for whom there is too much under way already."""
        for room in self._rooms():
            for one in beyond(room, self._waiting):
                self._forget(one.future, one.units)
                self.block.denied += 1
                one.future.set_result(turned_away(room))

    def _one_too_many(self, units: int, priority: int) -> Shortage | None:
        """Return why a call that would have to wait may not."""
        for room in self._rooms():
            if not has_room(room, self._waiting, units, priority):
                return turned_away(room)
        return None

    def _rooms(self) -> list[LineRoom]:
        """Return of which priorities not all may wait, as far as is known."""
        grant = self.block.grant
        if grant is None or self._clock() >= self._heard_s + _HOLDS_S:
            return []
        return grant.turn_away

    def _forget(self, future: asyncio.Future[Block | Shortage], units: int) -> None:
        self._waiting = [one for one in self._waiting if one.future is not future]
        heapq.heapify(self._waiting)
        self.has_waiting = bool(self._waiting)
        self.block.waiting = max(0, self.block.waiting - units)

    def _ask_if_due(self) -> None:
        at_s = self.next_ask_s()
        if at_s is not None and at_s <= self._clock():
            self._tell(self)

    def _retry_s(self) -> float:
        grant = self.block.grant
        if self.is_away:
            return self._heard_s + _SOON_S
        block = self.block
        if (
            grant is None
            or block.lacking > self._told_waiting
            or block.hold_ms > block.told_hold_ms
        ):
            return 0.0  # the ledger does not know yet
        retry_ms = _RETRY_MS if grant.retry_in_ms is None else grant.retry_in_ms
        return self._heard_s + retry_ms / 1000

    def _idle_at_s(self, ask_at_s: float) -> float:
        """Return when to ask about a block, or to see again whether it is used.

        A block that is not used goes back early when others may want it.
        """
        block = self.block
        idle_ms = None if block.grant is None else block.grant.idle_ms
        if idle_ms is None or not block.units or self._waiting or block.unmet:
            return ask_at_s
        now_s = self._clock()
        if not self._look_at_s or now_s >= self._look_at_s:
            if self._look_at_s and block.taken == self._taken_at_look and not block.out:
                block.want_no_more()
                return now_s
            self._look_at_s, self._taken_at_look = now_s + idle_ms / 1000, block.taken
        return min(ask_at_s, self._look_at_s)

    def _hopeless(self, units: int) -> Shortage | None:
        """Return why waiting is of no use."""
        if units > MOST_UNITS:
            message = f"nobody can have more than {MOST_UNITS:,} {self.resource} at once"
            reason = Reason(
                code=ReasonCode.CAN_NEVER_FIT, message=message, limit=MOST_UNITS, needed=units
            )
            return Shortage(reason, None)
        grant = self.block.grant
        if grant is None:
            return None
        # What people have changed since is learned by asking again, now and then.
        if self._clock() >= self._heard_s + _HOLDS_S:
            return None
        if grant.too_large is not None and grant.too_large.needed == units:
            return Shortage(grant.too_large, None)
        if grant.reason is None or grant.reason.code not in _NEVER:
            return None
        return Shortage(grant.reason, None)

    def _shortage(self) -> Shortage:
        grant = self.block.grant
        if self._is_unreachable or grant is None:
            message = f"the ledger of {self.tenant} does not answer"
            if self.trouble:
                message = f"the ledger of {self.tenant} cannot be asked: {self.trouble}"
            return Shortage(Reason(code=ReasonCode.UNAVAILABLE, message=message), 1.0)
        if grant.reason is not None:
            never = grant.reason.code in _NEVER
            retry_s = None if never else max(0.2, (grant.retry_in_ms or 1_000) / 1000)
            return Shortage(grant.reason, retry_s)
        reason = Reason(
            code=ReasonCode.QUOTA_USED_UP,
            message=f"all {grant.units} {self.resource} that this process has of {self.tenant} "
            "are in use",
            limit=grant.units,
            used=self.block.out,
        )
        return Shortage(reason, 1.0)
