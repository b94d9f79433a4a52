"""Many gates, one ledger: ``python -m bench.ledger_gates [--seconds N]``.

Each gate acquires and releases permits as fast as it is answered, many jobs at a time, by the same
link to the ledger as in a worker. More than ten updates in flight would make the server fail all of
them; so gates take turns, and what twenty get done is no less than what eight do.
"""

import argparse
import asyncio
import json
import time
from uuid import uuid4

from temporalio.client import Client

from bench.site import governed_site
from headgate.gate.kinds import governing
from headgate.gate.ledger import LedgerLink
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Acquire, Holder, LedgerView, Outcome
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings

JOBS_PER_GATE = 20


async def operations_per_second(client: Client, gates: int, seconds: float) -> tuple[float, int]:
    """Return how many permits are granted and given back in a second, and how many asks failed."""
    tenant = f"bench-{gates}"
    ledger = governing(client, "ledger", tenant)
    settings = LedgerSettings(quotas={"scan": Quota(max_active=100_000)}, source="listed")
    await ledger.update("configure", settings, uuid4().hex, LedgerView, 30)
    run = uuid4().hex[:6]  # a gate's id is new for every process, and so are its numbers
    links = [LedgerLink(tenant, f"{run}-{n}", ledger, lambda _: None) for n in range(gates)]
    until = time.perf_counter() + seconds
    done = failed = 0

    async def job(link: LedgerLink) -> None:
        nonlocal done, failed
        while time.perf_counter() < until:
            id = uuid4().hex
            request = Acquire(id=id, holder=Holder(workflow_id=id), resource="scan")
            try:
                decision = await link.acquire(request)
                assert decision.outcome is Outcome.GRANTED
                await link.release(id)
                done += 1
            except UnavailableError:
                failed += 1

    began = time.perf_counter()
    await asyncio.gather(*(job(link) for link in links for _ in range(JOBS_PER_GATE)))
    took_s = time.perf_counter() - began
    await asyncio.gather(*(link.close() for link in links))
    return done / took_s, failed


async def compare(client: Client, seconds: float) -> dict[str, object]:
    """Return the figures for 8 and 20 gates, in turns."""
    found: dict[int, list[float]] = {8: [], 20: []}
    failed = 0
    for gates in (8, 20, 20, 8):
        per_s, missed = await operations_per_second(client, gates, seconds)
        found[gates].append(per_s)
        failed += missed
    return {
        "ledger_gates": {str(n): round(sum(rates) / len(rates), 1) for n, rates in found.items()},
        "failed": failed,
    }


async def measure(seconds: float) -> dict[str, object]:
    """Measure on a site of its own."""
    async with governed_site() as client:
        return await compare(client, seconds)


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=8)
    print(json.dumps(asyncio.run(measure(arguments.parse_args().seconds)), indent=2))


if __name__ == "__main__":
    main()
