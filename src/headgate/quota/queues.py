"""The waiting lines of a ledger, one for each resource: priority, then order of arrival.

Who needs several resources stands in the line of each. The order is the same in all lines, so the
first of all who wait is the first of each of its lines, and no two can wait for each other.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from heapq import merge

from headgate.quota.record import Waiter

_Place = tuple[int, int, str]


class Queues:
    """An index over the waiters of a record; holds no truth of its own."""

    def __init__(self, waiters: Iterable[tuple[str, Waiter]]) -> None:
        self._lines: dict[str, list[_Place]] = {}
        self._units: dict[str, int] = {}
        self._tiers: dict[str, dict[int, list[int]]] = {}  # jobs and units by priority
        for id, waiter in waiters:
            self.add(id, waiter)

    def add(self, id: str, waiter: Waiter) -> None:
        """Take a place in the line of each resource that the waiter needs."""
        place = _place(id, waiter)
        for resource, units in waiter.needs:
            line = self._lines.get(resource)
            if line is None:
                self._lines[resource] = [place]
                self._units[resource] = units
            else:
                insort(line, place)
                self._units[resource] += units
            tier = self._tiers.setdefault(resource, {}).setdefault(waiter.priority, [0, 0])
            tier[0] += 1
            tier[1] += units

    def remove(self, id: str, waiter: Waiter) -> None:
        """Leave the lines."""
        place = _place(id, waiter)
        for resource, units in waiter.needs:
            line = self._lines[resource]
            if len(line) == 1:
                del self._lines[resource], self._units[resource], self._tiers[resource]
                continue
            del line[bisect_left(line, place)]
            self._units[resource] -= units
            tier = self._tiers[resource][waiter.priority]
            if tier[0] == 1:
                del self._tiers[resource][waiter.priority]
            else:
                tier[0] -= 1
                tier[1] -= units

    def head(self, resource: str) -> str | None:
        """Return the id that is next, or None when nobody waits."""
        line = self._lines.get(resource)
        return line[0][2] if line else None

    def is_next(self, id: str, waiter: Waiter) -> bool:
        """Return whether the waiter is the first in every one of its lines."""
        return all(self._lines[resource][0][2] == id for resource, _ in waiter.needs)

    def position(self, id: str, waiter: Waiter) -> int:
        """Return the place in that of its lines in which it is farthest back; 1 is next."""
        place = _place(id, waiter)
        if not waiter.also:
            return 1 + bisect_left(self._lines[waiter.resource], place)
        return 1 + max(bisect_left(self._lines[resource], place) for resource, _ in waiter.needs)

    def ahead(self, id: str, waiter: Waiter, at_most: int) -> list[str]:
        """Return the first of those who are served before the waiter, in their order."""
        place = _place(id, waiter)
        lines = []
        for resource, _ in waiter.needs:
            line = self._lines[resource]
            lines.append(line[: min(at_most, bisect_left(line, place))])
        if len(lines) == 1:
            return [other for _, _, other in lines[0]]
        return list(dict.fromkeys(place[2] for place in merge(*lines)))[:at_most]

    def units_ahead(
        self, resource: str, id: str, waiter: Waiter, units_of: Callable[[str], int]
    ) -> int:
        """Return the units of ``resource`` that those need who are served before the waiter.

        Args:
            resource: One of its lines.
            id: The waiter's.
            waiter: Itself.
            units_of: What another waiter of the line needs; asked of as few as will do.
        """
        line, place = self._lines[resource], _place(id, waiter)
        at = bisect_left(line, place)
        begins = bisect_left(line, (-waiter.priority, -1, ""))
        ends = bisect_left(line, (1 - waiter.priority, -1, ""))
        tiers = self._tiers[resource]
        higher = sum(units for priority, (_, units) in tiers.items() if priority > waiter.priority)
        if at - begins <= ends - at:
            return higher + sum(units_of(other) for _, _, other in line[begins:at])
        behind = sum(units_of(other) for _, _, other in line[at:ends])
        return higher + tiers[waiter.priority][1] - behind

    def length(self, resource: str) -> int:
        """Return how many wait for ``resource``."""
        return len(self._lines.get(resource, ()))

    def units(self, resource: str) -> int:
        """Return how many units of ``resource`` are waited for."""
        return self._units.get(resource, 0)

    def tiers(self, resource: str) -> list[tuple[int, int, int, str]]:
        """Return the priorities that wait, highest first: (priority, jobs, units, first id)."""
        line = self._lines.get(resource, [])
        return [
            (priority, jobs, units, line[bisect_left(line, (-priority, -1, ""))][2])
            for priority, (jobs, units) in sorted(self._tiers.get(resource, {}).items())[::-1]
        ]

    def in_line(self, resource: str) -> list[str]:
        """Return who waits for ``resource``, in the order in which they are served."""
        return [id for _, _, id in self._lines.get(resource, ())]

    def resources(self) -> list[str]:
        """Return the resources that somebody waits for, sorted."""
        return sorted(self._lines)

    def in_order(self) -> Iterator[str]:
        """Yield every waiter once, resource by resource."""
        seen: set[str] = set()
        for resource in self.resources():
            for _, _, id in self._lines[resource]:
                if id not in seen:
                    seen.add(id)
                    yield id


def _place(id: str, waiter: Waiter) -> _Place:
    return (-waiter.priority, waiter.order, id)
