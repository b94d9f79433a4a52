"""What one ledger can grant: ``python -m bench.ledger [--seconds N] [--idle N]``.

On an embedded Temporal server and Postgres with one governance worker. In the same run: exchanges
that grant 100 permits and release the 100 before, as a gate does, against one update for each
permit and another for its release, and against one update for each permit that also brings the
release of the one before. With 8 updates in flight, which is below the 10 that Temporal allows.
Then, how many history events idle ledgers write. Prints JSON.
"""

import argparse
import asyncio
import json
import time
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionStatus

from bench.site import governed_site
from headgate.gate.kinds import governing
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.ids import workflow_id
from headgate.model.ledger import Acquire, Exchange, ExchangeReply, Holder, LedgerView, Outcome
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings

BATCH = 100
IN_FLIGHT = 8
IDLE_S = 20


async def grants_per_second(
    ledger: GovernanceWorkflow, batch: int, seconds: float, *, release_apart: bool = False
) -> float:
    """Return how many permits a ledger grants and takes back in a second."""
    until = time.perf_counter() + seconds
    granted = 0

    async def gate(name: str) -> None:
        nonlocal granted
        held: list[str] = []
        while time.perf_counter() < until:
            asks = [
                Acquire(id=uuid4().hex, holder=Holder(workflow_id=f"job-{name}"), resource="scan")
                for _ in range(batch)
            ]
            message = Exchange(gate=name, acquires=asks, releases=held)
            reply = await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 30)
            held = [d.id for d in reply.decisions if d.outcome is Outcome.GRANTED]
            granted += len(held)
            if release_apart:
                message = Exchange(gate=name, releases=held)
                await ledger.update("exchange", message, uuid4().hex, ExchangeReply, 30)
                held = []

    began = time.perf_counter()
    await asyncio.gather(*(gate(f"gate-{n}") for n in range(IN_FLIGHT)))
    return granted / (time.perf_counter() - began)


async def idle_events(client: Client, ledgers: int) -> dict[str, float]:
    """Return how many events ``ledgers`` idle ledgers have, and write while they are idle."""
    quotas = LedgerSettings(quotas={"*": Quota(max_active=5)}, source="listed")
    limit = asyncio.Semaphore(16)

    async def begin(number: int) -> None:
        async with limit:
            ledger = governing(client, "ledger", f"idle-{number}")
            await ledger.update("configure", quotas, uuid4().hex, LedgerView, 60)

    began = time.perf_counter()
    await asyncio.gather(*(begin(n) for n in range(ledgers)))
    took_s = time.perf_counter() - began
    await asyncio.sleep(5)  # the first snapshots are saved after two seconds

    async def events() -> int:
        lengths = []

        async def one(number: int) -> None:
            async with limit:
                handle = client.get_workflow_handle(workflow_id("ledger", f"idle-{number}"))
                description = await handle.describe()
                assert description.status is WorkflowExecutionStatus.RUNNING
                lengths.append(description.history_length)

        await asyncio.gather(*(one(n) for n in range(ledgers)))
        return sum(lengths)

    before = await events()
    await asyncio.sleep(IDLE_S)
    return {
        "ledgers": ledgers,
        "begun_in_s": round(took_s, 1),
        "events_each": before / ledgers,
        "idle_s": IDLE_S,
        "events_while_idle": await events() - before,
    }


async def measure(seconds: float, idle: int) -> dict[str, Any]:
    """Return the figures."""
    async with governed_site() as client:
        rates = []
        for name, batch, apart in (
            ("apart", 1, True),
            ("along", 1, False),
            ("batch", BATCH, False),
        ):
            ledger = governing(client, "ledger", f"bench-{name}")
            settings = LedgerSettings(quotas={"scan": Quota(max_active=100_000)}, source="listed")
            await ledger.update("configure", settings, uuid4().hex, LedgerView, 30)
            await grants_per_second(ledger, batch, 2, release_apart=apart)
            rates.append(await grants_per_second(ledger, batch, seconds, release_apart=apart))
        apart_rate, along_rate, batch_rate = rates
        return {
            "grants_per_s": {
                "an_update_for_each_permit_and_one_for_its_release": round(apart_rate, 1),
                "an_update_for_each_permit_with_a_release_along": round(along_rate, 1),
                f"batches_of_{BATCH}": round(batch_rate, 1),
            },
            "ratio": round(batch_rate / apart_rate, 1),
            "ratio_with_a_release_along": round(batch_rate / along_rate, 1),
            "idle": await idle_events(client, idle) if idle else None,
        }


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=15)
    arguments.add_argument("--idle", type=int, default=500)
    chosen = arguments.parse_args()
    print(json.dumps(asyncio.run(measure(chosen.seconds, chosen.idle)), indent=2))


if __name__ == "__main__":
    main()
