"""What a gate counts, through the meter of Temporal's runtime; free while none is configured."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from temporalio.client import Client
from temporalio.common import MetricCounter, MetricHistogramFloat, MetricMeter
from temporalio.runtime import Runtime

from headgate.model.breaker import BreakerState, OutcomeBucket, ProbeOutcome, Verdict
from headgate.model.ledger import Decision
from headgate.view import metrics as m
from headgate.view.metrics import Metric

NO_REASON = "none"


def counter(meter: MetricMeter, metric: Metric) -> MetricCounter:
    """Return the counter of the list in a meter."""
    return meter.create_counter(metric.name, metric.help)


def histogram(meter: MetricMeter, metric: Metric) -> MetricHistogramFloat:
    """Return the histogram of the list in a meter."""
    return meter.create_histogram_float(metric.name, metric.help, metric.unit)


class GateMetrics:
    """The metrics of one gate.

    Calls are counted when they are reported, so that a call itself costs nothing more.

    Args:
        meter: Where to.
    """

    def __init__(self, meter: MetricMeter) -> None:
        self._calls = counter(meter, m.CALLS)
        self._decisions = counter(meter, m.DECISIONS)
        self._admission = histogram(meter, m.ADMISSION)
        self._trip_delay = histogram(meter, m.TRIP_DELAY)
        self._ungoverned = counter(meter, m.UNGOVERNED)

    @classmethod
    def of(cls, client: Client) -> "GateMetrics":
        """Return those of the runtime that a client was connected with."""
        runtime = client.service_client.config.runtime or Runtime.default()
        return cls(runtime.metric_meter)

    def reported(
        self, downstream: str, buckets: Sequence[OutcomeBucket], probes: Sequence[ProbeOutcome]
    ) -> None:
        """Count the calls of a report."""
        counts: dict[str, int] = {}
        for bucket in buckets:
            for outcome, count in (
                ("success", bucket.successes),
                ("failure", bucket.failures),
                ("ignored", bucket.ignored),
                ("rejected", bucket.rejected),
            ):
                counts[outcome] = counts.get(outcome, 0) + count
        for probe in probes:
            counts[probe.outcome.value] = counts.get(probe.outcome.value, 0) + 1
        for outcome, count in counts.items():
            if count:
                self._calls.add(count, {"downstream": downstream, "outcome": outcome})

    def decided(self, resource: str, decision: Decision, took_s: float) -> None:
        """Count an answer to a job."""
        reason = NO_REASON if decision.reason is None else decision.reason.code.value
        self._decisions.add(
            1, {"resource": resource, "decision": decision.outcome.value, "reason": reason}
        )
        self._admission.record(took_s, {"resource": resource})

    def ungoverned(self, resource: str) -> Callable[[], None]:
        """Return what counts a call that passes although the ledger is away.

        The count is there from the beginning, with 0: else a first increase would be none.
        """
        add = partial(self._ungoverned.add, additional_attributes={"resource": resource})
        add(0)
        return partial(add, 1)

    def heard(self, verdict: Verdict, before: Verdict, now_ms: int) -> None:
        """Note how long a trip took to come here; a gate that knew nothing before was not told."""
        is_trip = verdict.state is BreakerState.OPEN and before.epoch < verdict.epoch
        if is_trip and before.epoch >= 0 and verdict.since_ms:
            delay_s = max(0, now_ms - verdict.since_ms) / 1_000
            self._trip_delay.record(delay_s, {"downstream": verdict.downstream})


NOT_COUNTED: Final = GateMetrics(MetricMeter.noop)
