"""The next of many deadlines, cheaply: a heap whose outdated entries are dropped when met."""

import heapq
from collections.abc import Callable
from typing import Final

SWEEP_FROM: Final = 1_024
"""Below so many entries, outdated ones are not worth looking for."""


class Deadlines:
    """Deadlines by id. One that no longer applies need not be removed: ``is_current`` tells."""

    def __init__(self, is_current: Callable[[str, int], bool]) -> None:
        self._heap: list[tuple[int, str]] = []
        self._is_current = is_current
        self._sweep_at = SWEEP_FROM

    def add(self, id: str, at_ms: int) -> None:
        """Remember that ``id`` is due at ``at_ms``."""
        heapq.heappush(self._heap, (at_ms, id))
        if len(self._heap) > self._sweep_at:
            # Most deadlines are far off and never met. Doubling keeps this O(1) per addition.
            self._heap = [entry for entry in self._heap if self._is_current(entry[1], entry[0])]
            heapq.heapify(self._heap)
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._heap))

    def next(self) -> int | None:
        """Return the earliest deadline that applies."""
        heap = self._heap
        while heap and not self._is_current(heap[0][1], heap[0][0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now_ms: int, at_most: int | None = None) -> list[str]:
        """Remove and return what is due, each id once, in the order of (deadline, id)."""
        found: list[str] = []
        while (at_ms := self.next()) is not None and at_ms <= now_ms and len(found) != at_most:
            _, id = heapq.heappop(self._heap)
            # An id that was forgotten and came back with the same deadline is in here twice.
            if found[-1:] != [id]:
                found.append(id)
        return found
