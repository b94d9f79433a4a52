"""Finding holders that have closed without giving back what they held."""

import asyncio

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from headgate.model.entity import FIND_CLOSED, ClosedHolders, HolderCheck, HolderRef

_AT_ONCE = 10


class ReconcileActivities:
    """Activities that ask Temporal about the workflows of its namespace."""

    @activity.defn(name=FIND_CLOSED)
    async def find_closed_holders(self, check: HolderCheck) -> ClosedHolders:
        """Return the permits whose holders are certainly not running any more.

        A holder about which nothing can be learned now is taken to be alive: a live holder is
        never robbed of its permit.
        """
        client = activity.client()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def closed(holder: HolderRef) -> bool:
            async with gate:
                return await _has_closed(client, holder)

        answers = await asyncio.gather(*(closed(holder) for holder in check.holders))
        permits = [
            holder.permit
            for holder, is_closed in zip(check.holders, answers, strict=True)
            if is_closed
        ]
        return ClosedHolders(permits=permits)


async def _has_closed(client: Client, holder: HolderRef) -> bool:
    handle = client.get_workflow_handle(holder.workflow_id, run_id=holder.run_id or None)
    try:
        description = await handle.describe()
    except RPCError as error:
        # A run that Temporal does not know has been deleted, or its database was lost.
        return error.status is RPCStatusCode.NOT_FOUND
    return description.status is not WorkflowExecutionStatus.RUNNING
