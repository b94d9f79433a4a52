"""The ungoverned job of ``bench.jobs``; knows nothing of Headgate.

In a module of its own, as are the others: the sandbox imports the module of a workflow anew for
every run, and what else stands in it would count as governance.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from bench.work import TIMEOUT, Work


@workflow.defn
class PlainJob:
    """Makes its calls."""

    @workflow.run
    async def run(self, work: Work) -> None:
        """Make them."""
        for _ in range(work.calls):
            await workflow.execute_activity(
                work.activity, work.call_s, start_to_close_timeout=TIMEOUT
            )
