"""All that a governed orchestrator pays: ``python -m bench.performance [--json] [--quick]``.

The same as ``headgate bench``. Everything side by side in one run on one embedded stack; what is
compared takes turns. ``docs/performance.md`` says what the figures mean.
"""

import argparse
import asyncio
import json
import sys
from typing import Any

from bench import gate, gate_memory, ledger, verdict_push
from bench.events import events_per_1000_jobs
from bench.jobs import Bench, figures
from bench.ledger_gates import compare as compare_gates
from bench.site import governed_site


async def measure(*, quick: bool) -> dict[str, Any]:
    """Return all figures.

    Args:
        quick: A look in about two minutes; the figures of the documentation take ten.
    """
    costs = gate.measure(rounds=11 if quick else 41)
    found: dict[str, Any] = gate.figures(costs)
    found |= gate_memory.measure()
    async with governed_site() as site:
        async with Bench(site).running() as bench:
            _say("jobs a second, governed and not")
            found |= await figures(bench, *((2.0, 3) if quick else (4.0, 9)))
            _say("events of governance")
            found |= await events_per_1000_jobs(site, bench, 30 if quick else 100)
        _say("many gates, one ledger")
        found |= await compare_gates(site, 3 if quick else 8)
    _say("one ledger in batches")
    rates = await ledger.measure(4 if quick else 12, 0 if quick else 200)
    found["ledger_batch_ratio"] = rates["ratio"]
    found["ledger"] = rates
    _say("verdicts to ten gates")
    push = await verdict_push.measure(5 if quick else 30)
    found["verdict_push_ms"] = {name: round(push[name], 1) for name in ("p50", "p95")}
    return found


def _say(what: str) -> None:
    sys.stderr.write(f"measuring: {what}\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--quick", action="store_true", help="a look, in about two minutes")
    chosen = parser.parse_args(arguments)
    found = asyncio.run(measure(quick=chosen.quick))
    sys.stdout.write(json.dumps(found, indent=None if chosen.json else 2) + "\n")


if __name__ == "__main__":
    main()
