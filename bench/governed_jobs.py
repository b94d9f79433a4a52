"""The governed jobs of ``bench.jobs``: as small as can be, in each way of being governed."""

from typing import Final

from temporalio import activity, workflow

from bench.plain_job import TIMEOUT, Work, call
from headgate import governance, governed
from headgate.model.ids import workflow_id
from headgate.model.ledger import LedgerView

TENANT: Final = "acme"


@governed(downstream="bench", resource="scan")
@activity.defn(name="guarded")
async def guarded(seconds: float) -> None:
    """Be a governed call."""
    await call(seconds)


@governed(downstream="bench", resource="kept", hold="job")
@activity.defn(name="kept")
async def kept(seconds: float) -> None:
    """Be a governed call whose permit the job keeps."""
    await call(seconds)


@activity.defn(name="ask")
async def ask() -> bool:
    """Ask the ledger by a query, as one would at first."""
    handle = activity.client().get_workflow_handle(workflow_id("ledger", TENANT))
    view = await handle.query("state", result_type=LedgerView)
    return bool(view.units_held.get("naive", 0) < 1_000)


@workflow.defn
class PermitJob:
    """Asks before it makes its calls."""

    @workflow.run
    async def run(self, work: Work, resource: str) -> None:
        """Ask and make them."""
        async with governance.permit(tenant=TENANT, resource=resource, downstream="bench"):
            for _ in range(work.calls):
                await workflow.execute_activity(
                    work.activity, work.call_s, start_to_close_timeout=TIMEOUT
                )


@workflow.defn
class NaiveJob:
    """Asks the ledger by a query before each call."""

    @workflow.run
    async def run(self, work: Work) -> None:
        """Ask and make them."""
        for _ in range(work.calls):
            assert await workflow.execute_activity(ask, start_to_close_timeout=TIMEOUT)
            await workflow.execute_activity(
                work.activity, work.call_s, start_to_close_timeout=TIMEOUT
            )
