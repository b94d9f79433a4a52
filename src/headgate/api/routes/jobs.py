"""Jobs: why one waits."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from headgate.api.access import OwnViewer, deny
from headgate.api.principal import Principal
from headgate.api.problems import not_found
from headgate.api.service import service_of
from headgate.model.errors import NotFoundError
from headgate.model.why import WhyReport
from headgate.orchestrator.why import explain

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

WorkflowId = Annotated[
    str,
    Path(
        min_length=1,
        max_length=1_000,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]+$",
        description="Of the job, in the same namespace.",
    ),
]


@router.get("/{workflow_id:segment}/why")
async def why(request: Request, principal: OwnViewer, workflow_id: WorkflowId) -> WhyReport:
    """Say why a job waits: which rule, with numbers, who is in the way, and until when.

    Asks the job, its ledger, its breaker and its pool as they are now; changes nothing.
    """
    return await explain_to(request, principal, workflow_id)


async def explain_to(request: Request, principal: Principal, workflow_id: str) -> WhyReport:
    """Return why a job waits, as far as it is the caller's to know.

    Raises:
        NotFoundError: There is no such job.
        ProblemError: There is none of the caller's tenant.
    """
    service = service_of(request)
    absent = not_found(
        f"there is no workflow {workflow_id!r}"
        if principal.tenant is None
        else f"no workflow {workflow_id!r} was started for {principal.tenant}, or asks for, waits "
        "for or holds anything of it now"
    )
    try:
        report = await explain(await service.temporal.client(), service.database, workflow_id)
    except NotFoundError:
        if principal.tenant is None:
            raise
        raise absent from None
    if principal.tenant is None:
        return report
    if not report.tenants:
        raise absent
    if report.tenants != [principal.tenant]:
        await deny(request, service, principal, absent)
    # What others have of a shared pool is not for this tenant.
    mine = [
        one.model_copy(
            update={"parts": [part for part in one.parts if part.tenant == principal.tenant]}
        )
        for one in report.obstacles
    ]
    return report.model_copy(update={"obstacles": mine})
