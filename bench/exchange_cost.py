"""What one exchange of a gate costs: ``python -m bench.exchange_cost [--seconds N]``.

A tenant that holds 100 permits; each exchange takes some and gives as many back, so many times a
second, with nothing else beside it. Prints JSON: milliseconds of CPU a second that Temporal's
server and this process (worker and gate) spend, above what they spend at rest.
"""

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from bench.site import governed_site
from headgate.gate.kinds import governing
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.ledger import Acquire, Exchange, ExchangeReply, Holder, LedgerView
from headgate.model.quota import Quota
from headgate.model.settings import LedgerSettings

HELD: Final = 100
PACES: Final = ((4, 6), (10, 3))
"""Exchanges a second, and permits in each: about as many permits a second both times."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Traffic:
    """One gate that exchanges with the ledger of one tenant."""

    def __init__(self, ledger: GovernanceWorkflow) -> None:
        self._ledger = ledger
        self._held: list[str] = []
        self._number = 0

    async def exchange(self, count: int) -> None:
        """Take so many, and give back the oldest above ``HELD``."""
        self._number += 1
        taken = [uuid4().hex for _ in range(count)]
        over = max(0, len(self._held) + count - HELD)
        message = Exchange(
            gate="bench",
            number=self._number,
            acquires=[
                Acquire(id=id, holder=Holder(workflow_id=id, run_id=id), resource="strict")
                for id in taken
            ],
            releases=self._held[:over],
        )
        reply = await self._ledger.update(
            "exchange", message, f"bench:{self._number}", ExchangeReply, 5
        )
        assert all(one.outcome == "granted" for one in reply.decisions)
        self._held = [*self._held[over:], *taken]

    async def steadily(self, per_s: float, count: int, seconds: float) -> None:
        """Exchange so many times a second."""
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            await self.exchange(count)
            done += 1
            await asyncio.sleep(max(0.0, began + done / per_s - time.perf_counter()))


async def measure(seconds: float) -> dict[str, Any]:
    """Return the figures of each pace."""
    async with governed_site() as site:
        ledger = governing(site, "ledger", "acme")
        quotas = LedgerSettings(quotas={"strict": Quota(max_active=1_000)}, source="listed")
        await ledger.update("configure", quotas, uuid4().hex, LedgerView, 30)
        traffic = Traffic(ledger)
        await traffic.exchange(HELD)
        found = {}
        for per_s, count in PACES:
            await traffic.steadily(per_s, count, 2)
            before, began = _cpu_ms(), time.perf_counter()
            await traffic.steadily(per_s, count, seconds)
            after, took_s = _cpu_ms(), time.perf_counter() - began
            await asyncio.sleep(2)  # the last snapshot
            rests, rest_from = _cpu_ms(), time.perf_counter()
            await asyncio.sleep(seconds)
            rested, rest_s = _cpu_ms(), time.perf_counter() - rest_from
            found[f"{per_s}_a_second_of_{count}"] = {
                name: round(
                    (after[name] - before[name]) / took_s - (rested[name] - rests[name]) / rest_s
                )
                for name in before
            }
        return found


def _cpu_ms() -> dict[str, float]:
    """Return what has been spent so far (Linux)."""
    spent = {"server_ms_per_s": 0.0, "worker_ms_per_s": 0.0}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            times = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended
        ms = (int(times[11]) + int(times[12])) * 1_000 / _TICKS
        if int(process.name) == os.getpid():
            spent["worker_ms_per_s"] += ms
        elif Path(os.fsdecode(command[0])).name == "temporal":
            spent["server_ms_per_s"] += ms
    return spent


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=10)
    print(json.dumps(asyncio.run(measure(arguments.parse_args().seconds)), indent=2))


if __name__ == "__main__":
    main()
