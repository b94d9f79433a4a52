"""Small drawings, as SVG with attributes only: a strict policy lets no style through."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from headgate.model.breaker import OUTCOME_SPAN_MS, BreakerState, OutcomeSpan, Transition

_BARS: Final = 60
_HEIGHT: Final = 24


def bar(
    parts: Sequence[tuple[str, float]], total: float, ticks: Sequence[float], label: str
) -> Markup:
    """Draw a bar of parts with ticks.

    Args:
        parts: Class and amount of each, from the left.
        total: What the whole width is.
        ticks: Amounts that are marked.
        label: What it says, for those who do not see it.
    """
    whole = max(total, sum(amount for _, amount in parts), *ticks, 1e-9)
    drawn, x = [], 0.0
    for name, amount in parts:
        width = 100 * amount / whole
        drawn.append(
            Markup('<rect class="{}" x="{:.2f}" y="2" width="{:.2f}" height="8"/>').format(
                name, x, width
            )
        )
        x += width
    for tick in ticks:
        at = min(99.4, 100 * tick / whole)
        drawn.append(
            Markup('<rect class="tick" x="{:.2f}" y="0" width="0.6" height="12"/>').format(at)
        )
    return Markup(
        '<svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" '
        'aria-label="{}"><rect class="rest" x="0" y="2" width="100" height="8"/>{}</svg>'
    ).format(label, Markup("").join(drawn))


def sparkline(spans: Sequence[OutcomeSpan], now_ms: int) -> Markup:
    """Draw how calls ended in the last ten minutes: good ones, failed ones, rejected ones."""
    first = now_ms // OUTCOME_SPAN_MS - _BARS + 1
    counts = [[0, 0, 0] for _ in range(_BARS)]
    for span in spans:
        if 0 <= (at := span.at_ms // OUTCOME_SPAN_MS - first) < _BARS:
            counts[at][0] += span.successes
            counts[at][1] += span.failures
            counts[at][2] += span.rejected
    most = max((sum(each) for each in counts), default=0) or 1
    paths: dict[str, list[str]] = {"good": [], "failed": [], "rejected": []}
    for x, each in enumerate(counts):
        y = float(_HEIGHT)
        for name, count in zip(paths, each, strict=True):
            if count:
                height = _HEIGHT * count / most
                y -= height
                # One path for each kind: thousands of rectangles would be most of the page.
                paths[name].append(f"M{4 * x} {y:.1f}h3v{height:.1f}h-3z")
    drawn = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(name, "".join(path))
        for name, path in paths.items()
        if path
    )
    totals = [sum(each[kind] for each in counts) for kind in range(3)]
    label = f"last 10 minutes: {totals[0]} succeeded, {totals[1]} failed, {totals[2]} rejected"
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>'
    ).format(4 * _BARS, _HEIGHT, label, drawn)


def strip(
    transitions: Sequence[Transition], state: BreakerState, begin_ms: int, now_ms: int
) -> Markup:
    """Draw the states of a breaker from ``begin_ms`` to now.

    Args:
        transitions: Since then, in the order of time, those that callers met.
        state: The state now; the one at the beginning when there are none.
        begin_ms: Unix time.
        now_ms: Unix time.
    """
    steps = [(begin_ms, transitions[0].source if transitions else state)]
    steps += [(step.at_ms, step.target) for step in transitions]
    drawn = []
    for number, (at_ms, shown) in enumerate(steps):
        end_ms = steps[number + 1][0] if number + 1 < len(steps) else now_ms
        span = max(1, now_ms - begin_ms)
        drawn.append(
            Markup('<rect class="{}" x="{:.3f}" y="0" width="{:.3f}" height="10"/>').format(
                f"s-{shown.lower()}",
                100 * (at_ms - begin_ms) / span,
                max(0.15, 100 * (end_ms - at_ms) / span),
            )
        )
    label = f"{len(transitions)} changes of state in the last 24 hours, now {state}"
    return Markup(
        '<svg class="strip" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>'
    ).format(label, Markup("").join(drawn))
