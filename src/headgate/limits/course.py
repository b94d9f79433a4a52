"""How long the calls of a downstream take over time: average, spread, and when it was idle."""

from dataclasses import dataclass
from typing import Final, Literal

from headgate.limits.tally import Tally

WARM_UP: Final = 2
"""So many intervals are not judged at first: the calls that end first are the shortest."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an interval says of the limit.

    Attributes:
        rule: ``room``: it may be raised; ``restored``: back to what it was; anything else: it has
            to be lowered.
        message: Why, with numbers.
        to: To how many calls; None: by one step.
    """

    rule: Literal["overload", "slower", "queueing", "restored", "room", "policy"]
    message: str
    to: int | None = None


@dataclass(slots=True)
class Trial:
    """A limit that was lowered to see whether calls take less time then.

    Attributes:
        before: The limit before.
        before_us: How long calls took in the mean, in microseconds.
    """

    before: int
    before_us: int


@dataclass(slots=True)
class Course:
    """The course of the mean durations, in microseconds.

    Attributes:
        past_us: The moving average; None: no call has ended yet.
        variance: The moving variance of the means, in microseconds squared.
        idle_us: The average when it was lowest, as far as it is known to be that of the work alone.
        intervals: How many have been taken in, as far as it matters.
        trial: What is being tried.
        rest: So many intervals nothing is to be tried.
    """

    past_us: int | None = None
    variance: int = 0
    idle_us: int = 0
    intervals: int = 0
    trial: Trial | None = None
    rest: int = 0

    def take(self, tally: Tally, smoothing: float) -> bool:
        """Take in the mean of an interval in which calls have ended.

        West's incremental form of the exponentially weighted mean and variance.

        Returns:
            Whether it may be judged: not yet while warming up.
        """
        mean = tally.mean_us
        if self.past_us is None or self.intervals < WARM_UP:
            self.intervals += 1
            self.past_us = self.idle_us = mean
            # One call says nothing of how they differ: suppose by half.
            self.variance = tally.error_squared_us if tally.calls > 1 else (mean // 2) ** 2
            return False
        weight = round(smoothing * 1_000)
        difference = mean - self.past_us
        self.past_us += weight * difference // 1_000
        self.variance = (
            (1_000 - weight) * (self.variance * 1_000 + weight * difference**2) // 1_000_000
        )
        self.idle_us = min(self.idle_us, self.past_us)
        return True


def milliseconds(microseconds: int) -> str:
    """Return a duration for people."""
    if microseconds < 10_000:
        return f"{microseconds / 1_000:.1f} ms"
    if microseconds < 10_000_000:
        return f"{microseconds // 1_000} ms"
    return f"{microseconds / 1_000_000:.1f} s"
