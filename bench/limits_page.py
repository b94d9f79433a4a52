"""The page of limits in pictures: drawn here, one file that loads nothing from anywhere."""

from collections.abc import Sequence
from html import escape
from typing import Final

from bench.limit_scenes import CROWD, LENGTHS, Played, Scene
from headgate.cli.page import WIDTH, document, key, svg

_TOP: Final = CROWD * 5 // 4
"""What is beyond is cut off; the words below say how much it was at most."""

_LINES: Final = 150
_FAILED: Final = 40
_MEAN_OF: Final = 3
"""Call lengths that are one point of a line."""

_STYLE: Final = """
:root { --limit: #2463b4; --flight: #d07a12; --slots: #c9ced4; --bad: #c62f2f; }
@media (prefers-color-scheme: dark) { :root { --limit: #6ea8f5; --flight: #eba74a;
  --slots: #3b424b; --bad: #f0625f; } }
body { max-width: 1240px; } h2 { margin-top: 26px; }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 18px;
  margin-top: 8px; }
.lines { height: 150px; } .failing { height: 40px; } .box + figcaption { margin-top: 4px; }
.slots { fill: var(--slots); } .failed { fill: var(--bad); }
.limit, .flight { fill: none; stroke-linejoin: round; }
.limit { stroke: var(--limit); stroke-width: 5; opacity: .5; }
.flight { stroke: var(--flight); stroke-width: 1.3; }
figcaption { display: flex; justify-content: space-between; gap: 8px; flex-wrap: wrap; }
figcaption b { color: var(--ink); font-size: 14px; font-weight: 600; }
"""


def page(played: Sequence[tuple[Scene, Sequence[Played]]], seed: int, notes: Sequence[str]) -> str:
    """Return the page.

    Args:
        played: The scenes, and what became of each limiter in them.
        seed: By which they were played.
        notes: What the reader must know.
    """
    body = [
        "<h1>Limits that adapt</h1>",
        '<p class="dim">Simulated downstreams, called by someone who always has more to do: '
        f"with no limit, {CROWD} calls at once. Each picture is {LENGTHS} call lengths long; "
        f"seed {seed}.</p>",
        *(f"<p><b>Note:</b> {escape(note)}.</p>" for note in notes),
        _KEY,
        *(_scene(scene, results) for scene, results in played),
    ]
    return document("Limits that adapt", _STYLE, "".join(body))


_KEY: Final = (
    '<div class="key">'
    + key('<path class="slots" d="M0 3h18v11h-18z"/>', "calls that it can work on")
    + key('<path class="limit" d="M0 7h18"/>', "limit")
    + key('<path class="flight" d="M0 9l5 -4l5 5l8 -5"/>', "calls in flight")
    + key('<path class="failed" d="M0 4h18v10h-18z"/>', "share of the calls that fail")
    + "</div>"
)


def _scene(scene: Scene, results: Sequence[Played]) -> str:
    figures = "".join(_figure(scene, one) for one in results)
    return (
        f'<h2>{escape(scene.title)}</h2><p class="dim">{escape(scene.what)}</p>'
        f'<div class="three">{figures}</div>'
    )


def _figure(scene: Scene, one: Played) -> str:
    run = one.run
    flight = [spent / run.every_ms for spent in run.in_flight_ms]
    ends = [good + bad for good, bad in zip(run.good, run.overloads, strict=True)]
    share = [
        bad / end if end else 0.0
        for bad, end in zip(_means(run.overloads), _means(ends), strict=True)
    ]
    words = (
        f"{one.goodput:.0%} of what is possible, {one.failed:.1%} fail, good calls take "
        f"{one.slowness:.1f} times their work, at most {one.most} in flight"
    )
    lines = svg(
        "lines",
        _LINES,
        f"{one.limiter}: limit and calls in flight over time; {words}",
        _area("slots", scene.capacity(), _TOP, _LINES)
        + (_line("limit", _means(run.limits)) if one.is_limited else "")
        + _line("flight", _means(flight)),
    )
    failing = svg(
        "failing",
        _FAILED,
        f"{one.limiter}: share of calls that fail over time, {one.failed:.1%} in all",
        _area("failed", share, 1.0, _FAILED),
    )
    return (
        f"<figure><figcaption><b>{escape(one.limiter)}</b><span>0 to {_TOP} calls</span>"
        f'</figcaption><div class="box">{lines}</div>'
        "<figcaption><span>share that fails, 0 to 100 %</span></figcaption>"
        f'<div class="box">{failing}</div>'
        f"<figcaption><span>{words}</span></figcaption></figure>"
    )


# Drawings --------------------------------------------------------------------------------------


def _means(values: Sequence[float]) -> list[float]:
    return [
        sum(values[at : at + _MEAN_OF]) / _MEAN_OF
        for at in range(0, len(values) - _MEAN_OF + 1, _MEAN_OF)
    ]


def _line(kind: str, values: Sequence[float]) -> str:
    width = WIDTH / len(values)
    points = [
        f"{(n + 0.5) * width:.5g} {_LINES * (1 - min(value, _TOP) / _TOP):.4g}"
        for n, value in enumerate(values)
    ]
    return f'<path class="{kind}" vector-effect="non-scaling-stroke" d="M{"L".join(points)}"/>'


def _area(kind: str, values: Sequence[float], top: float, height: int) -> str:
    width = WIDTH / len(values)
    steps, last = [f"M0 {height}"], -1.0
    for n, value in enumerate(values):
        if value != last:
            steps.append(f"H{n * width:.5g}V{height * (1 - value / top):.4g}")
            last = value
    return f'<path class="{kind}" d="{"".join(steps)}H{WIDTH}V{height}z"/>'
