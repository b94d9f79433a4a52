"""What a gate weighs: ``python -m bench.gate_memory``.

The memory of a process with a worker's imports and a gate for 1,000 tenants and 50 downstreams,
each of which has been used, over that of the same process with a gate that nobody has used.
Measured in processes of their own, as memory that was once used is not always given back.
"""

import asyncio
import gc
import json
import subprocess
import sys

import psutil

TENANTS = 1_000
DOWNSTREAMS = 50


def _resident_mb() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


async def _used(used: bool) -> float:
    from temporalio.client import Client

    from headgate.gate.gate import Gate
    from headgate.gate.lane import Lane
    from headgate.model.breaker import BreakerState, Verdict
    from headgate.model.entity import EntityOptions
    from headgate.model.lease import LeaseGrant
    from headgate.model.limits import ConcurrencyPolicy, LimitPolicy
    from headgate.model.policy import Rates
    from headgate.orchestrator import plugin

    assert plugin.NAME
    nobody = await Client.connect("127.0.0.1:1", lazy=True)  # it never has to
    gate = Gate(nobody, "headgate", EntityOptions())
    if not used:
        return _resident_mb()
    lanes: list[Lane] = []
    for number in range(DOWNSTREAMS):
        verdict = Verdict(
            downstream=f"downstream-{number}",
            state=BreakerState.CLOSED,
            epoch=1_000_000,
            allow="all",
            consecutive_failures=5,
            rates=Rates(),
            limit=LimitPolicy(concurrency=ConcurrencyPolicy()),
        )
        gate.take(verdict)
    for number in range(TENANTS):
        lane = gate.lane(f"downstream-{number % DOWNSTREAMS}", f"tenant-{number}", "scan")
        stock = lane._stock
        assert stock is not None
        stock.block.waiting = 5
        ask = stock.block.ask(stock._clock())
        stock.block.hear(LeaseGrant(resource="scan", term=1, number=ask.number, units=10))
        link = gate._ledger(f"tenant-{number}")
        link.look()
        lanes.append(lane)
    await asyncio.sleep(0)  # the links' keepers begin
    for lane in lanes:
        ticket = lane.enter(1, 1_000)
        if ticket is not None:
            lane.leave(ticket)
    return _resident_mb()


def measure() -> dict[str, float]:
    """Return the figures."""

    def run(how: str) -> float:
        command = [sys.executable, "-m", "bench.gate_memory", how]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    bare, used = run("bare"), run("used")
    return {"gate_memory_mb": round(used - bare, 1), "bare_mb": round(bare, 1)}


def main() -> None:
    """Run the benchmark."""
    if len(sys.argv) > 1:
        print(asyncio.run(_used(sys.argv[1] == "used")))
    else:
        print(json.dumps(measure(), indent=2))


if __name__ == "__main__":
    main()
