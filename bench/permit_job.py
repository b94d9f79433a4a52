"""The job of ``bench.jobs`` that asks for a permit; else it is ``bench.plain_job``."""

from temporalio import workflow

from headgate import governance

with workflow.unsafe.imports_passed_through():
    from bench.work import TENANT, TIMEOUT, Work


@workflow.defn
class PermitJob:
    """Asks before it makes its calls."""

    @workflow.run
    async def run(self, work: Work) -> None:
        """Ask and make them."""
        async with governance.permit(tenant=TENANT, resource=work.resource, downstream="bench"):
            for _ in range(work.calls):
                await workflow.execute_activity(
                    work.activity, work.call_s, start_to_close_timeout=TIMEOUT
                )
