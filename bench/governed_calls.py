"""The calls of ``bench.jobs``: ungoverned, and in each way of being governed."""

from temporalio import activity

from bench.work import TENANT, call
from headgate import governed
from headgate.model.ids import workflow_id
from headgate.model.ledger import LedgerView


@activity.defn(name="plain")
async def plain(seconds: float) -> None:
    """Be a call."""
    await call(seconds)


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
