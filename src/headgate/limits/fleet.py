"""The limit of a whole fleet, from the summaries of its gates.

Gates report every second or so, not all at once, some late, some twice. A summary counts once and
in order: one that is no newer than the last of its gate is left aside, and what is left aside is
only evidence that was not used. A summary of an older epoch tells how many calls a gate has in
flight and nothing else.
"""

from dataclasses import dataclass, field
from typing import Final

from headgate.limits.concurrency import Concurrency, begin, step
from headgate.model.limits import CallSummary, ConcurrencyPolicy, LimitChange

SILENT_MS: Final = 600_000
"""A gate that has not reported for so long is forgotten."""

_MOST_GATES: Final = 2_000


@dataclass(slots=True)
class Reporting:
    """What is known of one gate.

    Attributes:
        seq: Its last summary.
        seen_at_ms: When that came.
        most_in_flight: Its most calls in flight in this interval.
    """

    seq: int
    seen_at_ms: int
    most_in_flight: int = 0


@dataclass(slots=True)
class FleetConcurrency:
    """The limit of the fleet, and its gates by id."""

    of: Concurrency
    gates: dict[str, Reporting] = field(default_factory=dict)


def begin_fleet(policy: ConcurrencyPolicy) -> FleetConcurrency:
    """Return the limit of a downstream of which nothing is known yet."""
    return FleetConcurrency(begin(policy))


def observe(
    fleet: FleetConcurrency,
    policy: ConcurrencyPolicy,
    summary: CallSummary,
    now_ms: int,
    report_every_ms: int,
) -> LimitChange | None:
    """Take in a summary and adapt the limit when it is time.

    Args:
        fleet: Is changed.
        policy: How to adapt.
        summary: Of one gate.
        now_ms: Unix time.
        report_every_ms: How often gates report: no interval is shorter, so that all are heard.

    Returns:
        The change, if there is one.
    """
    gate = fleet.gates.get(summary.gate)
    if gate is not None and summary.seq <= gate.seq:
        return None
    if gate is None:
        _forget_silent(fleet, now_ms)
        gate = fleet.gates[summary.gate] = Reporting(summary.seq, now_ms)
    gate.seq, gate.seen_at_ms = summary.seq, now_ms
    gate.most_in_flight = max(gate.most_in_flight, summary.most_in_flight)
    state = fleet.of
    if summary.epoch == state.epoch:
        # Its first calls may have ended as long ago as gates pause between reports.
        state.tally.add(summary, timed=now_ms >= state.timed_from_ms + report_every_ms)
    state.tally.most_in_flight = sum(each.most_in_flight for each in fleet.gates.values())
    before = state.tally
    change = step(state, policy, now_ms, report_every_ms)
    if state.tally is not before:
        for each in fleet.gates.values():
            each.most_in_flight = 0
    return change


def share_of(limit: int, gates: int, number: int) -> int:
    """Return what one of ``gates`` may have in flight when the limit is divided evenly.

    Args:
        limit: Of the fleet.
        gates: How many there are, at least 1.
        number: Which one, from 0, in an order that all agree on.
    """
    each, left = divmod(limit, gates)
    return each + (number < left)


def _forget_silent(fleet: FleetConcurrency, now_ms: int) -> None:
    """Make room for one more gate: forget those that have fallen silent, then the oldest."""
    for name in [n for n, g in fleet.gates.items() if now_ms - g.seen_at_ms > SILENT_MS]:
        del fleet.gates[name]
    while len(fleet.gates) >= _MOST_GATES:
        del fleet.gates[min(fleet.gates, key=lambda n: (fleet.gates[n].seen_at_ms, n))]
