"""Turns: when each gate may come again, so that the server bears the exchanges of a large fleet.

Temporal bears ten updates in flight for a workflow; beyond that all of them fail, are sent again
and fail again. So when a fleet of more than a few gates keeps a ledger busy, the ledger, which
answers them all, has them come by turns: six at a time, each group for a while. A server that
stands still for less than that while has the exchanges of two groups before it at most.

A gate hears of its turn only when it exchanges, so when gates come or go, some go by the turns of
before for a while. That must not make a crowd. So a gate keeps its place, and the number of groups
is a power of two: with twice as many groups each of the old ones has been split, and who still goes
by the old turns comes with the same few as before.
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final

from headgate.model.ledger import Turn
from headgate.quota.past import GateMark

FREE: Final = 8
"""So few gates may come at any time."""

_AT_ONCE: Final = 6
_TURN_MS: Final = 400
_MOST_TURNS: Final = 8
"""A frame has as many turns at most. More groups than that share turns: each has a part of one."""

_MOST_GROUPS: Final = 32
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
        places: The place of each gate that has turns; part of the record, kept up to date here.
    """

    def __init__(self, gates: Mapping[str, GateMark], places: dict[str, int]) -> None:
        self._here = {gate: gates[gate].at_ms for gate in gates if gate in places}
        self._places = places
        for gate in places.keys() - self._here.keys():
            del places[gate]
        self._groups = _groups(places)
        self._recent: deque[tuple[int, int]] = deque()
        self._took_ms = 0
        self._most = 0
        self._busy_until_ms = 0

    def hello(self, gate: str, now_ms: int) -> None:
        """Take note of a gate that is going to exchange."""
        self._note(gate, 0, now_ms)

    def goodbye(self, gate: str) -> None:
        """Take note that a gate will not come again."""
        if self._here.pop(gate, None) is not None:
            del self._places[gate]
            self._groups = _groups(self._places)

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
        place = self._places.get(gate)
        if len(self._here) <= FREE or now_ms >= self._busy_until_ms or place is None:
            return Turn(frame_ms=gates * _SPREAD_MS) if gates > FREE else _ANY_TIME
        turns = min(self._groups, _MOST_TURNS)
        part, turn = divmod(place, turns)
        begins_ms, lasts_ms = turn * _TURN_MS, _TURN_MS
        for _ in range((self._groups // turns).bit_length() - 1):
            # The first half of it, or the second.
            lasts_ms //= 2
            begins_ms += part % 2 * lasts_ms
            part //= 2
        return Turn(begins_ms=begins_ms, lasts_ms=lasts_ms, frame_ms=turns * _TURN_MS)

    def _note(self, gate: str, took_ms: int, now_ms: int) -> None:
        is_new = self._here.pop(gate, None) is None
        self._here[gate] = now_ms
        while self._here[oldest := next(iter(self._here))] <= now_ms - _HERE_MS:
            self.goodbye(oldest)
        if is_new:
            taken = set(self._places.values())
            self._places[gate] = next(n for n in range(len(taken) + 1) if n not in taken)
            self._groups = _groups(self._places)
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


def _groups(places: Mapping[str, int]) -> int:
    """Return how many groups there have to be: a power of two."""
    groups = 1
    while groups < _MOST_GROUPS:
        sizes = Counter(place % groups for place in places.values())
        if max(sizes.values(), default=0) <= _AT_ONCE:
            break
        groups *= 2
    return groups
