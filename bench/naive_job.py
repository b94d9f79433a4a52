"""The job of ``bench.jobs`` as one would govern it at first; else it is ``bench.plain_job``."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.work import TIMEOUT, Work


@workflow.defn
class NaiveJob:
    """Asks the ledger by a query before each call."""

    @workflow.run
    async def run(self, work: Work) -> None:
        """Ask and make them."""
        for _ in range(work.calls):
            assert await workflow.execute_activity("ask", start_to_close_timeout=TIMEOUT)
            await workflow.execute_activity(
                work.activity, work.call_s, start_to_close_timeout=TIMEOUT
            )
