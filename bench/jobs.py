"""Jobs a second, governed and not: ``python -m bench.jobs [--seconds N] [--rounds N] [--json]``.

The smallest job there is (one call that does nothing) and one of three calls of 50 ms, through the
embedded Temporal server: ungoverned, with a governed call, with ``hold="job"``, with ``permit()``
out of a block and by the ledger, and as one would write it at first, asking the ledger by a query.
All in one run, in turns within each round, the order changing; the ratio of a round is to the
ungoverned job of the same round. Load: 40 jobs at a time.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from temporalio.client import Client
from temporalio.common import Priority
from temporalio.worker import Worker

from bench.governed_calls import ask, guarded, kept, plain
from bench.naive_job import NaiveJob
from bench.permit_job import PermitJob
from bench.plain_job import PlainJob
from bench.site import governed_site
from bench.work import TENANT, Work
from headgate import HeadgatePlugin
from headgate.gate.kinds import governing
from headgate.model.ledger import LedgerView
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings

AT_ONCE: Final = 40
PLAIN: Final = "ungoverned"


@dataclass(frozen=True)
class Way:
    """One way of running a job."""

    name: str
    job: Any
    activity: str
    resource: str = ""
    governed: bool = True


PERMIT_LEASED: Final = Way("permit_leased", PermitJob, "plain", "leased")
WAYS: Final = (
    Way(PLAIN, PlainJob, "plain", governed=False),
    Way("call", PlainJob, "guarded"),
    Way("hold_job", PlainJob, "kept"),
    PERMIT_LEASED,
    Way("permit_strict", PermitJob, "plain", "strict"),
    Way("naive", NaiveJob, "plain"),
)


class Bench:
    """Workers for all ways, on one server."""

    def __init__(self, site: Client) -> None:
        self._site = site
        self._clients: dict[bool, Client] = {}
        self._queues = {True: "jobs-governed", False: "jobs-plain"}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        """Set up quotas and run a governed and an ungoverned worker."""
        settings = LedgerSettings(
            quotas={
                "scan": Quota(max_active=1_000),
                "kept": Quota(max_active=1_000),
                "leased": Quota(max_active=1_000, leased=True),
                "strict": Quota(max_active=1_000),
                "naive": Quota(max_active=1_000),
            },
            source="listed",
        )
        ledger = governing(self._site, "ledger", TENANT)
        await ledger.update("configure", settings, uuid4().hex, LedgerView, 30)
        address = self._site.service_client.config.target_host
        async with AsyncExitStack() as stack:
            for with_plugin in (True, False):
                plugins = [HeadgatePlugin()] if with_plugin else []
                client = await Client.connect(address, plugins=plugins)
                self._clients[with_plugin] = client
                governed = with_plugin
                worker = Worker(
                    client,
                    task_queue=self._queues[with_plugin],
                    workflows=[PlainJob, PermitJob, NaiveJob] if governed else [PlainJob],
                    activities=[plain, guarded, kept, ask] if governed else [plain],
                )
                await stack.enter_async_context(worker)
            yield self

    async def one(self, way: Way, calls: int, call_s: float, id: str) -> None:
        """Run one job."""
        await self._clients[way.governed].execute_workflow(
            way.job.run,
            Work(way.activity, calls, call_s, way.resource),
            id=f"{way.name}-{id}",
            task_queue=self._queues[way.governed],
            priority=Priority(fairness_key=TENANT),
        )

    async def rate(self, way: Way, calls: int, call_s: float, seconds: float) -> float:
        """Return the jobs a second in one turn of a way."""
        until = time.perf_counter() + seconds
        done = 0
        numbers = itertools.count()

        async def worker() -> None:
            nonlocal done
            while time.perf_counter() < until:
                await self.one(way, calls, call_s, f"{next(numbers)}-{uuid4().hex[:8]}")
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        return done / (time.perf_counter() - began)


@dataclass(frozen=True)
class Compared:
    """How one way compares with the ungoverned job, over the rounds.

    Attributes:
        per_s: Jobs a second, the median of the rounds.
        ratio: To the ungoverned job of the same round, the median.
        low: The lower quartile of the ratios.
        high: The upper quartile.
    """

    per_s: float
    ratio: float
    low: float
    high: float


async def compare(
    bench: Bench, calls: int, call_s: float, seconds: float, rounds: int, ways: Sequence[Way] = WAYS
) -> dict[str, Compared]:
    """Return how the ways compare."""
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    for way in ways:
        await bench.rate(way, calls, call_s, 2)  # warm, and blocks of the right size
    for turn in range(rounds):
        order = [*ways[turn % len(ways) :], *ways[: turn % len(ways)]]
        for way in order:
            rates[way.name].append(await bench.rate(way, calls, call_s, seconds))
    found: dict[str, Compared] = {}
    for name, mine in rates.items():
        ratios = [one / base for one, base in zip(mine, rates[PLAIN], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        found[name] = Compared(statistics.median(mine), median, low, high)
    return found


def _rounded(found: dict[str, Compared]) -> dict[str, Any]:
    return {
        name: {
            "per_s": round(one.per_s, 1),
            "ratio": round(one.ratio, 3),
            "quartiles": [round(one.low, 3), round(one.high, 3)],
        }
        for name, one in found.items()
    }


async def figures(bench: Bench, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the figures, for the smallest job and for one of three calls."""
    smallest = await compare(bench, 1, 0.0, seconds, rounds)
    three = await compare(bench, 3, 0.05, seconds, rounds)
    ways = ("call", "hold_job", "permit_leased", "permit_strict")
    return {
        "governed_ratio": {name: round(smallest[name].ratio, 3) for name in ways},
        "governed_ratio_3": {name: round(three[name].ratio, 3) for name in ways},
        "naive_ratio": round(smallest["naive"].ratio, 3),
        "smallest_job": _rounded(smallest),
        "three_calls": _rounded(three),
    }


async def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Measure on a site of its own."""
    async with governed_site() as site, Bench(site).running() as bench:
        return await figures(bench, seconds, rounds)


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=4)
    arguments.add_argument("--rounds", type=int, default=7)
    chosen = arguments.parse_args()
    print(json.dumps(asyncio.run(measure(chosen.seconds, chosen.rounds)), indent=2))


if __name__ == "__main__":
    main()
