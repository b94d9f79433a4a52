"""How long the calls of a downstream take over time: average, spread, and when it was idle."""

from dataclasses import dataclass
from typing import Final, Literal

from headgate.limits.tally import Tally

_FORGET: Final = 100
"""The idle duration moves by this part of the difference in each interval."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an interval says of the limit.

    Attributes:
        rule: ``room``: it may be raised; anything else: it has to be lowered.
        message: Why, with numbers.
    """

    rule: Literal["overload", "slower", "queueing", "room", "policy"]
    message: str


@dataclass(slots=True)
class Course:
    """The course of the mean durations, in microseconds.

    Attributes:
        past_us: The moving average; None: no call has ended yet.
        variance: The moving variance of the means, in microseconds squared.
        idle_us: The average when it was lowest, slowly forgotten.
        lowered_at_us: The mean duration at which the limit was lowered because of queueing, until
            it is known whether that has helped.
    """

    past_us: int | None = None
    variance: int = 0
    idle_us: int = 0
    lowered_at_us: int | None = None

    def take(self, tally: Tally, smoothing: float) -> None:
        """Take in the mean of an interval in which calls have ended.

        West's incremental form of the exponentially weighted mean and variance.
        """
        mean = tally.mean_us
        if self.past_us is None:
            self.past_us = self.idle_us = mean
            # One call says nothing of how they differ: suppose by half.
            self.variance = tally.error_squared_us if tally.calls > 1 else (mean // 2) ** 2
            return
        weight = round(smoothing * 1_000)
        difference = mean - self.past_us
        self.past_us += weight * difference // 1_000
        self.variance = (
            (1_000 - weight) * (self.variance * 1_000 + weight * difference**2) // 1_000_000
        )
        if self.past_us <= self.idle_us:
            self.idle_us = self.past_us
        else:
            self.idle_us += (self.past_us - self.idle_us) // _FORGET


def milliseconds(microseconds: int) -> str:
    """Return a duration for people."""
    if microseconds < 10_000:
        return f"{microseconds / 1_000:.1f} ms"
    if microseconds < 10_000_000:
        return f"{microseconds // 1_000} ms"
    return f"{microseconds / 1_000_000:.1f} s"
