"""The demo's orchestrator: a job workflow and its call, as a platform team would write them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import httpx2
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory

from headgate import PermitDenied, governance

TASK_QUEUE = "demo-jobs"
JobResult = Literal["succeeded", "failed", "refused"]


@dataclass
class Job:
    """One job.

    Attributes:
        tenant: For whom.
        resource: What it counts against.
        downstream: What it calls.
        url: Where that is.
        max_wait_ms: How long it is willing to wait.
        call: The line of the trace that it plays, if any.
    """

    tenant: str
    resource: str
    downstream: str
    url: str
    max_wait_ms: int
    call: int | None = None


@workflow.defn(name="DemoJob")
class DemoJob:
    """Asks for a permit, makes one call, gives the permit back."""

    @workflow.run
    async def run(self, job: Job) -> JobResult:
        """Run the job."""
        try:
            async with governance.permit(
                tenant=job.tenant,
                resource=job.resource,
                downstream=job.downstream,
                max_wait=timedelta(milliseconds=job.max_wait_ms),
            ):
                await workflow.execute_activity_method(
                    Caller.call,
                    job,
                    start_to_close_timeout=timedelta(seconds=30),
                    retry_policy=RetryPolicy(maximum_attempts=1),
                )
        except PermitDenied:
            return "refused"
        except ActivityError as error:
            cause = error.cause
            held_back = isinstance(cause, ApplicationError) and cause.type == "headgate.CallDenied"
            return "refused" if held_back else "failed"
        return "succeeded"


class Caller:
    """Calls downstreams over HTTP."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    @activity.defn(name="call_downstream")
    async def call(self, job: Job) -> None:
        """Make the call; raises when it fails."""
        headers = {"x-tenant": job.tenant, "x-resource": job.resource}
        if job.call is not None:
            headers["x-call"] = str(job.call)
        answer = await self._client.post(job.url, headers=headers)
        if not answer.is_success:
            # Benign: the demo's downstreams fail on purpose, which is not worth a stack trace.
            raise ApplicationError(
                f"{job.downstream} answered {answer.status_code}",
                category=ApplicationErrorCategory.BENIGN,
            )
