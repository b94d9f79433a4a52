"""How long a verdict takes to reach ten gates: ``python -m bench.verdict_push [--rounds N]``.

On an embedded Temporal server and Postgres, with one governance worker: a report trips the breaker;
the clock runs from the call that sends the report until the verdict has been taken in by a gate,
each on a task queue of its own. Prints JSON: milliseconds, over all gates and rounds.
"""

import argparse
import asyncio
import json
import statistics
import time
from contextlib import AsyncExitStack
from uuid import uuid4

from temporalio.client import Client
from temporalio.worker import Worker

from bench.site import governed_site
from headgate.activities.verdicts import VerdictActivities
from headgate.gate.kinds import governing
from headgate.model.breaker import (
    BreakerCommand,
    BreakerState,
    BreakerView,
    OutcomeBucket,
    Report,
    Verdict,
)
from headgate.model.ids import gate_task_queue
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings

GATES = 10
DOWNSTREAM = "bench"


class _Gates:
    """Ten listeners, and when each has heard of the last trip."""

    def __init__(self) -> None:
        self.names = [f"bench-{n}-{uuid4().hex[:6]}" for n in range(GATES)]
        self._heard: dict[str, float] = {}
        self._all = asyncio.Event()

    def listener(self, client: Client, name: str) -> Worker:
        """Return the worker on which one gate takes verdicts."""

        def take(verdict: Verdict) -> None:
            if verdict.state is BreakerState.OPEN and name not in self._heard:
                self._heard[name] = time.perf_counter()
                if len(self._heard) == GATES:
                    self._all.set()

        return Worker(
            client,
            task_queue=gate_task_queue(name),
            activities=[VerdictActivities(take).push_verdict],
        )

    def forget(self) -> None:
        """Begin a round."""
        self._heard.clear()
        self._all.clear()

    async def heard(self, since: float) -> list[float]:
        """Return how long each took, in milliseconds."""
        await asyncio.wait_for(self._all.wait(), 20)
        return [(at - since) * 1000 for at in self._heard.values()]


async def measure(rounds: int) -> dict[str, float]:
    """Return the figures of ``rounds`` trips."""
    times: list[float] = []
    async with governed_site() as client, AsyncExitStack() as resources:
        gates = _Gates()
        for name in gates.names:
            await resources.enter_async_context(gates.listener(client, name))
        breaker = governing(client, "breaker", DOWNSTREAM)
        policy = BreakerPolicy(consecutive_failures=5, open_ms=600_000)
        settings = BreakerSettings(policy=policy, source="listed")
        await breaker.update("configure", settings, uuid4().hex, BreakerView, 20)
        for round_number in range(1, rounds + 1):
            epoch = (await breaker.query("state", BreakerView, 10)).epoch
            for name in gates.names[1:]:
                hello = Report(gate=name, seq=round_number, task_queue=gate_task_queue(name))
                await breaker.signal("report", hello, 10)
            gates.forget()
            first = gates.names[0]
            failures = OutcomeBucket(
                at_ms=time.time_ns() // 1_000_000, epoch=epoch, failures=5, trailing_failures=5
            )
            report = Report(
                gate=first, seq=round_number, task_queue=gate_task_queue(first), buckets=[failures]
            )
            began = time.perf_counter()
            await breaker.signal("report", report, 10)
            times += await gates.heard(began)
            command = BreakerCommand(
                id=uuid4().hex, action="reset", actor="bench", reason="next round"
            )
            await breaker.update("command", command, command.id, BreakerView, 10)
    cuts = statistics.quantiles(times, n=100)
    return {"gates": GATES, "rounds": rounds, "p50": cuts[49], "p95": cuts[94], "max": max(times)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    figures = asyncio.run(measure(parser.parse_args().rounds))
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
