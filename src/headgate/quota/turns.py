"""Turns: when each gate may come again, so that the server bears the exchanges of a large fleet.

Temporal bears ten updates in flight for a workflow; beyond that all of them fail, are sent again
and fail again. So when a fleet of more than a few gates keeps a ledger busy, the ledger, which
answers them all, has them come by turns: six at a time, each group for a while. A server that
stands still for less than that while has the exchanges of two groups before it at most.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from headgate.model.ledger import Turn
from headgate.quota.past import GateMark

FREE: Final = 8
"""So few gates may come at any time."""

_AT_ONCE: Final = 6
_TURN_MS: Final = 400
_FRAME_MS: Final = 3_000
_SHORT_TURN_MS: Final = 120
"""Of a turn where there are so many groups that otherwise each would have to wait for too long."""

_SPREAD_MS: Final = 8
_BUSY: Final = 4.0
_QUIET: Final = 1.5
_OVER_MS: Final = 1_000
_GROWS_MS: Final = 2_000
_MOST_TOOK_MS: Final = 500
_ANY_TIME: Final = Turn(frame_ms=0)
_HERE_MS: Final = 4_000
"""A gate that has not come for so long has no turn kept for it."""


class Turns:
    """Deals out turns.

    Args:
        gates: Which gates came when, in the order of time, as far as earlier runs have seen.
    """

    def __init__(self, gates: Mapping[str, GateMark]) -> None:
        self._here = {gate: mark.at_ms for gate, mark in gates.items()}
        self._recent: deque[tuple[int, int]] = deque()
        self._took_ms = 0
        self._most = 0
        self._busy_until_ms = 0

    def hello(self, gate: str, now_ms: int) -> None:
        """Take note of a gate that is going to exchange."""
        self._note(gate, 0, now_ms)

    def next(self, gate: str, gates: int, took_ms: int, now_ms: int) -> Turn:
        """Return the turn of a gate that has just exchanged.

        Args:
            gate: Its id.
            gates: How many exchange these days, if only now and then.
            took_ms: How long its last exchange took, as the gate saw it; 0: it was its first.
            now_ms: Unix time.
        """
        self._note(gate, min(took_ms, _MOST_TOOK_MS), now_ms)
        return self.of(gate, gates, now_ms)

    def of(self, gate: str, gates: int, now_ms: int) -> Turn:
        """Return the turn of a gate."""
        here = sorted(self._here)
        if len(here) <= FREE or now_ms >= self._busy_until_ms or gate not in self._here:
            return Turn(frame_ms=gates * _SPREAD_MS) if gates > FREE else _ANY_TIME
        groups = -(-len(here) // _AT_ONCE)
        lasts_ms = max(_SHORT_TURN_MS, min(_TURN_MS, _FRAME_MS // groups))
        begins_ms = here.index(gate) % groups * lasts_ms
        return Turn(begins_ms=begins_ms, lasts_ms=lasts_ms, frame_ms=groups * lasts_ms)

    def _note(self, gate: str, took_ms: int, now_ms: int) -> None:
        self._here.pop(gate, None)
        self._here[gate] = now_ms
        while self._here[oldest := next(iter(self._here))] <= now_ms - _HERE_MS:
            del self._here[oldest]
        self._look(len(self._here), took_ms, now_ms)

    def _look(self, gates: int, took_ms: int, now_ms: int) -> None:
        """See how many exchanges are in flight on an average: busy is quick to come, slow to go."""
        self._recent.append((now_ms, took_ms))
        self._took_ms += took_ms
        while self._recent[0][0] <= now_ms - _OVER_MS:
            self._took_ms -= self._recent.popleft()[1]
        in_flight = self._took_ms / _OVER_MS
        is_busy = now_ms < self._busy_until_ms
        if in_flight >= (_QUIET if is_busy else _BUSY):
            self._busy_until_ms = max(self._busy_until_ms, now_ms + _OVER_MS)
        if gates > self._most:  # after a deployment say: more come, unasked
            self._busy_until_ms = now_ms + _GROWS_MS
        self._most = gates
