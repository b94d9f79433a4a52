"""What calls did in an interval, as sums: those of many gates add up to those of the fleet."""

from dataclasses import dataclass
from typing import Final

from headgate.model.limits import CallSummary

_MOST_COUNT: Final = 1_000_000_000
_MOST_MS: Final = 253_402_300_799_000
_MOST_SQUARES: Final = (1 << 53) - 1


@dataclass(slots=True)
class Tally:
    """Sums over calls; adding one costs a few additions.

    Attributes:
        calls: Calls that the downstream has worked on to the end.
        duration_ms: How long these took, together.
        squares: The sum of the squares of these durations, in ms squared.
        overloads: Calls that failed because the downstream had too much to do.
        most_in_flight: The most calls at the same time.
    """

    calls: int = 0
    duration_ms: int = 0
    squares: int = 0
    overloads: int = 0
    most_in_flight: int = 0

    def began(self, in_flight: int) -> None:
        """Note that a call was let pass; ``in_flight`` counts it."""
        if in_flight > self.most_in_flight:
            self.most_in_flight = in_flight

    def ended(self, duration_ms: int, *, overload: bool = False) -> None:
        """Count a call that has ended; one that says nothing about the load is left out.

        Args:
            duration_ms: How long it took; a negative one, by a clock set back, counts as 0.
            overload: It failed because the downstream had too much to do. How long that took says
                nothing about how long the work does.
        """
        if overload:
            self.overloads += 1
            return
        duration_ms = max(0, duration_ms)
        self.calls += 1
        self.duration_ms += duration_ms
        self.squares += duration_ms * duration_ms

    def add(self, summary: CallSummary, *, timed: bool = True) -> None:
        """Add the calls of a gate; the most in flight is not a sum and is left to the caller.

        Args:
            summary: Of the gate.
            timed: Also those that succeeded; else only those that failed by overload.
        """
        self.overloads += summary.overloads
        if timed:
            self.calls += summary.calls
            self.duration_ms += summary.duration_ms
            self.squares += summary.squares

    def summary(self, gate: str, seq: int, epoch: int) -> CallSummary:
        """Return what there is as a message; begin a new tally after it has been sent."""
        return CallSummary(
            gate=gate,
            seq=seq,
            epoch=epoch,
            calls=min(self.calls, _MOST_COUNT),
            duration_ms=min(self.duration_ms, _MOST_MS),
            squares=min(self.squares, _MOST_SQUARES),
            overloads=min(self.overloads, _MOST_COUNT),
            most_in_flight=min(self.most_in_flight, _MOST_COUNT),
        )

    @property
    def mean_us(self) -> int:
        """The mean duration in microseconds; there must be a call."""
        return self.duration_ms * 1_000 // self.calls

    @property
    def error_squared_us(self) -> int:
        """The square of the standard error of the mean, in microseconds squared.

        With one call nothing is known about how calls differ: 0.
        """
        if self.calls < 2:
            return 0
        spread = max(0, self.squares * self.calls - self.duration_ms * self.duration_ms)
        return spread * 1_000_000 // (self.calls * self.calls * (self.calls - 1))
