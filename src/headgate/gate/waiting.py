"""Calls that wait at a gate for units: what to say of them, and which of them may not."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from headgate.gate.block import Block
from headgate.gate.ticket import Refusal
from headgate.model.lease import MOST_TIERS, MOST_UNITS, LineRoom, WaitingCalls
from headgate.model.reason import Reason


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why units were not to be had, and after how many seconds there may be more; None: never."""

    reason: Reason
    retry_in_s: float | None

    def refusal(self, now_ms: int) -> Refusal:
        """Return the same as the answer to a call."""
        if self.retry_in_s is None:
            return Refusal(self.reason, None)
        return Refusal(self.reason, now_ms + round(self.retry_in_s * 1000))


@dataclass(order=True, slots=True)
class Waiting:
    """A call that waits; in the order in which they are served.

    Attributes:
        rank: Its priority, below zero, and its place.
        units: What it needs.
        hold_ms: How long it may keep them.
        future: Takes the block that they came out of, or why there are none.
        since_s: Since when it has waited, by the gate's clock.
    """

    rank: tuple[int, int]
    units: int = field(compare=False)
    hold_ms: int = field(compare=False)
    future: asyncio.Future[Block | Shortage] = field(compare=False)
    since_s: float = field(compare=False, default=0.0)

    @property
    def priority(self) -> int:
        """Of the call."""
        return -self.rank[0]


def line_of(waiting: Iterable[Waiting], now_s: float) -> list[WaitingCalls]:
    """Return what waits by priority, the highest first; of too many, the highest."""
    found: dict[int, list[Waiting]] = {}
    for one in sorted(waiting):
        if not one.future.done():
            found.setdefault(one.priority, []).append(one)
    return [
        WaitingCalls(
            priority=priority,
            calls=len(calls),
            units=min(sum(one.units for one in calls), MOST_UNITS),
            waited_ms=round((now_s - min(one.since_s for one in calls)) * 1000),
        )
        for priority, calls in list(found.items())[:MOST_TIERS]
    ]


def beyond(room: LineRoom, waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return for whom of its priority there is no room: the youngest, nobody passing another."""
    kept = 0
    found: list[Waiting] = []
    for one in sorted(waiting):
        if one.priority != room.priority or one.future.done():
            continue
        if found or not _fits(room, kept, one.units):
            found.append(one)
        else:
            kept += one.units
    return found


def has_room(room: LineRoom, waiting: Iterable[Waiting], units: int, priority: int) -> bool:
    """Return whether one more may wait."""
    if priority != room.priority:
        return True
    line = sum(one.units for one in waiting if one.priority == priority and not one.future.done())
    return _fits(room, line, units)


def turned_away(room: LineRoom) -> Shortage:
    """Return what to tell those who may not wait."""
    return Shortage(room.reason, room.retry_in_ms / 1000)


def _fits(room: LineRoom, before: int, units: int) -> bool:
    return before + units <= room.units or (before == 0 and room.units > 0)
