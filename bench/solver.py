"""How long it takes to divide a pool between many tenants, beside sorting their bounds.

Run as::

    python -m bench.solver [--tenants N] [--rounds N] [--json]

Any solver that sweeps breakpoints must sort the two bounds of each tenant (l/w and u/w); that is
the yardstick, measured in the same round on the same numbers: as (value, number) tuples, which say
whose bound each one is, and as plain floats, which do not and are the cheapest sort there is.
Measured are the solver alone (``fill``, with floors and ceilings, weights of two kinds) and
``divide`` with all that belongs to it. Figures are medians of processor time, for other work on the
machine falls into one and not into another; a ratio is the median over the rounds.
"""

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Final

from headgate.allocation import Claim, Strategy, divide
from headgate.allocation.solver import fill, whole_weights

GOAL: Final = 5.0
"""``fill`` is to take at most so many times the time of sorting."""

TUPLES: Final = "sort (value, number) tuples"
FLOATS: Final = "sort plain floats"


def measure(tenants: int, rounds: int, seed: int = 1) -> dict[str, list[float]]:
    """Return the milliseconds of each round, by what was done."""
    chance = random.Random(seed)
    whole = [chance.randint(1, 10) for _ in range(tenants)]
    fine = [chance.uniform(0.1, 10) for _ in range(tenants)]
    floors = [chance.randint(0, 100) for _ in range(tenants)]
    ceilings = [floor + chance.randint(0, 1_000) for floor in floors]
    capacity = (sum(floors) + sum(ceilings)) // 2
    # What sorting gets is ready made; for ``fill`` all is counted.
    values = [low / weight for low, weight in zip(floors, whole, strict=True)]
    values += [top / weight for top, weight in zip(ceilings, whole, strict=True)]
    tuples = [(value, number) for number, value in enumerate(values)]
    claims = [
        Claim(
            tenant=f"tenant-{number}",
            demand=ceilings[number],
            weight=whole[number],
            guaranteed=floors[number],
        )
        for number in range(tenants)
    ]
    contenders: dict[str, Callable[[], object]] = {
        TUPLES: lambda: sorted(tuples),
        FLOATS: lambda: sorted(values),
        "fill, whole weights": lambda: fill(capacity, whole, floors, ceilings),
        "fill, any weights": lambda: fill(capacity, whole_weights(fine), floors, ceilings),
        "divide, proportional": lambda: divide(capacity, Strategy.PROPORTIONAL, claims),
        "divide, reserved": lambda: divide(capacity, Strategy.RESERVED, claims),
    }
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            gc.collect()
            begun_ns = time.process_time_ns()
            run()
            taken[name].append((time.process_time_ns() - begun_ns) / 1e6)
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.solver", description=__doc__)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    taken = measure(options.tenants, options.rounds)
    rows = {
        name: {
            "median_ms": statistics.median(times),
            "to_tuples": _ratio(times, taken[TUPLES]),
            "to_floats": _ratio(times, taken[FLOATS]),
        }
        for name, times in taken.items()
    }
    if options.json:
        print(json.dumps({"tenants": options.tenants, "goal": GOAL, "rows": rows}, indent=2))
        return
    print(f"{options.tenants:,} tenants, {2 * options.tenants:,} bounds, {options.rounds} rounds\n")
    print(f"{'':30}{'median ms':>10}{'x tuples':>10}{'x floats':>10}")
    for name, row in rows.items():
        print(f"{name:30}{row['median_ms']:10.2f}{row['to_tuples']:10.2f}{row['to_floats']:10.2f}")
    print(f"\ngoal: fill takes at most {GOAL:g} times as long as sorting the bounds")


def _ratio(times: list[float], base: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(times, base, strict=True))


if __name__ == "__main__":
    main()
