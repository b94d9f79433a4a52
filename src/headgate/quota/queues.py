"""The waiting lines of a ledger, one for each resource: priority, then order of arrival."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from headgate.quota.record import Waiter

_Place = tuple[int, int, str]


class Queues:
    """An index over the waiters of a record; holds no truth of its own."""

    def __init__(self, waiters: Iterable[tuple[str, Waiter]]) -> None:
        self._lines: dict[str, list[_Place]] = {}
        for id, waiter in waiters:
            self.add(id, waiter)

    def add(self, id: str, waiter: Waiter) -> None:
        """Take a place in the line of the waiter's resource."""
        insort(self._lines.setdefault(waiter.resource, []), _place(id, waiter))

    def remove(self, id: str, waiter: Waiter) -> None:
        """Leave the line."""
        line = self._lines[waiter.resource]
        del line[bisect_left(line, _place(id, waiter))]
        if not line:
            del self._lines[waiter.resource]

    def head(self, resource: str) -> str | None:
        """Return the id that is next, or None when nobody waits."""
        line = self._lines.get(resource)
        return line[0][2] if line else None

    def position(self, id: str, waiter: Waiter) -> int:
        """Return the place in the line; 1 is next."""
        return bisect_left(self._lines[waiter.resource], _place(id, waiter)) + 1

    def length(self, resource: str) -> int:
        """Return how many wait for ``resource``."""
        return len(self._lines.get(resource, ()))

    def resources(self) -> list[str]:
        """Return the resources that somebody waits for, sorted."""
        return sorted(self._lines)

    def in_order(self) -> Iterator[tuple[int, str]]:
        """Yield (position, id) of every waiter, resource by resource."""
        for resource in self.resources():
            for position, (_, _, id) in enumerate(self._lines[resource], start=1):
                yield position, id


def _place(id: str, waiter: Waiter) -> _Place:
    return (-waiter.priority, waiter.order, id)
