"""Recorded calls: one by one, or made of the outcomes that a breaker has counted."""

from collections.abc import Iterator
from dataclasses import dataclass

from headgate.model.breaker import OUTCOME_SPAN_MS, CallOutcome, OutcomeSpan


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it was recorded.

    Attributes:
        at_ms: When it began, Unix time.
        downstream: What was called.
        outcome: How it ended.
        duration_ms: How long it took.
    """

    at_ms: int
    downstream: str
    outcome: CallOutcome
    duration_ms: int

    @property
    def end_ms(self) -> int:
        """When its outcome was known."""
        return self.at_ms + self.duration_ms


def calls_in_spans(downstream: str, spans: list[OutcomeSpan]) -> list[Call]:
    """Return calls that would have been counted as these spans, in the order of time.

    A span says how many calls ended in its ten seconds and how, not when each did. So they are
    spread evenly, with failures among successes in the same proportion all along, and each one
    takes the mean duration. Calls that were rejected have no outcome and are not among them.

    Args:
        downstream: Of what.
        spans: In any order.
    """
    calls = [call for span in spans for call in _calls_in(downstream, span)]
    calls.sort(key=lambda call: call.at_ms)
    return calls


def _calls_in(downstream: str, span: OutcomeSpan) -> Iterator[Call]:
    judged = span.successes + span.failures
    total = judged + span.ignored
    mean_ms = span.duration_ms // judged if judged else 0
    for n in range(total):
        end_ms = span.at_ms + n * OUTCOME_SPAN_MS // total
        outcome, duration_ms = CallOutcome.SUCCESS, mean_ms
        if _falls_on(n, span.ignored, total):
            outcome, duration_ms = CallOutcome.IGNORED, 0
        else:
            nth = n - n * span.ignored // total  # among the successes and failures
            if _falls_on(nth, span.failures, judged):
                outcome = CallOutcome.FAILURE
        begin_ms = max(0, end_ms - duration_ms)
        yield Call(begin_ms, downstream, outcome, end_ms - begin_ms)


def _falls_on(n: int, some: int, all: int) -> bool:
    """Whether place ``n`` of ``all`` is one of ``some`` that are spread evenly over them."""
    return (n + 1) * some // all > n * some // all
