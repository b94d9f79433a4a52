"""The policy of a breaker: when it trips, how long it stays open, how it comes back."""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from headgate.model.contract import Contract

Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class TimeWindow(Contract):
    """The outcomes of the last ``seconds`` are what the breaker judges by."""

    kind: Literal["time"] = "time"
    seconds: Annotated[int, Field(ge=1, le=3600)] = 60


class CountWindow(Contract):
    """The last ``size`` outcomes are what the breaker judges by, however old they are."""

    kind: Literal["count"]
    size: Annotated[int, Field(ge=1, le=10_000)] = 100


def _kind(window: object) -> object:
    found = window.get("kind", "time") if isinstance(window, dict) else None
    return found if found is not None else getattr(window, "kind", "time")


Window = Annotated[
    Annotated[TimeWindow, Tag("time")] | Annotated[CountWindow, Tag("count")],
    Discriminator(_kind),
]
"""A window of time unless ``kind`` says otherwise."""


class Rates(Contract):
    """By which rates calls are judged, and over what.

    Attributes:
        window: The outcomes that are judged.
        min_calls: Below this many successes and failures in the window, no rate is judged. A window
            of fewer calls is judged when it is full.
        failure_rate: Opens when failures / (successes + failures) is at or above this; null: never.
        slow_call_rate: Opens when slow calls / (successes + failures) is at or above this.
    """

    window: Window = TimeWindow()
    min_calls: Positive = 20
    failure_rate: Share | None = 0.5
    slow_call_rate: Share = 1.0


class BreakerPolicy(Rates):
    """When a breaker opens and how it closes again.

    Attributes:
        window: See ``Rates``.
        min_calls: Likewise.
        failure_rate: Likewise.
        slow_call_rate: Likewise.
        consecutive_failures: Opens after this many failures in a row, however old; null: never.
        slow_call_ms: A call that takes so long or longer is slow; null: none is.
        quorum: So many gates must have seen a failing or slow call in the window, so that one bad
            node does not open the breaker for all.
        open_ms: How long it stays OPEN the first time, before it lets probes pass.
        open_factor: By how much longer with each time that it opens again. Each time that it has
            stayed CLOSED for as long as it was OPEN before takes one such step back.
        open_max_ms: The longest time (at least ``open_ms``); also for what a downstream asks for by
            ``Retry-After``.
        open_jitter: The time is varied at random by up to this share, up and down, so that breakers
            which opened together do not probe together.
        probes: How many calls HALF_OPEN lets pass in the whole fleet, to judge by.
        probe_deadline_ms: A probe without an outcome by then counts as failed.
        half_open_max_ms: HALF_OPEN is left by then, whatever has come back.
        close_at: The share of the probes that must succeed for the breaker to let calls pass.
        ramp_ms: After the probes, the share of calls that pass rises to all over this time; 0: all
            pass at once.
        ramp_start: The share with which it begins.
    """

    consecutive_failures: Positive | None = None
    slow_call_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    quorum: Annotated[int, Field(ge=1, le=1_000)] = 1
    open_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 30_000
    open_factor: Annotated[float, Field(ge=1.0, le=100.0)] = 2.0
    open_max_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 600_000
    open_jitter: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    probes: Annotated[int, Field(ge=1, le=1_000)] = 3
    probe_deadline_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 30_000
    half_open_max_ms: Annotated[int, Field(ge=10, le=86_400_000)] = 120_000
    close_at: Share = 1.0
    ramp_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 30_000
    ramp_start: Share = 0.1

    @model_validator(mode="after")
    def _deadlines_fit(self) -> Self:
        if self.probe_deadline_ms > self.half_open_max_ms:
            raise ValueError(
                f"probe_deadline_ms ({self.probe_deadline_ms}) is longer than half_open_max_ms "
                f"({self.half_open_max_ms}): lower the first or raise the second"
            )
        return self

    @property
    def rates(self) -> Rates | None:
        """Return the rates alone, or None when no call counts against any."""
        if self.failure_rate is None and self.slow_call_ms is None:
            return None
        return Rates(
            window=self.window,
            min_calls=self.min_calls,
            failure_rate=self.failure_rate,
            slow_call_rate=self.slow_call_rate,
        )

    @property
    def longest_open_ms(self) -> int:
        """Return how long it stays OPEN at most."""
        return max(self.open_ms, self.open_max_ms)
