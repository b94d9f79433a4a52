"""How long it takes to simulate a day of 100,000 jobs in a contended pool.

Run as::

    python -m bench.simulate [--jobs N] [--tenants N] [--load SHARE] [--strategy S]... [--json]

The day is generated, the same one each time: tenants of very different size, more jobs by day than
by night, jobs of one to eight units that run for a minute on average, and a pool that all of them
together use to 85 %, so that there is more work than room around noon. Nothing is written to disk.
Measured is ``simulate`` alone, on the wall clock and in time of the processor; the second one is
what counts on a machine that has other things to do.
"""

import argparse
import json
import random
import time
from collections.abc import Iterable
from itertools import accumulate
from math import cos, pi
from typing import Any, Final

from headgate.allocation.claims import Claim
from headgate.model.pool import Strategy
from headgate.simulate.figures import figures
from headgate.simulate.pool_simulation import simulate
from headgate.simulate.simulated_pool import SimulatedPool
from headgate.simulate.workload import Job, Workload

GOAL_S: Final = 60.0
"""A day of 100,000 jobs is to take less, for each strategy."""

DAY_MS: Final = 86_400_000
_MEAN_MS: Final = 60_000
_SIZES: Final = (1, 2, 4, 8)
_SIZE_WEIGHTS: Final = (8, 4, 2, 1)


def generated_day(jobs: int, tenants: int, seed: int = 1) -> Workload:
    """Return a day of jobs: by noon twice as many as on average, hardly any at midnight."""
    chance = random.Random(seed)
    names = [f"tenant-{number:03}" for number in range(tenants)]
    sizes = list(accumulate(1 / (1 + number) ** 0.7 for number in range(tenants)))
    day: list[Job] = []
    while len(day) < jobs:
        at = chance.random()
        if chance.random() > 0.55 - 0.45 * cos(2 * pi * at):
            continue
        day.append(
            Job(
                at_ms=int(at * DAY_MS),
                tenant=chance.choices(names, cum_weights=sizes)[0],
                units=chance.choices(_SIZES, _SIZE_WEIGHTS)[0],
                duration_ms=1 + int(chance.expovariate(1 / _MEAN_MS)),
            )
        )
    day.sort(key=lambda job: job.at_ms)
    return Workload(day)


def contended_pool(workload: Workload, load: float) -> SimulatedPool:
    """Return a pool of which the jobs use ``load`` on average, with guarantees for every third."""
    used = sum(job.units * job.duration_ms for job in workload.jobs)
    capacity = max(max(_SIZES), round(used / (DAY_MS * load)))
    tenants = workload.tenants
    shares = tuple(
        Claim(
            tenant=tenant,
            demand=0,
            weight=1 + number % 4,
            priority=number % 3,
            guaranteed=capacity // (2 * len(tenants)) if number % 3 == 0 else 0,
            fixed=max(max(_SIZES), capacity // len(tenants)),
        )
        for number, tenant in enumerate(tenants)
    )
    return SimulatedPool(capacity, shares=shares)


def measure(workload: Workload, pool: SimulatedPool, strategy: Strategy) -> dict[str, Any]:
    """Simulate, and return what it took and what came out."""
    begun, begun_cpu = time.perf_counter(), time.process_time()
    simulation = simulate(workload, pool.with_strategy(strategy))
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    of = figures(simulation)
    return {
        "strategy": strategy.value,
        "jobs": of.jobs,
        "completed": of.completed,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "jobs_per_s": round(of.jobs / seconds),
        "rounds": simulation.rounds,
        "messages": simulation.messages,
        "utilization": round(of.utilization, 4),
        "mean_wait_ms": of.waits.mean,
        "violations": of.violations,
        "over_grants": of.over_grants,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--load", type=float, default=0.85)
    parser.add_argument("--strategy", action="append", choices=[one.value for one in Strategy])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    workload = generated_day(options.jobs, options.tenants)
    pool = contended_pool(workload, options.load)
    names: Iterable[str] = options.strategy or ["proportional", "reserved"]
    rows = []
    if not options.json:
        print(
            f"{options.jobs:,} jobs of {options.tenants} tenants in a day, "
            f"{pool.capacity} units, used to {options.load:.0%}"
        )
    for name in names:
        row = measure(workload, pool, Strategy(name))
        rows.append(row)
        if not options.json:
            print(
                f"  {name:13} {row['jobs']:>8,} jobs {row['seconds']:8.1f} s "
                f"({row['cpu_seconds']:.1f} s of processor) {row['jobs_per_s']:>8,} jobs/s; "
                f"{row['rounds']:,} rounds, {row['messages']:,} messages, "
                f"{row['utilization']:.1%} used, over-grants: {row['over_grants']}",
                flush=True,
            )
    if options.json:
        print(json.dumps({"goal_s": GOAL_S, "capacity": pool.capacity, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
