"""The interceptors of a worker: governing calls without the job doing anything."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from temporalio import activity
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from headgate.gate.protocol import AnyGate
from headgate.model.ledger import Release
from headgate.orchestrator.calls import GovernedCalls
from headgate.orchestrator.governance import GIVE_BACK
from headgate.orchestrator.governed import GovernedActivity
from headgate.orchestrator.on_the_way import JOB_CLOSED, JobsOnTheWay
from headgate.orchestrator.tenants import TenantRules


class HeadgateInterceptor(Interceptor):
    """Puts tenant and permit on activities that leave a workflow, and meets them where they run.

    Args:
        gate: Returns the gate of this process, once it is running.
        governed: How the activities of the worker are governed, by type.
        tenants: For whom workflows run, when they do not say so by a permit.
        now: Returns the gate if it is running, from any thread.
        counts_slots: It is known how many activities the worker runs at a time.
    """

    def __init__(
        self,
        gate: Callable[[], Awaitable[AnyGate]],
        governed: Mapping[str, GovernedActivity] | None = None,
        tenants: TenantRules | None = None,
        now: Callable[[], AnyGate | None] = lambda: None,
        counts_slots: bool = False,
    ) -> None:
        self._gate = gate
        self._governed = governed or {}
        self._tenants = tenants or TenantRules()
        self._now = now
        self._counts_slots = counts_slots

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        calls = GovernedCalls(next, self._gate, self._governed)
        return _CountedSlots(calls, self._now) if self._counts_slots else calls

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        input.unsafe_extern_functions[JOB_CLOSED] = self._job_closed
        input.unsafe_extern_functions[GIVE_BACK] = self._give_back
        settings: dict[str, Any] = {"governed": self._governed, "tenants": self._tenants}
        return type("JobsOfThisWorker", (JobsOnTheWay,), settings)

    def _job_closed(self, run_id: str, held: list[tuple[str, str]], calls: int) -> None:
        # Called in a thread of the workflow.
        if (gate := self._now()) is not None:
            gate.call_soon(lambda: gate.jobs.close(run_id, held, calls))

    def _give_back(self, release: Release) -> bool:
        gate = self._now()
        if gate is None:
            return False
        gate.call_soon(lambda: gate.release_soon(release))
        return True


class _CountedSlots(ActivityInboundInterceptor):
    """Counts the slots that activities take; local ones take none."""

    def __init__(self, next: ActivityInboundInterceptor, now: Callable[[], AnyGate | None]) -> None:
        super().__init__(next)
        self._now = now

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Count it while it runs."""
        gate = self._now()
        if gate is None or activity.info().is_local:
            return await self.next.execute_activity(input)
        with gate.slots.taken():
            return await self.next.execute_activity(input)
