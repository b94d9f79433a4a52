"""What is done in job workflows without their doing anything.

Their activities carry along for whom they are, and under which permit; and the gate of the process
hears that a job has ended.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from temporalio import workflow
from temporalio.exceptions import FailureError
from temporalio.worker import (
    ExecuteWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, ChildWorkflowHandle, ContinueAsNewError

from headgate.model.entity import ADMIT, RELEASE
from headgate.orchestrator.governance import current_permit
from headgate.orchestrator.governed import GovernedActivity
from headgate.orchestrator.headers import (
    AGAIN_HEADER,
    CALL_HEADER,
    HELD_HEADER,
    TENANT_HEADER,
    again_payload,
    call_payload,
    held_payload,
    tenant_in,
    tenant_payload,
)
from headgate.orchestrator.tenants import TenantRules

JOB_CLOSED: Final = "headgate_job_closed"
"""The function outside of the workflow by which it tells the gate of its process."""


class JobsOnTheWay(WorkflowInboundInterceptor):
    """Meets job workflows; a subclass for each worker has its settings.

    Attributes:
        governed: How the activities of this worker are governed, by type.
        tenants: For whom workflows run, when they do not say so by a permit.
    """

    governed: ClassVar[Mapping[str, GovernedActivity]] = {}
    tenants: ClassVar[TenantRules] = TenantRules()

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """See base class."""
        self._out = _Outbound(outbound, self.governed, self.tenants)
        super().init(self._out)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Run the job, and tell the gate when it has closed."""
        self._out.inherited = tenant_in(input.headers)
        try:
            result = await super().execute_workflow(input)
        except (FailureError, ContinueAsNewError, asyncio.CancelledError):
            self._closed()
            raise
        # Anything else, such as an eviction, does not close it.
        self._closed()
        return result

    def _closed(self) -> None:
        held = self._out.held
        if not held or workflow.unsafe.is_replaying():
            return
        tell = workflow.extern_functions().get(JOB_CLOSED)
        if tell is not None:
            tell(workflow.info().run_id, sorted(held), sum(held.values()))


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(
        self,
        next: WorkflowOutboundInterceptor,
        governed: Mapping[str, GovernedActivity],
        tenants: TenantRules,
    ) -> None:
        super().__init__(next)
        self._governed = governed
        self._tenants = tenants
        self._tenant: str | None = None
        self._knows_tenant = False
        self.inherited: str | None = None
        self.held: Counter[tuple[str, str]] = Counter()

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        tenant = self._add_headers(input)
        if tenant is not None and (weight := self._tenants.weight(tenant)) is not None:
            key = tenant.encode()[:64].decode(errors="ignore")
            given = input.priority
            if not given.fairness_key:
                input.priority = replace(given, fairness_key=key, fairness_weight=weight)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        if input.activity not in (ADMIT, RELEASE):
            self._add_headers(input)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> ChildWorkflowHandle[Any, Any]:
        tenant = self._of_workflow()
        if tenant is not None:
            input.headers = {**input.headers, TENANT_HEADER: tenant_payload(tenant)}
        return await super().start_child_workflow(input)

    def _add_headers(self, input: StartActivityInput | StartLocalActivityInput) -> str | None:
        permit = current_permit()
        tenant = self._of_workflow() if permit is None else permit.tenant
        if permit is not None and permit.call is not None:
            input.headers = {**input.headers, CALL_HEADER: call_payload(permit.call)}
        elif tenant is not None:
            input.headers = {**input.headers, TENANT_HEADER: tenant_payload(tenant)}
        if permit is not None and (permit.call is None or permit.also):
            held = held_payload((permit.resource, *permit.also))
            input.headers = {**input.headers, HELD_HEADER: held}
        how = self._governed.get(input.activity)
        if how is not None and how.call.hold == "job" and how.call.resource and tenant:
            if self.held[tenant, how.call.resource]:
                input.headers = {**input.headers, AGAIN_HEADER: again_payload()}
            self.held[tenant, how.call.resource] += 1
        return tenant

    def _of_workflow(self) -> str | None:
        """Return for whom the workflow runs; it does not change while it does."""
        if not self._knows_tenant:
            self._tenant = self._tenants.of_workflow(self.inherited)
            self._knows_tenant = True
        return self._tenant
