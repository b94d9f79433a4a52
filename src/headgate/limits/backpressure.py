"""How full a pool and its queue are, in four levels, for those who produce work.

A level rises at once. It falls when, for the hold time without a break, every measure was below a
share of what begins the level: so it never falls sooner than the hold time after it rose, and a
measure that wavers about a threshold changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final

from headgate.model.limits import BackpressurePolicy, PressureLevel, Steps

_LEVELS: Final = tuple(PressureLevel)


@dataclass(frozen=True, slots=True)
class Load:
    """What there is at one time.

    Attributes:
        queue_age_ms: How long the oldest waiting job has waited; 0: none waits.
        waiting: Jobs that wait.
        in_flight: Units held.
        limit: Units that may be; None: not limited.
        slots_used: Worker slots in use.
        slots: Worker slots; 0: not known.
    """

    queue_age_ms: int = 0
    waiting: int = 0
    in_flight: int = 0
    limit: int | None = None
    slots_used: int = 0
    slots: int = 0


@dataclass(slots=True)
class Pressure:
    """The level, and what it is by.

    Attributes:
        level: How full it is.
        since_ms: When the level began.
        cause: The measures that the level stands on, with numbers, for people.
        retry_after_ms: After what time producers should offer more work; 0: at once.
        calm_since_ms: By level above normal: since when every measure has been below the share
            that ends it.
    """

    level: PressureLevel = PressureLevel.NORMAL
    since_ms: int = 0
    cause: str = ""
    retry_after_ms: int = 0
    calm_since_ms: dict[PressureLevel, int] = field(default_factory=dict)


def assess(state: Pressure, policy: BackpressurePolicy, load: Load, now_ms: int) -> bool:
    """Bring the level up to date; to be called when the load changes and about once a second.

    Args:
        state: Is changed.
        policy: The thresholds.
        load: What there is now.
        now_ms: Unix time.

    Returns:
        Whether the level has changed.
    """
    measures = list(_measures(policy, load))
    reached = max((_level(steps, value, 1.0) for _, steps, value in measures), default=0)
    kept = max((_level(steps, value, policy.fall_ratio) for _, steps, value in measures), default=0)
    for level in _LEVELS[1:]:
        if level.rank <= kept:
            state.calm_since_ms.pop(level, None)
        else:
            state.calm_since_ms.setdefault(level, now_ms)
    held = next(
        (
            level.rank
            for level in reversed(_LEVELS[1 : state.level.rank + 1])
            if not _has_been_calm(state, level, policy, now_ms)
        ),
        0,
    )
    now_at = _LEVELS[max(reached, held)]
    changed = now_at is not state.level
    if changed:
        state.level, state.since_ms = now_at, now_ms
    state.cause = _cause(state, policy, measures, now_ms)
    rank = now_at.rank
    state.retry_after_ms = policy.retry_after_ms << (rank - 1) if rank else 0
    return changed


def next_fall(state: Pressure, policy: BackpressurePolicy) -> int | None:
    """Return when the level falls if the load stays as it is, or None when it does not."""
    since_ms = state.calm_since_ms.get(state.level)
    return None if since_ms is None else since_ms + policy.hold_ms


def _measures(policy: BackpressurePolicy, load: Load) -> Iterator[tuple[str, Steps, float]]:
    """Yield what each measure is, in words, its thresholds and its value."""
    age = load.queue_age_ms
    yield f"the oldest job has waited {age / 1_000:.1f} s", policy.queue_age_ms, age
    yield (
        "1 job waits" if load.waiting == 1 else f"{load.waiting} jobs wait",
        policy.waiting,
        load.waiting,
    )
    if load.limit is not None:
        units = "1 unit is" if load.in_flight == 1 else f"{load.in_flight} units are"
        what = f"{units} held, {load.limit} may be"
        # A limit of 0 with something held is beyond any share.
        yield (
            what,
            policy.in_flight,
            load.in_flight / load.limit if load.limit else (1e15 if load.in_flight else 0.0),
        )
    if load.slots > 0:
        what = f"{load.slots_used} of {load.slots} worker slots are in use"
        yield what, policy.slots, load.slots_used / load.slots


def _level(steps: Steps, value: float, ratio: float) -> int:
    """Return the rank of the highest level that ``value`` stands for, thresholds x ``ratio``."""
    thresholds = (steps.emergency, steps.saturated, steps.elevated)
    for rank, threshold in zip((3, 2, 1), thresholds, strict=True):
        if threshold is not None and value >= threshold * ratio:
            return rank
    return 0


def _has_been_calm(
    state: Pressure, level: PressureLevel, policy: BackpressurePolicy, now_ms: int
) -> bool:
    since_ms = state.calm_since_ms.get(level)
    return since_ms is not None and now_ms - since_ms >= policy.hold_ms


def _cause(
    state: Pressure,
    policy: BackpressurePolicy,
    measures: list[tuple[str, Steps, float]],
    now_ms: int,
) -> str:
    rank = state.level.rank
    if not rank:
        return ""
    by = [
        what for what, steps, value in measures if _level(steps, value, policy.fall_ratio) >= rank
    ]
    if by:
        return "; ".join(by)
    could = [what for what, steps, _ in measures if _level(steps, inf, 1.0) >= rank]
    calm_ms = now_ms - state.calm_since_ms.get(state.level, now_ms)
    return (
        f"{'; '.join(could)}: calmer for {calm_ms / 1_000:.1f} s, and the level falls after "
        f"{policy.hold_ms / 1_000:.1f} s"
    )
