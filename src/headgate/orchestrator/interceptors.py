"""The interceptors of a worker: governing calls without the job doing anything."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from temporalio.worker import (
    ActivityInboundInterceptor,
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
    """

    def __init__(
        self,
        gate: Callable[[], Awaitable[AnyGate]],
        governed: Mapping[str, GovernedActivity] | None = None,
        tenants: TenantRules | None = None,
        now: Callable[[], AnyGate | None] = lambda: None,
    ) -> None:
        self._gate = gate
        self._governed = governed or {}
        self._tenants = tenants or TenantRules()
        self._now = now

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return GovernedCalls(next, self._gate, self._governed)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        input.unsafe_extern_functions[JOB_CLOSED] = self._job_closed
        input.unsafe_extern_functions[GIVE_BACK] = self._give_back
        settings: dict[str, Any] = {"governed": self._governed, "tenants": self._tenants}
        return type("JobsOfThisWorker", (JobsOnTheWay,), settings)

    def _job_closed(self, run_id: str, held: list[tuple[str, str]]) -> None:
        # Called in a thread of the workflow.
        if (gate := self._now()) is not None:
            gate.call_soon(lambda: gate.jobs.close(run_id, held))

    def _give_back(self, release: Release) -> bool:
        gate = self._now()
        if gate is None:
            return False
        gate.call_soon(lambda: gate.release_soon(release))
        return True
