"""What a gate makes of its own calls: when to report, how careful to be, when to hold back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from headgate.breaker.windows import Excess, in_a_row
from headgate.gate.own_rates import OwnRates
from headgate.model.breaker import (
    UNKNOWN_EPOCH,
    BreakerState,
    CallOutcome,
    OutcomeBucket,
    Verdict,
)

PASSES: Final = ("all", "ramp")
"""What a verdict may allow for ordinary calls to pass."""

_OWN_TRIP_MS: Final = 5_000
"""How long a gate holds back by itself until the breaker has spoken."""

_MOST_DOUBLINGS: Final = 2
_YOUNG_MS: Final = 10_000
_MANY: Final = 32
_MIN_REPORT_MS: Final = 1_000
_RAMP_REPORT_MS: Final = 500

PATIENCE_MS: Final = 1_000
"""How long a call is held back, rather than refused, when what keeps it away may soon be over."""


@dataclass(slots=True)
class Watch:
    """The rules by which a gate is faster than the breaker, and spares it messages.

    Pure, so that the benchmark plays by the same rules as the worker.

    Attributes:
        in_a_row: Failures that this gate has seen in a row under the verdict.
        cause: Why it last held back by itself, in words.
        own_trip_until_ms: Until when it holds back by itself.
        due_ms: When the next report has to go; None: there is nothing to say.
    """

    in_a_row: int = 0
    cause: str = ""
    own_trip_until_ms: int = 0
    due_ms: int | None = None
    _own_trips: int = 0
    _has_settled: bool = False
    _told_failing: bool = False
    _has_told_calls: bool = False
    _reported_at_ms: int = 0
    _rates: OwnRates | None = None
    _changed_at_ms: int = 0
    _slow_start: int | None = None

    def hear(self, verdict: Verdict, before: Verdict, now_ms: int) -> None:
        """Take in a verdict: a new one begins a new chapter, and may bring other rates.

        Args:
            verdict: That holds from now on.
            before: That held until now.
            now_ms: Unix time.
        """
        if verdict.rates is None:
            self._rates = None
        elif self._rates is None or self._rates.rates != verdict.rates:
            self._rates = OwnRates(verdict.rates)
        first = before.epoch == UNKNOWN_EPOCH and verdict.allow == "all"
        if verdict.epoch == before.epoch or first:
            return
        self.in_a_row = self._own_trips = self.own_trip_until_ms = 0
        self._has_told_calls = False
        self._changed_at_ms = now_ms
        if self._rates is not None:
            self._rates.clear()
        # Without a ramp those that were held back all come now: one first, then two, then four.
        is_back = before.allow == "probes" and verdict.allow == "all"
        self._slow_start = 1 if is_back else None

    def is_patient(self, verdict: Verdict, now_ms: int) -> bool:
        """Return whether a call that is kept away should wait a moment rather than be refused.

        An open time that is about to end, and probes that have only just begun, may be over before
        a refused call would come again. While probes take longer, nobody waits for them here.
        """
        if verdict.allow == "probes":
            return now_ms < self._changed_at_ms + PATIENCE_MS
        until_ms = verdict.until_ms
        # A little beyond its end the news is under way.
        return (
            verdict.state is BreakerState.OPEN
            and until_ms is not None
            and -PATIENCE_MS < until_ms - now_ms <= PATIENCE_MS
        )

    def holds_back(self, verdict: Verdict, now_ms: int) -> bool:
        """Return whether calls that the verdict lets pass should not be made all the same."""
        return verdict.allow in PASSES and now_ms < self.own_trip_until_ms

    def is_cautious(self, verdict: Verdict, began_ms: Iterable[int], now_ms: int) -> bool:
        """Return whether a call should wait a moment for one of those in flight to settle.

        With ``n`` failures in a row seen here and a limit of ``N``, at most ``N - n`` calls are in
        flight at once. So a downstream that has died gets no more than ``N`` calls from this gate,
        however many jobs there are, beyond those that were under way when the first one failed.
        Before any call of this gate has come back it is as careful: nobody knows how the
        downstream is. When it has just come back, a call more is in flight with each that succeeds.

        Args:
            verdict: That holds.
            began_ms: When the calls in flight began; old ones are not about to settle.
            now_ms: Unix time.
        """
        limit = verdict.consecutive_failures
        if limit is not None and self.in_a_row == 0 and self._has_settled:
            limit = None
        if limit is None and self._slow_start is None:
            return False
        at_most = _MANY if limit is None else max(1, limit - self.in_a_row)
        if self._slow_start is not None:
            at_most = min(at_most, self._slow_start)
        young = sum(1 for at_ms in began_ms if at_ms >= now_ms - _YOUNG_MS)
        return young >= at_most

    def settle(
        self, outcome: CallOutcome, epoch: int, verdict: Verdict, now_ms: int, *, slow: bool
    ) -> None:
        """Notice at once what the breaker will decide, and report the sooner the worse it is.

        Args:
            outcome: Of an ordinary call.
            epoch: Under which it was let pass.
            verdict: That holds.
            now_ms: Unix time.
            slow: It was slow.
        """
        self._has_settled = True
        failed, is_current = outcome is CallOutcome.FAILURE, epoch in (verdict.epoch, UNKNOWN_EPOCH)
        too_much: Excess | None = None
        if outcome is CallOutcome.SUCCESS:
            self.in_a_row = 0
            if self._slow_start is not None:
                self._slow_start = self._slow_start + 1 if self._slow_start < _MANY else None
            if not slow:
                self._own_trips = 0
        elif failed and is_current:
            self.in_a_row += 1
        if self._rates is not None and is_current and outcome is not CallOutcome.IGNORED:
            if failed or slow:
                too_much = self._rates.fail(failed=failed, slow=slow, now_ms=now_ms)
            else:
                self._rates.succeed(now_ms)
        if outcome is not CallOutcome.FAILURE and not slow:
            if self._told_failing and outcome is CallOutcome.SUCCESS:
                # The breaker counts a row of failures here that has just ended.
                self.report_by(max(now_ms, self._reported_at_ms + _MIN_REPORT_MS))
            else:
                every_ms = verdict.report_every_ms
                if not self._has_told_calls:
                    # Until it hears of calls that succeed here, the breaker takes those that fail
                    # elsewhere for all that there are.
                    every_ms = min(_MIN_REPORT_MS, every_ms)
                # Along a ramp every outcome is awaited.
                self.report_by(
                    now_ms + (min(_RAMP_REPORT_MS, every_ms) if verdict.is_ramp else every_ms)
                )
            return
        limit = verdict.consecutive_failures
        too_many = limit is not None and self.in_a_row >= limit
        if (too_many or too_much is not None) and verdict.allow in PASSES:
            self.cause = f"{in_a_row(self.in_a_row)} here"
            if too_much is not None and not too_many:
                self.cause = f"{too_much.count} of {too_much.calls} calls {too_much.what} here"
            if now_ms >= self.own_trip_until_ms:
                # When the time is over one more failure is enough, and doubles it: a node that is
                # bad while others are well keeps itself away, with a call now and then to see.
                doublings = min(self._own_trips, _MOST_DOUBLINGS)
                self.own_trip_until_ms = now_ms + _OWN_TRIP_MS * 2**doublings
                self._own_trips += 1
            self.report_by(now_ms)
        else:
            # Sooner than while all is well, and still seldom for a large fleet.
            pause_ms = min(_MIN_REPORT_MS, verdict.report_every_ms // 4)
            self.report_by(max(now_ms, self._reported_at_ms + pause_ms))

    @property
    def is_calm(self) -> bool:
        """Whether the next call that succeeds changes nothing here but a count."""
        return (
            self._has_settled
            and self.in_a_row == 0
            and self._own_trips == 0
            and self._slow_start is None
            and not self._told_failing
        )

    def settle_calm(self, calls: int, verdict: Verdict, at_ms: int) -> None:
        """Take in calls that succeeded while ``is_calm`` held."""
        if self._rates is not None:
            self._rates.succeed(at_ms, calls)
        self.report_by(at_ms + verdict.report_every_ms)

    def settle_probe(self, now_ms: int) -> None:
        """Report the outcome of a probe at once: it is what a half-open breaker waits for."""
        self._has_settled = True
        self.report_by(now_ms)

    def report_by(self, at_ms: int) -> None:
        """Report then at the latest."""
        self.due_ms = at_ms if self.due_ms is None else min(self.due_ms, at_ms)

    def report(self, buckets: Sequence[OutcomeBucket], now_ms: int) -> None:
        """Note what is being reported now."""
        self._told_failing = any(bucket.trailing_failures for bucket in buckets)
        if any(bucket.successes or bucket.failures for bucket in buckets):
            self._has_told_calls = True
        self._reported_at_ms = now_ms
        self.due_ms = None
