"""By what a job was refused that has failed for it, as its history ends."""

from collections.abc import Iterator

from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.converter import DataConverter

from headgate.model.reason import Reason
from headgate.model.why import Obstacle
from headgate.orchestrator.errors import PERMIT_DENIED
from headgate.orchestrator.held_back import About, call_denial, denied_by


async def refused(job: WorkflowHandle[object, object], converter: DataConverter) -> Obstacle | None:
    """Return what a job was refused by, or None when it has not failed for that.

    Args:
        job: One run, which has closed.
        converter: Reads the details of the denial.

    Raises:
        RPCError: Temporal does not answer.
    """
    async for event in job.fetch_history_events(
        event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
    ):
        if event.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            continue
        for cause in _causes(event.workflow_execution_failed_event_attributes.failure):
            denial = await _denial(cause, converter)
            if denial is not None and (reason := denial.reason) is not None:
                return denied_by(reason, denial, reason.message, denial.retry_at_ms)
    return None


class _Denial(About):
    """What ``PermitDenied`` says in its details."""

    reason: Reason | None = None
    retry_at_ms: int | None = None


def _causes(failure: Failure) -> Iterator[Failure]:
    """Yield a failure and what caused it, the outermost first."""
    yield failure
    while failure.HasField("cause"):
        failure = failure.cause
        yield failure


async def _denial(failure: Failure, converter: DataConverter) -> _Denial | None:
    info = failure.application_failure_info
    if info.type == PERMIT_DENIED and info.details.payloads:
        (found,) = await converter.decode(info.details.payloads[:1], [_Denial])
        return found if isinstance(found, _Denial) else None
    reason, about = await call_denial(failure, converter)
    return _Denial(reason=reason, **about.model_dump())
