"""What a decision of the gate costs: ``python -m bench.gate [--json]``.

One decision and its settlement, by the real gate: breaker, rate and concurrency limit, a unit out
of a leased block, and recording; and the breaker alone. Side by side with what a guarded call costs
in Python libraries, taking turns within each round (``bench/call_cost.py``). Nanoseconds.
"""

import argparse
import json
from dataclasses import asdict
from typing import Any, Final, cast

from bench.call_cost import BASE, Cost, Many, libraries, take_turns
from headgate.gate.downstream import Downstream
from headgate.gate.lane import Lane
from headgate.gate.stock import Stock
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import BreakerState, Verdict
from headgate.model.lease import LeaseGrant
from headgate.model.limits import ConcurrencyPolicy, LimitPolicy, RatePolicy
from headgate.model.policy import Rates

ALL: Final = "headgate: breaker, rate, concurrency, lease, recording"
BREAKER: Final = "headgate: breaker and recording"
LIMITS_HALF_OPEN: Final = ("pybreaker call()", "interlock-cb", "interlock-cb, async")
"""The libraries that limit how many calls a half-open breaker lets pass."""


def lane(*, everything: bool) -> Lane:
    """Return the way of a call while all is well, as it is after a minute of work."""
    downstream = Downstream("scanner", "gate", "queue", cast(GovernanceWorkflow, None))
    limit = LimitPolicy(
        max_in_flight=500, concurrency=ConcurrencyPolicy(initial=100), rate=RatePolicy()
    )
    verdict = Verdict(
        downstream="scanner",
        state=BreakerState.CLOSED,
        epoch=1_000_000,
        allow="all",
        consecutive_failures=5,
        rates=Rates(),
        slow_call_ms=60_000,
        report_every_ms=15_000,
        limit=limit if everything else None,
    )
    downstream.take(verdict)
    stock = None
    if everything:
        stock = Stock("acme", "scan", lambda _: None)
        stock.block.waiting = 50
        asks = stock.block.ask(stock._clock())
        grant = LeaseGrant(resource="scan", term=1, number=asks.number, units=100, for_ms=10**9)
        stock.block.hear(grant)
        stock.block.waiting = 0
    return Lane(downstream, "bench", stock)


def _many(way: Lane) -> Many:
    from headgate.gate.outcomes import Ended
    from headgate.model.breaker import CallOutcome

    success = CallOutcome.SUCCESS

    def warm() -> None:
        # The first outcome of a gate is looked at closely.
        ticket = way.downstream._let_pass("warm", None)
        way.downstream.settle(ticket, Ended(success, 1), "bench")

    warm()

    def many(calls: int) -> None:
        enter, leave, settle = way.enter, way.leave, way.settle
        work = _work
        slow = 0
        for _ in range(calls):
            ticket = enter(1, 30_000)
            assert ticket is not None
            work()
            if not leave(ticket):
                settle(ticket, Ended(success, 1))
                slow += 1
        assert slow <= calls // 2, "most calls have to go the short way"

    return many


def _work() -> None:
    """Be the cheapest call there is."""


def measure(calls: int = 2_000, rounds: int = 41) -> dict[str, Cost]:
    """Return what a call costs, for each contender."""
    contenders: dict[str, Many] = {
        ALL: _many(lane(everything=True)),
        BREAKER: _many(lane(everything=False)),
        **libraries(),
    }
    return take_turns(contenders, calls, rounds)


def figures(costs: dict[str, Cost]) -> dict[str, Any]:
    """Return the figures of the issue."""
    return {
        "gate_ns": round(costs[ALL].median_ns),
        "gate_breaker_ns": round(costs[BREAKER].median_ns),
        "gate_to_pybreaker": costs[ALL].ratio,
        "peers_ns": {
            name: round(cost.median_ns)
            for name, cost in costs.items()
            if name not in (ALL, BREAKER)
        },
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    costs = measure()
    if chosen.json:
        print(json.dumps(figures(costs) | {"spread": {k: asdict(v) for k, v in costs.items()}}))
        return
    for name, cost in sorted(costs.items(), key=lambda one: one[1].median_ns):
        ratio = "" if cost.ratio is None else f", x {cost.ratio:.2f} of {BASE}"
        spread = f"{cost.low_ns:,.0f} to {cost.high_ns:,.0f}"
        print(f"{name}: {cost.median_ns:,.0f} ns ({spread}){ratio}")


if __name__ == "__main__":
    main()
