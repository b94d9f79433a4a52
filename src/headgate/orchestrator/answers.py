"""Whether Temporal answers, and whether workers ask it for work."""

from datetime import timedelta
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionRequest,
)
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


async def last_polled_ms(client: Client, task_queue: str) -> int | None:
    """Return when a worker last asked for workflow tasks; None: not in the last minutes.

    A worker that has room waits for an answer for up to a minute, and then asks again.

    Raises:
        RPCError: Temporal does not answer.
    """
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        ),
        timeout=_PATIENCE,
    )
    return max((one.last_access_time.ToMilliseconds() for one in answer.pollers), default=None)
