"""Looking after those who wait: one whose workflow has closed is in the way of the others.

It counts in what the tenant wants, in the places of those behind it and in how long the oldest has
waited, and nobody may come to grant it anything for long.
"""

from headgate.quota.deadlines import Deadlines
from headgate.quota.record import LedgerRecord


class WaiterChecks:
    """When to ask Temporal whether those who wait still run; each less and less often.

    Args:
        record: Of the ledger.
        every_ms: How soon after a request, and then how often.
    """

    def __init__(self, record: LedgerRecord, every_ms: int) -> None:
        self._record = record
        self._every_ms = every_ms
        self._due = Deadlines(self._is_current)
        for id, waiter in record.waiters.items():
            if waiter.check_at_ms:
                self._due.add(id, waiter.check_at_ms)

    def add(self, id: str, now_ms: int) -> None:
        """Look after one that begins to wait; who does not wait so long is left alone."""
        waiter = self._record.waiters[id]
        if now_ms + self._every_ms < waiter.until_ms:
            waiter.check_at_ms = now_ms + self._every_ms
            self._due.add(id, waiter.check_at_ms)

    def next(self) -> int | None:
        """Return when one next has to be looked after, or None."""
        return self._due.next()

    def due(self, now_ms: int, at_most: int) -> list[tuple[str, str, str]]:
        """Return (request, workflow, run) of those who are due, and when they are due again."""
        found: list[tuple[str, str, str]] = []
        for id in self._due.due(now_ms, at_most):
            waiter = self._record.waiters[id]
            waiter.check_at_ms = now_ms + max(self._every_ms, now_ms - waiter.since_ms)
            self._due.add(id, waiter.check_at_ms)
            found.append((id, waiter.workflow_id, waiter.run_id))
        return found

    def _is_current(self, id: str, at_ms: int) -> bool:
        waiter = self._record.waiters.get(id)
        return waiter is not None and waiter.check_at_ms == at_ms
