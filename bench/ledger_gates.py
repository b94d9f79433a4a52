"""Many gates, one ledger: ``python -m bench.ledger_gates [--seconds N]``.

Each gate acquires and releases permits as fast as it is answered, many jobs at a time, by the same
link to the ledger as in a worker. They all begin at once; counting starts when each has had its
first permit, and how long that takes is a figure of its own. More than ten updates in flight would
make the server fail all of them; so gates take turns, and what twenty get done is no less than what
eight do.
"""

import argparse
import asyncio
import json
import time
from statistics import fmean
from typing import NamedTuple
from uuid import uuid4

from temporalio.client import Client

from bench.site import governed_site
from headgate.gate.kinds import governing
from headgate.gate.ledger import LedgerLink
from headgate.model.errors import UnavailableError
from headgate.model.ledger import Acquire, Holder, LedgerView, Outcome
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings

FEW_JOBS, MANY_JOBS = 20, 100
"""Waiting at each gate. With few, what is measured is how fast an exchange is answered: eight in
flight then do more than the five of a turn. With many, it is what the ledger can do."""


class Found(NamedTuple):
    """What a run of some gates gave.

    Attributes:
        per_s: Permits granted and given back in a second.
        start_s: Until each gate had had its first permit.
        failed: Asks that were not answered.
    """

    per_s: float
    start_s: float
    failed: int


async def operations(client: Client, gates: int, jobs_each: int, seconds: float) -> Found:
    """Run so many gates."""
    tenant = f"bench-{gates}"
    ledger = governing(client, "ledger", tenant)
    settings = LedgerSettings(quotas={"scan": Quota(max_active=100_000)}, source="listed")
    await ledger.update("configure", settings, uuid4().hex, LedgerView, 30)
    run = uuid4().hex[:6]  # a gate's id is new for every process, and so are its numbers
    links = [LedgerLink(tenant, f"{run}-{n}", ledger, lambda _: None) for n in range(gates)]
    done = failed = 0
    is_over = False
    begun: set[LedgerLink] = set()
    all_begun = asyncio.Event()

    async def job(link: LedgerLink) -> None:
        nonlocal done, failed
        while not is_over:
            id = uuid4().hex
            request = Acquire(id=id, holder=Holder(workflow_id=id), resource="scan")
            try:
                decision = await link.acquire(request)
                assert decision.outcome is Outcome.GRANTED
                await link.release(id)
                done += 1
                begun.add(link)
                if len(begun) == gates:
                    all_begun.set()
            except UnavailableError:
                failed += 1

    began = time.perf_counter()
    jobs = [asyncio.create_task(job(link)) for link in links for _ in range(jobs_each)]
    await all_begun.wait()
    counted_from, done_before = time.perf_counter(), done
    await asyncio.sleep(seconds)
    per_s = (done - done_before) / (time.perf_counter() - counted_from)
    is_over = True
    await asyncio.gather(*jobs)
    await asyncio.gather(*(link.close() for link in links))
    return Found(per_s, counted_from - began, failed)


async def compare(client: Client, seconds: float) -> dict[str, object]:
    """Return the figures for 8 and 20 gates, in turns."""
    found: dict[tuple[int, int], list[Found]] = {}
    for jobs in (MANY_JOBS, FEW_JOBS):
        for gates in (8, 20, 20, 8):
            run = await operations(client, gates, jobs, seconds)
            found.setdefault((gates, jobs), []).append(run)

    def rates(jobs: int) -> dict[str, float]:
        return {
            str(gates): round(fmean(run.per_s for run in found[gates, jobs]), 1)
            for gates in (8, 20)
        }

    return {
        "ledger_gates": rates(MANY_JOBS),
        "ledger_gates_few_jobs": rates(FEW_JOBS),
        "all_begun_after_s": {
            str(gates): round(fmean(run.start_s for run in found[gates, MANY_JOBS]), 1)
            for gates in (8, 20)
        },
        "failed": sum(run.failed for runs in found.values() for run in runs),
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
