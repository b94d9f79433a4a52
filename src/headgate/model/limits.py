"""Limits that adapt to a downstream: their policies, and what is said about them."""

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from headgate.model.contract import Contract, Count, Message, Millis, Name

Limit = Annotated[int, Field(ge=1, le=1_000_000)]
"""Calls in flight at the same time."""

PerSecond = Annotated[float, Field(gt=0.0, le=1_000_000.0, allow_inf_nan=False)]
"""Calls a second."""

_MOST_EXACT: Final = (1 << 53) - 1
"""The largest integer that every JSON reader keeps exact."""


class ConcurrencyPolicy(Contract):
    """How many calls may be in flight, found out by how the downstream takes them.

    Attributes:
        algorithm: ``arc`` heeds durations and overload; ``aimd`` overload only, see docs/limits.md.
        min: Calls in flight that are always allowed.
        max: Calls in flight that are never exceeded.
        initial: With how many it begins.
        decrease: What is left of the limit each time that it is lowered, as a share.
        step_doubles_after: After so many raises in a row the step, at first one call, doubles;
            null: it is always one. No step is more than a quarter of the limit.
        timeout_ms: A call that takes so long or longer counts as overload, however it ends; null:
            only what the downstream says and real timeouts do.
        tolerate: The share of calls that may fail by overload without lowering the limit.
        smoothing: The weight of the latest mean duration in the average that it is compared with.
        deviations: A mean duration is too long when it lies so many standard deviations above the
            average; for ``arc``.
        slowdown: The limit is not raised while calls take so many times as long as they do on the
            idle downstream, and is lowered as long as that makes them shorter; null: it does not
            matter; for ``arc``.
    """

    algorithm: Literal["arc", "aimd"] = "arc"
    min: Limit = 1
    max: Limit = 200
    initial: Limit = 10
    decrease: Annotated[float, Field(ge=0.1, le=0.99, allow_inf_nan=False)] = 0.9
    step_doubles_after: Annotated[int, Field(ge=1, le=1_000)] | None = 4
    timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] | None = None
    tolerate: Annotated[float, Field(ge=0.0, le=0.5, allow_inf_nan=False)] = 0.0
    smoothing: Annotated[float, Field(ge=0.01, le=1.0, allow_inf_nan=False)] = 0.4
    deviations: Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)] = 2.5
    slowdown: Annotated[float, Field(ge=1.05, le=100.0, allow_inf_nan=False)] | None = 1.5

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(
                f"min ({self.min}) is above max ({self.max}): lower the first or raise the second"
            )
        if not self.min <= self.initial <= self.max:
            raise ValueError(
                f"initial ({self.initial}) is not between min ({self.min}) and max ({self.max}): "
                "set it to one of them or between"
            )
        return self


class RatePolicy(Contract):
    """How many calls a second may begin, once the downstream has said that it is too many.

    Attributes:
        min_per_s: The rate is never lowered below this, in calls a second.
        max_per_s: It is never raised above this; null: no bound but twice the measured rate.
        decrease: What is left of the rate at each throttle, as a share.
        scaling: How fast it comes back, in calls a second per second cubed (CUBIC's C).
        burst_ms: After a pause, the calls of so much time may begin at once, at least one.
    """

    min_per_s: PerSecond = 0.5
    max_per_s: PerSecond | None = None
    decrease: Annotated[float, Field(ge=0.1, le=0.99, allow_inf_nan=False)] = 0.7
    scaling: Annotated[float, Field(ge=0.001, le=1_000.0, allow_inf_nan=False)] = 0.4
    burst_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 1_000

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_per_s is not None and self.min_per_s > self.max_per_s:
            raise ValueError(
                f"min_per_s ({self.min_per_s:g}) is above max_per_s ({self.max_per_s:g}): lower "
                "the first or raise the second"
            )
        return self


class PressureLevel(StrEnum):
    """How full a downstream and its queue are, calmest first."""

    NORMAL = "normal"
    ELEVATED = "elevated"
    SATURATED = "saturated"
    EMERGENCY = "emergency"

    @property
    def rank(self) -> int:
        """Return 0 for normal to 3 for emergency."""
        return _RANKS[self]


_RANKS: Final = {level: rank for rank, level in enumerate(PressureLevel)}


class Steps(Contract):
    """From where on a measure stands for which level; null: it never does.

    Attributes:
        elevated: In the unit of the measure, as are those that follow.
        saturated: Above ``elevated``.
        emergency: Above ``saturated``.
    """

    elevated: Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)] | None = None
    saturated: Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)] | None = None
    emergency: Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _rises(self) -> Self:
        named = [(n, v) for n in ("elevated", "saturated", "emergency") if (v := getattr(self, n))]
        for (low_name, low), (high_name, high) in pairwise(named):
            if low >= high:
                raise ValueError(
                    f"{low_name} ({low:g}) is not below {high_name} ({high:g}): write rising "
                    "numbers, or null for a level that this measure never stands for"
                )
        return self


class BackpressurePolicy(Contract):
    """When producers are told to slow down.

    Attributes:
        queue_age_ms: By how long the oldest waiting job has waited.
        waiting: By how many jobs wait.
        in_flight: By what is in flight as a share of the limit. A pool that is full is well used,
            so it takes more than that: a limit that was lowered below what is in flight.
        slots: By worker slots in use as a share of all.
        fall_ratio: A level ends only when every measure is below this share of what begins it...
        hold_ms: ...for so long.
        retry_after_ms: What producers are told to wait when elevated; twice and four times that
            when saturated and in emergency.
    """

    queue_age_ms: Steps = Steps(elevated=30_000, saturated=120_000, emergency=600_000)
    waiting: Steps = Steps(elevated=200, saturated=1_000, emergency=5_000)
    in_flight: Steps = Steps(elevated=1.3, saturated=1.6, emergency=3.0)
    slots: Steps = Steps(elevated=0.9, saturated=1.0)
    fall_ratio: Annotated[float, Field(ge=0.1, lt=1.0, allow_inf_nan=False)] = 0.8
    hold_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 10_000
    retry_after_ms: Annotated[int, Field(ge=1, le=3_600_000)] = 5_000


class SheddingPolicy(Contract):
    """How much work may wait before some of it is refused.

    Attributes:
        elevated: While elevated, work of so many times the limit may wait, in units...
        saturated: ...while saturated...
        emergency: ...and in emergency. Rising pressure leaves no more than the level before.
        min_flow: This share of what may wait is for the lower priorities in turn, the lowest
            first, and at least one job of the lowest; 0: they may starve.
        usage_half_life_ms: What a tenant used counts half after this time.
    """

    elevated: Annotated[float, Field(ge=0.0, le=10_000.0, allow_inf_nan=False)] = 10.0
    saturated: Annotated[float, Field(ge=0.0, le=10_000.0, allow_inf_nan=False)] = 3.0
    emergency: Annotated[float, Field(ge=0.0, le=10_000.0, allow_inf_nan=False)] = 1.0
    min_flow: Annotated[float, Field(ge=0.0, le=0.5, allow_inf_nan=False)] = 0.1
    usage_half_life_ms: Annotated[int, Field(ge=1_000, le=30 * 86_400_000)] = 300_000

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if not self.elevated >= self.saturated >= self.emergency:
            raise ValueError(
                f"elevated ({self.elevated:g}), saturated ({self.saturated:g}) and emergency "
                f"({self.emergency:g}) must not rise: under more pressure no more work may wait"
            )
        return self


class LimitPolicy(Contract):
    """What limits the calls to a downstream; what is null does not.

    Attributes:
        max_in_flight: Calls in flight at most, whatever the downstream bears.
        concurrency: The same, adapting to the downstream.
        rate: Calls a second, adapting to the downstream.
    """

    max_in_flight: Limit | None = None
    concurrency: ConcurrencyPolicy | None = None
    rate: RatePolicy | None = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if (
            self.max_in_flight is not None
            and self.concurrency is not None
            and self.concurrency.min > self.max_in_flight
        ):
            raise ValueError(
                f"concurrency.min ({self.concurrency.min}) is above max_in_flight "
                f"({self.max_in_flight}): lower the first or raise the second"
            )
        return self


class CapacityNews(Message):
    """The breaker of a downstream to the governor of a pool that follows it.

    Signal ``capacity_follows``, whenever the fleet's limit changes.

    Attributes:
        downstream: Whose breaker.
        limit: Calls of the whole fleet that may be in flight; null: no limit is known, or there is
            none any more.
        revision: Of the breaker: the later of two messages has the higher one.
    """

    downstream: Name
    limit: Count | None
    revision: Annotated[int, Field(ge=0)]


class SlotUse(Message):
    """Activities that workers run at a time, and run now.

    Attributes:
        used: In use now.
        of: All that there are.
    """

    used: Annotated[int, Field(ge=0, le=1_000_000_000)]
    of: Annotated[int, Field(ge=1, le=1_000_000_000)]


class PressureView(Message):
    """How full a pool is, for those who produce work for it.

    Attributes:
        level: From normal to emergency.
        since_ms: When the level began; 0: it has always been so.
        cause: The measures that the level stands on, with numbers.
        retry_after_ms: After what time to offer more work; 0: at once.
    """

    level: PressureLevel = PressureLevel.NORMAL
    since_ms: Millis = 0
    cause: str = ""
    retry_after_ms: Millis = 0


class CallSummary(Message):
    """What one gate has seen of a downstream since its last summary, for the fleet's limit.

    Attributes:
        gate: The gate's id.
        seq: Rises with every summary of this gate, from 1.
        epoch: Of the limit under which the calls were let pass.
        calls: Calls that the downstream has worked on to the end.
        duration_ms: How long these took, together.
        squares: The sum of the squares of these durations, in ms squared.
        overloads: Calls that failed because it had too much to do: 429, 503, timeouts.
        most_in_flight: The most calls of this gate at the same time.
    """

    gate: Annotated[str, Field(min_length=1, max_length=200)]
    seq: Annotated[int, Field(ge=1)]
    epoch: Annotated[int, Field(ge=0)]
    calls: Count = 0
    duration_ms: Millis = 0
    squares: Annotated[int, Field(ge=0, le=_MOST_EXACT)] = 0
    overloads: Count = 0
    most_in_flight: Count = 0


class LimitChange(Message):
    """Why a limit is not what it was, for the dashboard.

    Attributes:
        at_ms: When, Unix time.
        before: Calls in flight.
        after: Calls in flight.
        rule: ``overload``, ``slower``, ``queueing``, ``restored``, ``room`` or ``policy``.
        message: In a sentence, with numbers.
    """

    at_ms: Millis
    before: Count
    after: Count
    rule: Literal["overload", "slower", "queueing", "restored", "room", "policy"]
    message: str
