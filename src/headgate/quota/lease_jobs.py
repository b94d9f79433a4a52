"""Jobs that hold units out of blocks: in which blocks each is, and when to look after it.

One job can be in the blocks of several gates under one id: its calls run in several processes, and
a permit that was asked for in one may be asked for again in another.
"""

from collections.abc import Iterable

from headgate.quota.deadlines import Deadlines
from headgate.quota.lease_record import Lease, LeaseJob
from headgate.quota.ways import Ways


class JobsInBlocks:
    """An index over the jobs of all blocks of one ledger.

    A job is looked after by way of the block that spoke of it last; when that has let go of it,
    another one that has it takes over (``Ways.is_thorough``).
    """

    def __init__(self, leases: Iterable[Lease], ways: Ways) -> None:
        self._ways = ways
        self._blocks: dict[str, list[Lease]] = {}
        self._looked_after: dict[str, Lease] = {}
        self._checks = Deadlines(self._is_due)
        for lease in leases:
            for id, job in lease.jobs.items():
                self._place(lease, id, job)

    def put(self, lease: Lease, id: str, job: LeaseJob) -> None:
        """Note that a job holds units of a block."""
        lease.jobs[id] = job
        self._place(lease, id, job)

    def take(self, lease: Lease, id: str) -> LeaseJob | None:
        """Note that a job holds nothing of a block any more; None: it did not."""
        job = lease.jobs.pop(id, None)
        if job is None:
            return None
        others = [one for one in self._blocks.pop(id, ()) if one is not lease]
        if others:
            self._blocks[id] = others
        if self._looked_after.get(id) is lease:
            del self._looked_after[id]
            if others and self._ways.is_thorough:
                self._looked_after[id] = others[-1]
                self._checks.add(id, others[-1].jobs[id].check_at_ms)
        return job

    def end(self, id: str) -> bool:
        """Note that a job has ended, for every gate that has it; False: nothing new to any.

        Each is told when it next asks, and gives back what the job holds there.
        """
        unaware = [one for one in self._blocks.get(id, ()) if id not in one.ended]
        for lease in unaware:
            lease.ended.append(id)
        return bool(unaware)

    def has(self, id: str) -> bool:
        """Return whether a job holds units of a block, and has not ended as far as is known."""
        return any(id not in lease.ended for lease in self._blocks.get(id, ()))

    def next(self) -> int | None:
        """Return when a job has to be looked after, or None."""
        return self._checks.next()

    def due(self, now_ms: int, at_most: int, every_ms: int) -> list[tuple[str, str, str]]:
        """Return (permit, workflow, run) of jobs that are due; each less and less often."""
        found: list[tuple[str, str, str]] = []
        for id in self._checks.due(now_ms, at_most):
            job = self._looked_after[id].jobs[id]
            job.check_at_ms = now_ms + max(every_ms, now_ms - job.since_ms)
            self._checks.add(id, job.check_at_ms)
            found.append((id, job.workflow_id, job.run_id))
        return found

    def look_now(self, now_ms: int) -> None:
        """Have every job looked after at once."""
        for id, blocks in self._blocks.items():
            for lease in blocks:
                lease.jobs[id].check_at_ms = now_ms
            self._checks.add(id, now_ms)

    def _place(self, lease: Lease, id: str, job: LeaseJob) -> None:
        others = [one for one in self._blocks.get(id, ()) if one is not lease]
        self._blocks[id] = [*others, lease]
        self._looked_after[id] = lease
        self._checks.add(id, job.check_at_ms)

    def _is_due(self, id: str, at_ms: int) -> bool:
        lease = self._looked_after.get(id)
        return lease is not None and lease.jobs[id].check_at_ms == at_ms
