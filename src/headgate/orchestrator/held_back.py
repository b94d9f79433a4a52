"""Governed calls of a job that were held back, as Temporal knows of them."""

from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription
from temporalio.converter import DataConverter

from headgate.model.reason import Reason
from headgate.model.why import Obstacle
from headgate.orchestrator.errors import CALL_DENIED


async def held_back(job: WorkflowExecutionDescription, converter: DataConverter) -> list[Obstacle]:
    """Return why calls of a job that Temporal will try again were held back.

    Args:
        job: As Temporal describes it.
        converter: Reads the details of the denial.
    """
    found: list[Obstacle] = []
    for pending in job.raw_description.pending_activities:
        reason = await _reason(pending, converter)
        if reason is None:
            continue
        again = pending.next_attempt_schedule_time
        found.append(
            Obstacle(
                code=reason.code,
                message=f"its call {pending.activity_type.name} was held back: {reason.message}",
                resource=reason.resource,
                limit=reason.limit,
                used=reason.used,
                needed=reason.needed,
                changes_at_ms=again.ToMilliseconds() if again.seconds else None,
            )
        )
    return found


async def _reason(pending: PendingActivityInfo, converter: DataConverter) -> Reason | None:
    failure = pending.last_failure.application_failure_info
    if failure.type != CALL_DENIED or not failure.details.payloads:
        return None
    (detail, *_) = await converter.decode(list(failure.details.payloads[:1]), [Reason])
    return detail if isinstance(detail, Reason) else None
