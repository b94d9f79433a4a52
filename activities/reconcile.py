"""Finding holders that have closed without giving back what they held."""

import asyncio
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from headgate.model.entity import FIND_CLOSED, ClosedHolders, HolderCheck, HolderRef

_AT_ONCE: Final = 10
_DESCRIBE_TIMEOUT: Final = timedelta(seconds=5)


class ReconcileActivities:
    """Activities that ask Temporal about workflows."""

    @activity.defn(name=FIND_CLOSED)
    async def find_closed_holders(self, check: HolderCheck) -> ClosedHolders:
        """Return the permits whose holders are certainly not running any more, or certainly are.

        A holder about which nothing can be learned now is taken to be alive: a live holder is
        never robbed of its permit.
        """
        client = activity.client()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def closed(holder: HolderRef) -> bool | None:
            async with gate:
                return await _has_closed(client, holder)

        answers = await asyncio.gather(*(closed(holder) for holder in check.holders))
        found = [
            (holder.permit, is_closed)
            for holder, is_closed in zip(check.holders, answers, strict=True)
        ]
        return ClosedHolders(
            permits=[permit for permit, is_closed in found if is_closed],
            open=[permit for permit, is_closed in found if is_closed is False],
        )


async def _has_closed(client: Client, holder: HolderRef) -> bool | None:
    """Return whether the run of a holder has closed; None: nobody can tell now."""
    if holder.namespace not in ("", client.namespace):
        return await _has_closed_elsewhere(client, holder)
    handle = client.get_workflow_handle(holder.workflow_id, run_id=holder.run_id or None)
    try:
        description = await handle.describe()
    except RPCError as error:
        # A run that Temporal does not know has been deleted, or its database was lost.
        return True if error.status is RPCStatusCode.NOT_FOUND else None
    return description.status is not WorkflowExecutionStatus.RUNNING


async def _has_closed_elsewhere(client: Client, holder: HolderRef) -> bool | None:
    """The same for a holder in another namespace, as far as this connection may look there.

    Only a run that is seen to have closed counts. That there is no such run may mean that the
    namespace is another one of the same name, in the cluster that the holder's call came from.
    """
    request = DescribeWorkflowExecutionRequest(
        namespace=holder.namespace,
        execution=WorkflowExecution(workflow_id=holder.workflow_id, run_id=holder.run_id),
    )
    try:
        answer = await client.workflow_service.describe_workflow_execution(
            request, timeout=_DESCRIBE_TIMEOUT
        )
    except RPCError as error:
        activity.logger.debug("holder %s is taken to be alive: %s", holder.workflow_id, error)
        return None
    return int(answer.workflow_execution_info.status) != WorkflowExecutionStatus.RUNNING
