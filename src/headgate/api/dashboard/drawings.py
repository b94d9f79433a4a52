"""Small drawings, as SVG with attributes only: a strict policy lets no style through.

Written as plain text, in which only labels are anybody's words: ``Markup.format`` looks at every
number, and was most of a page of many.
"""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

from headgate.model.breaker import OUTCOME_SPAN_MS, BreakerState, OutcomeSpan, Transition
from headgate.orchestrator.times import utc

_BARS: Final = 60
_HEIGHT: Final = 24


def bar(
    parts: Sequence[tuple[str, float]],
    total: float,
    ticks: Sequence[float],
    label: str,
    borrowed: tuple[float, float] = (0.0, 0.0),
) -> Markup:
    """Draw a bar of parts with ticks.

    Args:
        parts: Class and amount of each, from the left.
        total: What the whole width is.
        ticks: Amounts that are marked.
        label: What it says, for those who do not see it.
        borrowed: From where on, and how much, is underlined as what is another's.
    """
    scale = 100 / max(total, sum([amount for _, amount in parts]), *ticks, 1e-9)
    drawn, x = [], 0.0
    for name, amount in parts:
        if amount:
            width = scale * amount
            drawn.append(f'<rect class="{name}" x="{x:.2f}" y="2" width="{width:.2f}" height="8"/>')
            x += width
    if borrowed[1]:
        x, width = scale * borrowed[0], scale * borrowed[1]
        drawn.append(f'<rect class="borrowed" x="{x:.2f}" y="10" width="{width:.2f}" height="2"/>')
    for tick in ticks:
        at = min(99.4, scale * tick)
        drawn.append(f'<rect class="tick" x="{at:.2f}" y="0" width="0.6" height="12"/>')
    rest = '<rect class="rest" x="0" y="2" width="100" height="8"/>'
    return _svg("bar", 100, 12, label, [rest, *drawn])


def sparkline(spans: Sequence[OutcomeSpan], now_ms: int) -> Markup:
    """Draw how calls ended in the last ten minutes: good ones, failed ones, rejected ones."""
    first = now_ms // OUTCOME_SPAN_MS - _BARS + 1
    counts: dict[int, list[int]] = {}
    for span in spans:
        if 0 <= (at := span.at_ms // OUTCOME_SPAN_MS - first) < _BARS:
            each = counts.setdefault(at, [0, 0, 0])
            each[0] += span.successes
            each[1] += span.failures
            each[2] += span.rejected
    most = max((sum(each) for each in counts.values()), default=0) or 1
    paths: dict[str, list[str]] = {"good": [], "failed": [], "rejected": []}
    for x, each in counts.items():
        y = float(_HEIGHT)
        for name, count in zip(paths, each, strict=True):
            if count:
                height = _HEIGHT * count / most
                y -= height
                # One path for each kind: thousands of rectangles would be most of the page.
                paths[name].append(f"M{4 * x} {y:.1f}h3v{height:.1f}h-3z")
    drawn = [f'<path class="{name}" d="{"".join(path)}"/>' for name, path in paths.items() if path]
    totals = [sum(each[kind] for each in counts.values()) for kind in range(3)]
    label = f"last 10 minutes: {totals[0]} succeeded, {totals[1]} failed, {totals[2]} rejected"
    return _svg("spark", 4 * _BARS, _HEIGHT, label, drawn)


def strip(
    transitions: Sequence[Transition],
    state: BreakerState,
    begin_ms: int,
    now_ms: int,
    meanwhile: str = "in the last 24 hours, now",
    known_ms: int = 0,
) -> Markup:
    """Draw the states of a breaker from ``begin_ms`` to now; gray where it was not there yet.

    Args:
        transitions: Since then, in the order of time, those that callers met.
        state: The state now; the one at the beginning when there are none.
        begin_ms: Unix time.
        now_ms: Unix time.
        meanwhile: When that was, for those who do not see it.
        known_ms: Since when there has been a breaker; Unix time.
    """
    from_ms = max(begin_ms, min(known_ms, now_ms, *(step.at_ms for step in transitions)))
    # What is short is drawn wider than it is, over what is not, and at the end not beyond it.
    steps = [(from_ms, transitions[0].source if transitions else state)]
    steps += [(step.at_ms, step.target) for step in transitions]
    parts = []
    span = max(1, now_ms - begin_ms)
    for number, (at_ms, shown) in enumerate(steps):
        end_ms = steps[number + 1][0] if number + 1 < len(steps) else now_ms
        width = max(0.15, 100 * (end_ms - at_ms) / span)
        x = min(100 * (at_ms - begin_ms) / span, 100 - width)
        parts.append((width, x, shown))
    drawn = [
        f'<rect class="s-{shown.lower()}" x="{x:.3f}" y="0" width="{width:.3f}" height="10"/>'
        for width, x, shown in sorted(parts, key=lambda part: -part[0])
    ]
    label = f"{len(transitions)} changes of state {meanwhile} {state}"
    if from_ms > begin_ms:
        share = 100 * (from_ms - begin_ms) / span
        drawn.insert(0, f'<rect class="rest" x="0" y="0" width="{share:.3f}" height="10"/>')
        label += f"; there since {utc(from_ms)}"
    return _svg("strip", 100, 10, label, drawn)


def _svg(name: str, width: int, height: int, label: str, drawn: Sequence[str]) -> Markup:
    return Markup(  # noqa: S704 - the label is escaped, the rest is written here
        f'<svg class="{name}" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'
    )
