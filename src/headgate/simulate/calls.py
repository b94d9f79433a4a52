"""Recorded calls: one by one, or made of the outcomes that a breaker has counted."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from headgate.model.breaker import (
    OUTCOME_SPAN_MS,
    BreakerState,
    CallOutcome,
    OutcomeSpan,
    Transition,
)
from headgate.model.policy import BreakerPolicy


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


@dataclass(frozen=True, slots=True)
class Recorded:
    """What really happened, of which calls are made by ``calls_in_spans``.

    Attributes:
        calls: That have ended.
        failures: Of these.
        rejected: More calls; they have no outcome.
        opened: How often the breaker opened.
    """

    calls: int
    failures: int
    rejected: int
    opened: int


def recorded(spans: Sequence[OutcomeSpan], steps: Sequence[Transition]) -> Recorded:
    """Return what really happened.

    Args:
        spans: Of any downstreams.
        steps: Changes of state in the same time.
    """
    opened = [step for step in steps if step.target is BreakerState.OPEN is not step.source]
    return Recorded(
        calls=sum(span.successes + span.failures + span.ignored for span in spans),
        failures=sum(span.failures for span in spans),
        rejected=sum(span.rejected for span in spans),
        opened=len(opened),
    )


def notes_on_record(policy: BreakerPolicy) -> list[str]:
    """Return in sentences what a backtest of a policy on ``calls_in_spans`` cannot know."""
    notes = [
        "Headgate records outcomes in stretches of 10 s: calls are spread evenly in each, with its "
        "mean duration, and those that were rejected then are not among them"
    ]
    if policy.consecutive_failures is not None:
        notes.append(
            "which failures came in a row is only recorded where that opened the breaker: "
            f"consecutive_failures ({policy.consecutive_failures}) may be met more often than is "
            "shown, if it is below what was in force, or something else opened the breaker"
        )
    return notes


def calls_in_spans(
    downstream: str, spans: Sequence[OutcomeSpan], steps: Sequence[Transition] = ()
) -> list[Call]:
    """Return calls that would have been counted as these spans, in the order of time.

    A span says how many calls ended in its ten seconds and how, not when each did. So they are
    spread evenly, with failures among successes in the same proportion all along, and each one
    takes the mean duration. Only those that opened the breaker because they came in a row do so
    here, and end when it opened. Calls that were rejected have no outcome and are not among them.

    Args:
        downstream: Of what.
        spans: In any order.
        steps: Its changes of state in the same time, in any order.
    """
    spans = sorted(spans, key=attrgetter("at_ms"))
    rows = _rows(spans, steps)
    calls = [call for n, span in enumerate(spans) for call in _calls_in(downstream, span, rows[n])]
    calls.sort(key=lambda call: call.at_ms)
    return calls


class _Row(NamedTuple):
    """Failures that came one after another.

    Attributes:
        end_ms: Until when, in their span or at its edges.
        failures: How many.
    """

    end_ms: int
    failures: int


def _rows(spans: Sequence[OutcomeSpan], steps: Sequence[Transition]) -> dict[int, list[_Row]]:
    """Return the failures of each span, by its place, that are known to have come in a row."""
    rows: dict[int, list[_Row]] = defaultdict(list)
    for step in sorted(steps, key=attrgetter("at_ms")):
        if step.rule != "consecutive_failures":
            continue
        last = bisect_right(spans, step.at_ms, key=attrgetter("at_ms")) - 1
        if last < 0 or step.at_ms >= spans[last].at_ms + OUTCOME_SPAN_MS:
            continue  # what led to it is not in the record
        left = int(step.numbers.get("value", 0))
        for n in range(last, -1, -1):
            here = min(left, spans[n].failures - sum(row.failures for row in rows[n]))
            left -= here
            if n < last:
                end_ms = spans[n].at_ms + OUTCOME_SPAN_MS
            else:  # a row that began in the span before has nothing in front of it in this one
                end_ms = spans[n].at_ms if left else step.at_ms
            rows[n].append(_Row(end_ms, here))
            if not left or (n < last and spans[n].successes):
                break
    return rows


def _calls_in(downstream: str, span: OutcomeSpan, rows: Sequence[_Row]) -> Iterator[Call]:
    in_rows = sum(row.failures for row in rows)
    outcomes = list(_spread(span.successes, span.failures - in_rows, span.ignored))
    for end_ms, failures in sorted(rows, reverse=True):  # the last one first: places stay
        place = (end_ms - span.at_ms) * len(outcomes) // OUTCOME_SPAN_MS
        outcomes[place:place] = [CallOutcome.FAILURE] * failures
    judged = span.successes + span.failures
    mean_ms = span.duration_ms // judged if judged else 0
    for n, outcome in enumerate(outcomes):
        end_ms = span.at_ms + n * OUTCOME_SPAN_MS // len(outcomes)
        duration_ms = 0 if outcome is CallOutcome.IGNORED else mean_ms
        begin_ms = max(0, end_ms - duration_ms)
        yield Call(begin_ms, downstream, outcome, end_ms - begin_ms)


def _spread(successes: int, failures: int, ignored: int) -> Iterator[CallOutcome]:
    """Yield so many outcomes, each kind spread evenly over the others."""
    judged = successes + failures
    total = judged + ignored
    for n in range(total):
        if _falls_on(n, ignored, total):
            yield CallOutcome.IGNORED
            continue
        nth = n - n * ignored // total  # among the successes and failures
        yield CallOutcome.FAILURE if _falls_on(nth, failures, judged) else CallOutcome.SUCCESS


def _falls_on(n: int, some: int, all: int) -> bool:
    """Whether place ``n`` of ``all`` is one of ``some`` that are spread evenly over them."""
    return (n + 1) * some // all > n * some // all
