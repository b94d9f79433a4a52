"""Whether Temporal answers."""

from datetime import timedelta
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

_PATIENCE: Final = timedelta(seconds=3)
_NOBODY: Final = "headgate-is-anybody-there"
_ANSWERS: Final = (
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
)


async def temporal_answers(client: Client) -> bool:
    """Return whether Temporal answers within 3 s, and its database answers it.

    It is asked for a workflow that nobody has: to know that, it has to look. Its own health check
    says that all is well also while its database is away.
    """
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=_NOBODY)
    )
    try:
        await client.workflow_service.describe_workflow_execution(request, timeout=_PATIENCE)
    except RPCError as error:
        return error.status in _ANSWERS
    return True
