"""What a policy would have done on recorded calls.

A queue of events in the order of time, for each downstream: a call is decided when it begins; if
it is admitted, the breaker learns its outcome when it ends. Between them the breaker is woken at
its own deadlines, so a state ends when it would have ended, and not when the next call comes.

What happens in the same millisecond is taken in this order: deadlines, outcomes, calls.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final

from headgate.breaker.machine import Breaker
from headgate.breaker.single import Pass, SingleBreaker
from headgate.model.breaker import BreakerState, CallOutcome, Transition
from headgate.model.policy import BreakerPolicy
from headgate.model.settings import BreakerSettings
from headgate.simulate.calls import Call

Jitter = Callable[[], float]
"""A stream of numbers from 0 to 1, for the jitter of the open time."""

_COUNTS: Final = (
    "calls",
    "admitted",
    "rejected",
    "failures_admitted",
    "failures_avoided",
    "successes_rejected",
)


@dataclass(slots=True)
class BacktestOf:
    """What the policy would have done on the calls of one downstream.

    Attributes:
        begin_ms: When the first call began.
        end_ms: When the last thing happened: a call, or the outcome of one that was admitted.
        calls: All of them.
        admitted: Those that pass.
        rejected: Those that do not.
        failures: Failing calls, admitted or not.
        failures_admitted: Failing calls that pass.
        failures_avoided: Failing calls that are rejected: spared.
        successes_rejected: Good calls that are rejected: the price.
        transitions: All changes of state, in the order of time.
        state: The state at ``end_ms``.
        rejections: The rejected calls, in the order of time.
    """

    begin_ms: int
    end_ms: int
    calls: int = 0
    admitted: int = 0
    rejected: int = 0
    failures_admitted: int = 0
    failures_avoided: int = 0
    successes_rejected: int = 0
    transitions: list[Transition] = field(default_factory=list)
    state: BreakerState = BreakerState.CLOSED
    rejections: list[Call] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Failing calls, admitted or not."""
        return self.failures_admitted + self.failures_avoided

    def as_json(self) -> dict[str, Any]:
        """Return what ``headgate backtest --json`` prints for it."""
        return {
            **{name: getattr(self, name) for name in _COUNTS},
            "transitions": [
                {
                    "at_ms": step.at_ms,
                    "from": step.source.value,
                    "to": step.target.value,
                    "reason": step.reason,
                    "epoch": step.epoch,
                }
                for step in self.transitions
            ],
            "state": self.state.value,
        }


@dataclass(slots=True)
class Backtest:
    """What the policy would have done.

    Attributes:
        downstreams: By name, in the order of names.
    """

    downstreams: dict[str, BacktestOf]

    def total(self, count: str) -> int:
        """Return the sum of a count, such as ``calls``, over all downstreams."""
        return sum(getattr(of, count) for of in self.downstreams.values())

    def as_json(self) -> dict[str, Any]:
        """Return what ``headgate backtest --json`` prints."""
        return {
            "downstreams": {name: of.as_json() for name, of in self.downstreams.items()},
            "totals": {count: self.total(count) for count in _COUNTS},
        }


def backtest(
    calls: Iterable[Call],
    policy: BreakerPolicy,
    jitter: Callable[[str], Jitter] | None = None,
) -> Backtest:
    """Return what ``policy`` would have done, with a breaker of its own for each downstream.

    Each downstream is judged by its own calls alone. Time stops for it at its last event: what came
    later is not in the recording. A recording does not say which process made a call, so a quorum
    cannot be judged and is taken as 1.

    Args:
        calls: In the order of ``at_ms``; those that begin at the same time in the order given.
        policy: For every downstream.
        jitter: Gives the stream of a downstream, by its name; without it open times do not vary.

    Raises:
        ValueError: A call begins before the one ahead of it.
    """
    settings = BreakerSettings(policy=policy.model_copy(update={"quorum": 1}))
    courses: dict[str, _Course] = {}
    last_ms = 0
    for call in calls:
        if call.at_ms < last_ms:
            raise ValueError(f"a call at {call.at_ms} follows one at {last_ms}: sort them by at_ms")
        last_ms = call.at_ms
        course = courses.get(call.downstream)
        if course is None:
            stream = None if jitter is None else jitter(call.downstream)
            course = _Course(call.downstream, settings, stream, call.at_ms)
            courses[call.downstream] = course
        course.decide(call)
    return Backtest({name: courses[name].finish() for name in sorted(courses)})


class _Course:
    """The course of one downstream: its breaker and the calls in flight."""

    __slots__ = ("_breaker", "_flights", "_result", "_single")

    def __init__(
        self, downstream: str, settings: BreakerSettings, stream: Jitter | None, at_ms: int
    ) -> None:
        chance: tuple[Jitter, ...] = () if stream is None else (stream,)
        self._breaker = Breaker.begin(downstream, settings, 0, at_ms, *chance)
        self._single = SingleBreaker(self._breaker)
        # By end and then by beginning, so that ties settle in the order in which they began.
        self._flights: list[tuple[int, int, Pass, Call]] = []
        self._result = BacktestOf(begin_ms=at_ms, end_ms=at_ms)

    def decide(self, call: Call) -> None:
        """Take a call: what has happened before it, then whether it passes."""
        self._run_to(call.at_ms)
        result = self._result
        result.calls += 1
        result.end_ms = call.at_ms
        failed = call.outcome is CallOutcome.FAILURE
        given = self._single.admit(call.at_ms)
        if given is None:
            result.rejected += 1
            result.failures_avoided += failed
            result.successes_rejected += call.outcome is CallOutcome.SUCCESS
            result.rejections.append(call)
        else:
            result.admitted += 1
            result.failures_admitted += failed
            heappush(self._flights, (call.end_ms, result.calls, given, call))

    def finish(self) -> BacktestOf:
        """Let the calls in flight end, and return the result."""
        if self._flights:
            self._result.end_ms = max(self._flights)[0]
        self._run_to(self._result.end_ms)
        self._result.state = self._breaker.record.effective
        return self._result

    def _run_to(self, now_ms: int) -> None:
        """Do what is due up to ``now_ms``, in the order of time."""
        flights, breaker, record = self._flights, self._breaker, self._breaker.record
        while True:
            due_ms = breaker.next_deadline()
            if due_ms is not None and due_ms <= now_ms and (not flights or due_ms <= flights[0][0]):
                breaker.advance(due_ms)
            elif flights and flights[0][0] <= now_ms:
                end_ms, _, given, call = heappop(flights)
                self._single.settle(given, call.outcome, end_ms, call.duration_ms)
            else:
                return
            if record.unsaved:
                # All of them are kept here; the record itself keeps only the last ones.
                self._result.transitions += record.unsaved
                record.unsaved = []
                record.alerts.clear()
