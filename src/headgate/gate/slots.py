"""Worker slots: how many activities the workers of this process run at a time, and run now."""

from collections.abc import Iterator
from contextlib import contextmanager

from headgate.model.limits import SlotUse


class WorkerSlots:
    """Counts; changed in the thread of the workers only."""

    def __init__(self) -> None:
        self._of = 0
        self._used = 0

    @contextmanager
    def worker(self, slots: int) -> Iterator[None]:
        """Count the slots of a worker for as long as it runs."""
        self._of += slots
        try:
            yield
        finally:
            self._of -= slots

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Count an activity that runs."""
        self._used += 1
        try:
            yield
        finally:
            self._used -= 1

    def now(self) -> SlotUse | None:
        """Return what is in use, or None when no worker here has slots that are known."""
        return SlotUse(used=self._used, of=self._of) if self._of else None
