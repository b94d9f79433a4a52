"""A breaker as nobody should ever change it: it does something first that it did not do before."""

from datetime import timedelta

from temporalio import workflow

from headgate.breaker import BreakerInput
from headgate.workflows.breaker import BreakerWorkflow


@workflow.defn(name="BreakerWorkflow")
class ChangedBreaker(BreakerWorkflow):
    @workflow.init
    def __init__(self, start: BreakerInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: BreakerInput) -> None:
        await workflow.sleep(timedelta(milliseconds=1))
        await self.live()
