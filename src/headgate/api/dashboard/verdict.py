"""The one line at the top: whether work is flowing, and what keeps it from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from headgate.model.breaker import BreakerState, BreakerView
from headgate.model.limits import PressureLevel
from headgate.model.pool import PoolView
from headgate.view.margin import Margin, margin

_LATE_MS: Final = 30_000
"""A state that should have ended so long ago has not been looked after."""

_NEAR: Final = 3
_BLOCKS: Final = (BreakerState.OPEN, BreakerState.FORCED_OPEN, BreakerState.HALF_OPEN)


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that somebody should look at."""

    level: Literal["bad", "warn", "info"]
    kind: Literal["downstream", "pool"]
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether work is flowing.

    Attributes:
        level: ``flowing``, ``slowed``, ``blocked``; ``stale``: it cannot be said.
        text: In a sentence.
        attention: What needs it, first things first.
    """

    level: Literal["flowing", "slowed", "blocked", "stale"]
    text: str
    attention: list[Attention] = field(default_factory=list)


def judge(
    breakers: Sequence[BreakerView], pools: Sequence[PoolView], waiting: int, now_ms: int
) -> Verdict:
    """Return the verdict, a function of what is saved and the time.

    Args:
        breakers: All of them.
        pools: All of them.
        waiting: Jobs in line, of all tenants.
        now_ms: Unix time.
    """
    late = [
        view
        for view in breakers
        if view.state is not BreakerState.CLOSED
        and view.until_ms is not None
        and view.until_ms < now_ms - _LATE_MS
    ]
    attention = [found for view in breakers if (found := _of_breaker(view)) is not None]
    attention += [found for view in pools if (found := _of_pool(view)) is not None]
    attention.sort(key=lambda one: (("bad", "warn", "info").index(one.level), one.subject))
    lines = "1 job waits" if waiting == 1 else f"{waiting:,} jobs wait"
    if late:
        names = _names([view.downstream for view in late])
        return Verdict(
            "stale",
            f"Nobody looks after {names}: what should have ended has not. Does a governance worker "
            "run?",
            attention,
        )
    blocked = [view.downstream for view in breakers if view.state in _BLOCKS]
    if blocked:
        return Verdict(
            "blocked", f"No calls pass to {_names(blocked)}; the rest flows. {lines}.", attention
        )
    full = [view.pool for view in pools if view.pressure.level.rank >= 2]
    if full:
        return Verdict("slowed", f"{_names(full)} has too much to do. {lines}.", attention)
    return Verdict("flowing", f"Work is flowing. {lines}.", attention)


def _of_breaker(view: BreakerView) -> Attention | None:
    name = view.downstream
    if view.override is not None:
        by = f"{view.override.mode} by {view.override.actor}: {view.override.reason}"
        bad = view.state is BreakerState.FORCED_OPEN
        return Attention("bad" if bad else "warn", "downstream", name, by)
    if view.state in _BLOCKS:
        return Attention("bad", "downstream", name, f"{view.state}: {view.reason}")
    if view.throttle is not None:
        cut = f"cut to {view.throttle.share:.0%} by {view.throttle.actor}: {view.throttle.reason}"
        return Attention("warn", "downstream", name, cut)
    if view.state is BreakerState.RAMP:
        return Attention("warn", "downstream", name, f"coming back: {view.reason}")
    if is_near(far := margin(view), view):
        return Attention("warn", "downstream", name, f"{far.failures} failures from opening")
    return None


def is_near(far: Margin, view: BreakerView) -> bool:
    """Return whether a closed breaker is about to open: it has failures, and few are missing."""
    return far.failures is not None and far.failures <= _NEAR and view.failures_in_window > 0


def _of_pool(view: PoolView) -> Attention | None:
    pressure = view.pressure
    if view.override is not None:
        by = f"capacity set by {view.override.actor}: {view.override.reason}"
        return Attention("warn", "pool", view.pool, by)
    if pressure.level is PressureLevel.NORMAL:
        return None
    bad = pressure.level.rank >= 2
    return Attention(
        "bad" if bad else "warn", "pool", view.pool, f"{pressure.level}: {pressure.cause}"
    )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
