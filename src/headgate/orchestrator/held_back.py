"""Governed calls of a job that were held back, as Temporal knows of them."""

from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowExecutionDescription
from temporalio.converter import DataConverter

from headgate.model.contract import Message
from headgate.model.reason import Reason
from headgate.model.why import Obstacle
from headgate.orchestrator.errors import CALL_DENIED
from headgate.orchestrator.obstacles import OF_BREAKERS


async def held_back(job: WorkflowExecutionDescription, converter: DataConverter) -> list[Obstacle]:
    """Return why calls of a job that Temporal will try again were held back.

    Args:
        job: As Temporal describes it.
        converter: Reads the details of the denial.
    """
    found: list[Obstacle] = []
    for pending in job.raw_description.pending_activities:
        reason, about = await call_denial(pending.last_failure, converter)
        if reason is None:
            continue
        again = pending.next_attempt_schedule_time
        again_ms = again.ToMilliseconds() if again.seconds else None
        message = f"its call {pending.activity_type.name} was held back: {reason.message}"
        found.append(denied_by(reason, about, message, again_ms))
    return found


class About(Message):
    """For whom and of what a denial was, as workers say of late; those of before say nothing."""

    tenant: str | None = None
    resource: str | None = None
    downstream: str | None = None


async def call_denial(failure: Failure, converter: DataConverter) -> tuple[Reason | None, About]:
    """Return why a governed call was held back, and whose it was; None: it failed otherwise."""
    info = failure.application_failure_info
    payloads = list(info.details.payloads[:2])
    if info.type != CALL_DENIED or not payloads:
        return None, About()
    kinds: list[type] = [Reason, About]
    found = await converter.decode(payloads, kinds[: len(payloads)])
    reason, about = [*found, None][:2]
    return (
        reason if isinstance(reason, Reason) else None,
        about if isinstance(about, About) else About(),
    )


def denied_by(reason: Reason, about: About, message: str, changes_at_ms: int | None) -> Obstacle:
    """Return a denial as what stands in the way of its job."""
    of_breaker = reason.code in OF_BREAKERS
    return Obstacle(
        code=reason.code,
        message=message,
        tenant=about.tenant,
        resource=None if of_breaker else reason.resource or about.resource,
        downstream=about.downstream if of_breaker else None,
        limit=reason.limit,
        used=reason.used,
        needed=reason.needed,
        position=reason.position,
        changes_at_ms=changes_at_ms,
    )
