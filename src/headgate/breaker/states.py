"""The states of a breaker: each says what passes, what an outcome does, what time does."""

import math
from typing import TYPE_CHECKING, ClassVar

from headgate.breaker.rules import judge
from headgate.model.breaker import Allow, BreakerState, CallOutcome

if TYPE_CHECKING:
    from headgate.breaker.machine import Breaker


class Closed:
    """Every call passes; the window is judged after each report."""

    name: ClassVar = BreakerState.CLOSED
    allow: ClassVar[Allow] = "all"
    judges_calls: ClassVar = True

    def on_outcomes(self, breaker: "Breaker", now_ms: int) -> None:
        """Open when a rule of the policy is met."""
        trip = judge(breaker.record, now_ms)
        if trip is not None:
            breaker.open(trip.rule, trip.reason, trip.numbers, now_ms)

    def on_time(self, breaker: "Breaker", now_ms: int) -> None:
        """Stay: nothing here ends by itself."""


class Open:
    """No call passes until the open time is over."""

    name: ClassVar = BreakerState.OPEN
    allow: ClassVar[Allow] = "none"
    judges_calls: ClassVar = False

    def on_outcomes(self, breaker: "Breaker", now_ms: int) -> None:
        """Stay: late outcomes of calls from before do not move an open breaker."""

    def on_time(self, breaker: "Breaker", now_ms: int) -> None:
        """Let probes pass once the open time is over, whether anybody calls or not."""
        until = breaker.record.until_ms
        if until is not None and now_ms >= until:
            breaker.half_open(now_ms)


class HalfOpen:
    """A few probes pass, for the whole fleet; their outcomes decide."""

    name: ClassVar = BreakerState.HALF_OPEN
    allow: ClassVar[Allow] = "probes"
    judges_calls: ClassVar = False

    def on_outcomes(self, breaker: "Breaker", now_ms: int) -> None:
        """Go on or re-open as soon as the probes have settled it."""
        record, policy = breaker.record, breaker.record.policy
        # The fewest successes that satisfy close_at; 100 x 0.07 is 7, not 7.000000000000001.
        needed = max(1, math.ceil(round(policy.probes * policy.close_at, 9)))
        good, bad = record.probe_successes, record.probe_failures
        numbers = {"succeeded": good, "failed": bad, "needed": needed}
        if good >= needed:
            reason = f"{good} of {policy.probes} probes succeeded"
            breaker.come_back("probes", reason, numbers, now_ms)
        elif bad > policy.probes - needed:
            breaker.open(
                "probes",
                f"{bad} of {policy.probes} probes failed ({needed} must succeed)",
                numbers,
                now_ms,
            )

    def on_time(self, breaker: "Breaker", now_ms: int) -> None:
        """Count probes that are overdue as failed, and leave by the deadline in any case."""
        record = breaker.record
        overdue = [id for id, probe in record.probes.items() if now_ms >= probe.deadline_ms]
        for id in overdue:
            breaker.settle_probe(id, CallOutcome.FAILURE)
        if overdue:
            self.on_outcomes(breaker, now_ms)
        if record.state is not self.name or record.until_ms is None or now_ms < record.until_ms:
            return
        numbers = {"succeeded": record.probe_successes, "failed": record.probe_failures}
        if record.probe_failures or (record.probes and not record.open_dependencies):
            breaker.open("deadline", "the probes were not settled in time", numbers, now_ms)
        else:
            # Nobody called, or all that did succeeded, or failed with a dependency that is open:
            # there is no ground to keep calls away.
            breaker.come_back("deadline", "no probe failed in the half-open time", numbers, now_ms)


class Ramp:
    """A share of the calls passes, and rises to all of them; the window is judged warily."""

    name: ClassVar = BreakerState.RAMP
    allow: ClassVar[Allow] = "ramp"
    judges_calls: ClassVar = True

    def on_outcomes(self, breaker: "Breaker", now_ms: int) -> None:
        """Open again when failures return."""
        trip = judge(breaker.record, now_ms, wary=True)
        if trip is not None:
            breaker.open(trip.rule, f"in the ramp, {trip.reason}", trip.numbers, now_ms)

    def on_time(self, breaker: "Breaker", now_ms: int) -> None:
        """Close at the end of the ramp."""
        record = breaker.record
        if record.until_ms is None or now_ms < record.until_ms:
            return
        window = record.window
        reason = "the ramp is over"
        if window.calls:
            reason += f"; {window.total_failures} of {window.calls} calls failed in it"
        breaker.close("ramp_done", reason, {"calls": window.calls}, now_ms)


STATES: dict[BreakerState, Closed | Open | HalfOpen | Ramp] = {
    state.name: state for state in (Closed(), Open(), HalfOpen(), Ramp())
}
"""What the breaker decides by itself; what people set lies over it, see ``overrides``."""

OVERRIDE_ALLOWS: dict[BreakerState, Allow] = {
    BreakerState.FORCED_OPEN: "none",
    BreakerState.FORCED_CLOSED: "all",
    BreakerState.SHADOW: "all",
}
