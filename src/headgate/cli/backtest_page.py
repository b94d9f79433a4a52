"""The page of a backtest: one file, drawn here, that loads nothing from anywhere."""

from datetime import UTC, datetime
from html import escape
from typing import Final

import yaml

from headgate.model.breaker import BreakerState, CallOutcome, Transition
from headgate.model.policy import BreakerPolicy
from headgate.simulate import Backtest, BacktestOf, Call

_WIDTH: Final = 1000  # of a drawing; it is stretched to the width of the page
_BINS: Final = 200
_STRIP: Final = 28
_CHART: Final = 72
_LEAST: Final = 2.5  # so that a state of seconds is seen among days
_STEPS_SHOWN: Final = 200

# The height of a state in the strip says the same as its colour: how much is kept away.
_HEIGHTS: Final = {
    BreakerState.RAMP: 10,
    BreakerState.HALF_OPEN: 18,
    BreakerState.OPEN: _STRIP,
}

_STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1e21; --dim: #5d646c; --line: #d9dde1;
  --field: #f3f4f6; --open: #c62f2f; --half: #b97a00; --ramp: #2f7bd0; --closed: #9aa3ab;
  --failed: #c62f2f; --spared: #1f8a5b; --good: #7b3fbf; --link: #1f5fae; }
@media (prefers-color-scheme: dark) { :root { --page: #14161a; --ink: #e6e8eb; --dim: #9aa2ab;
  --line: #333941; --field: #1d2127; --open: #f0625f; --half: #e3a73a; --ramp: #64a8f2;
  --closed: #6c757e; --failed: #f0625f; --spared: #4cc08d; --good: #b98af0; --link: #7db4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 20px 16px 48px; background: var(--page);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 36px 0 4px; }
h3 { font-size: 15px; margin: 0; overflow-wrap: anywhere; } h3 a { color: inherit; }
p { margin: 4px 0; } .dim, figcaption, th { color: var(--dim); } a { color: var(--link); }
.sum { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 16px 0; padding: 0; }
.sum div { background: var(--field); border-radius: 6px; padding: 10px 12px; }
.sum dt { color: var(--dim); font-size: 13px; } .sum dd { margin: 0; font-size: 22px; }
.sum small { display: block; font-size: 13px; color: var(--dim); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { font-weight: 500; text-align: right; } td { text-align: right; white-space: nowrap; }
th, td { padding: 4px 8px; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .text { text-align: left; } td.text { white-space: normal; }
td:first-child { overflow-wrap: anywhere; white-space: normal; min-width: 80px; }
article { border-top: 1px solid var(--line); padding: 14px 0 12px; }
.figures { display: flex; flex-wrap: wrap; gap: 0 16px; font-size: 14px; margin: 2px 0 8px; }
.figures b { font-weight: 600; }
figure { margin: 0 0 8px; } figcaption { font-size: 12px; }
svg { display: block; width: 100%; } .strip { height: 28px; } .chart { height: 72px; }
.box { background: var(--field); position: relative; border-radius: 3px; overflow: hidden; }
.axis { display: flex; justify-content: space-between; font-size: 12px; color: var(--dim); }
.OPEN { fill: var(--open); } .HALF_OPEN { fill: var(--half); } .RAMP { fill: var(--ramp); }
.CLOSED { fill: var(--closed); } .failed { fill: var(--failed); } .good { fill: var(--good); }
.calls { fill: var(--closed); } .limit { stroke: var(--dim); stroke-dasharray: 4 4; fill: none; }
.hatch { stroke: var(--spared); } .spared { fill: url(#hatch); }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; margin: 8px 0 4px; }
.key span { display: inline-flex; align-items: center; gap: 6px; }
.key svg { width: 18px; height: 14px; background: var(--field); }
.quiet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
  gap: 0 24px; } .quiet .strip { height: 14px; } .quiet .chart { height: 40px; }
@media (max-width: 520px) { th, td { padding: 4px; font-size: 12.5px; } }
details { font-size: 14px; } summary { cursor: pointer; color: var(--link); }
pre { background: var(--field); padding: 10px 12px; border-radius: 6px; overflow-x: auto;
  font-size: 13px; margin: 6px 0; }
"""


def page(
    result: Backtest, calls: list[Call], policy: BreakerPolicy, source: str, notes: list[str]
) -> str:
    """Return the page.

    Args:
        result: What the policy would have done.
        calls: On which calls.
        policy: Which policy.
        source: Where the calls are from, in words.
        notes: What the reader must know of the result.
    """
    time = _Time(
        min((of.begin_ms for of in result.downstreams.values()), default=0),
        max((of.end_ms for of in result.downstreams.values()), default=0),
    )
    by_name: dict[str, list[Call]] = {name: [] for name in result.downstreams}
    for call in calls:
        by_name[call.downstream].append(call)
    order = sorted(
        result.downstreams.items(),
        key=lambda item: (-item[1].rejected, -len(item[1].transitions), -item[1].failures, item[0]),
    )
    moved = [(name, of) for name, of in order if of.transitions]
    quiet = [(name, of) for name, of in order if not of.transitions]
    parts = [
        f"<h1>Backtest of a breaker policy</h1>"
        f'<p class="dim">{escape(source)}, {time.words(time.begin_ms)} to '
        f"{time.words(time.end_ms)} UTC, {_count(len(order), 'downstream')}</p>",
        *(f"<p><b>Note:</b> {escape(note)}.</p>" for note in notes),
        _sums(result),
        f"<details><summary>The policy</summary><pre>{escape(_settings(policy))}</pre></details>",
    ]
    if moved:
        parts += [
            f"<h2>{_count(len(moved), 'downstream')} whose breaker moved</h2>",
            _table(moved),
            _KEY,
            *(_article(name, of, by_name[name], policy, time) for name, of in moved),
        ]
    if quiet:
        parts += [
            f"<h2>{_count(len(quiet), 'downstream')} whose breaker stayed CLOSED</h2>",
            "" if moved else _KEY,
            '<div class="quiet">',
            *(_article(name, of, by_name[name], policy, time) for name, of in quiet),
            "</div>",
        ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Backtest: {escape(source)}</title><style>{_STYLE}</style></head>"
        f"<body>{_HATCH}{''.join(parts)}</body></html>\n"
    )


_HATCH: Final = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="8" height="6" patternUnits="userSpaceOnUse">'
    '<path class="hatch" d="M0 2H8" stroke-width="3.5"/></pattern></defs></svg>'
)


def _key(shape: str, words: str) -> str:
    return f'<span><svg viewBox="0 0 18 14" aria-hidden="true">{shape}</svg>{words}</span>'


_KEY: Final = (
    '<div class="key">'
    + _key('<path class="OPEN" d="M0 0h18v14h-18z"/>', "OPEN (full height)")
    + _key('<path class="HALF_OPEN" d="M0 5h18v9h-18z"/>', "HALF_OPEN (two thirds)")
    + _key('<path class="RAMP" d="M0 9h18v5h-18z"/>', "RAMP (one third)")
    + _key('<path class="CLOSED" d="M0 12h18v2h-18z"/>', "CLOSED (line)")
    + '</div><div class="key">'
    + _key('<path class="failed" d="M0 0h18v14h-18z"/>', "failing calls that pass")
    + _key('<path class="spared" d="M0 0h18v14h-18z"/>', "failing calls spared (hatched)")
    + _key('<path class="good" d="M0 0h18v6h-18z"/>', "good calls rejected (from the top)")
    + _key('<path class="calls" d="M0 12h18v2h-18z"/>', "there were calls")
    + _key(
        '<path class="limit" stroke-width="1.5" d="M0 7h18"/>', "failure_rate: it opens at or above"
    )
    + "</div>"
)


# Words and figures -----------------------------------------------------------------------------


class _Time:
    """The time that all drawings share."""

    def __init__(self, begin_ms: int, end_ms: int) -> None:
        self.begin_ms = begin_ms
        self.end_ms = max(end_ms, begin_ms + 1)

    def x(self, at_ms: int) -> float:
        """Return where a time is in a drawing."""
        return (at_ms - self.begin_ms) * _WIDTH / (self.end_ms - self.begin_ms)

    def bin(self, at_ms: int) -> int:
        """Return in which of the bins it falls."""
        return min(_BINS - 1, (at_ms - self.begin_ms) * _BINS // (self.end_ms - self.begin_ms))

    def words(self, at_ms: int) -> str:
        """Return a time as people write it, in UTC."""
        return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"

    def axis(self) -> str:
        """Return the marks below a drawing."""
        span_ms = self.end_ms - self.begin_ms
        form = "%d %b %H:%M" if span_ms > 86_400_000 else "%H:%M:%S"
        marks = [self.begin_ms + span_ms * n // 4 for n in (0, 2, 4)]
        texts = (f"{datetime.fromtimestamp(mark / 1000, UTC):{form}}" for mark in marks)
        return '<div class="axis">' + "".join(f"<span>{text}</span>" for text in texts) + "</div>"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    if not whole:
        return "none"
    share = part / whole
    return f"{share:.2%}" if 0 < share < 0.001 else f"{share:.1%}"


def _settings(policy: BreakerPolicy) -> str:
    lines = []
    for name, value in policy.model_dump(mode="json").items():
        text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
        mark = "" if value == _DEFAULTS[name] else "   # not the default"
        lines.append(f"{name}: {text}{mark}")
    return "\n".join(lines)


_DEFAULTS: Final = BreakerPolicy().model_dump(mode="json")


def _sums(result: Backtest) -> str:
    calls, failures = result.total("calls"), result.total("failures")
    spared, rejected = result.total("failures_avoided"), result.total("rejected")
    good, hurt = calls - failures, result.total("successes_rejected")
    figures = (
        ("Calls", f"{calls:,}", f"{_share(failures, calls)} of them fail"),
        ("Rejected", f"{rejected:,}", _share(rejected, calls)),
        ("Failing calls spared", f"{spared:,}", f"of {failures:,}, {_share(spared, failures)}"),
        ("Good calls rejected", f"{hurt:,}", f"of {good:,}, {_share(hurt, good)}"),
    )
    return (
        '<dl class="sum">'
        + "".join(
            f"<div><dt>{name}</dt><dd>{figure} <small>{more}</small></dd></div>"
            for name, figure, more in figures
        )
        + "</dl>"
    )


def _table(rows: list[tuple[str, BacktestOf]]) -> str:
    titles = ("Calls", "Failing", "Spared", "Good rejected", "Transitions", "At the end")
    body = "".join(
        f'<tr><td><a href="#{_anchor(name)}">{escape(name)}</a></td>'
        + "".join(
            f"<td>{figure:,}</td>"
            for figure in (
                *(of.calls, of.failures, of.failures_avoided),
                *(of.successes_rejected, len(of.transitions)),
            )
        )
        + f"<td>{of.state.value}</td></tr>"
        for name, of in rows
    )
    head = "<th>Downstream</th>" + "".join(f"<th>{title}</th>" for title in titles)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _anchor(name: str) -> str:
    return escape(f"of-{name}", quote=True)


def _article(
    name: str, of: BacktestOf, calls: list[Call], policy: BreakerPolicy, time: _Time
) -> str:
    figures = [
        f"<b>{of.calls:,}</b> calls",
        f"<b>{of.failures:,}</b> fail ({_share(of.failures, of.calls)})"
        if of.failures
        else "none fails",
    ]
    steps = ""
    if of.transitions:
        figures += [
            f"<b>{of.failures_avoided:,}</b> spared",
            f"<b>{of.successes_rejected:,}</b> good rejected",
            f"<b>{len(of.transitions):,}</b> transitions",
            f"<b>{of.state.value}</b> at the end",
        ]
        strip = (
            f"<figure><figcaption>state; {_open_words(of)}</figcaption>"
            f'<div class="box">{_strip(of, time)}</div></figure>'
        )
        steps = _steps(of.transitions, time)
    else:
        strip = f'<figure><div class="box">{_strip(of, time)}</div></figure>'
    return (
        f'<article id="{_anchor(name)}"><h3>{escape(name)}</h3>'
        f'<div class="figures">{"".join(f"<span>{figure}</span>" for figure in figures)}</div>'
        f"{strip}<figure><figcaption>failure rate, 0 to 100 %</figcaption>"
        f'<div class="box">{_chart(of, calls, policy, time)}</div>{time.axis()}</figure>'
        f"{steps}</article>"
    )


def _open_words(of: BacktestOf) -> str:
    closed_ms = sum(end - begin for state, begin, end, _ in _stays(of) if state is _CLOSED)
    away = 1 - closed_ms / max(1, of.end_ms - of.begin_ms)
    opened = sum(1 for step in of.transitions if step.target is BreakerState.OPEN)
    return f"opened {_count(opened, 'time')}, {away:.1%} of the time not CLOSED"


def _steps(transitions: list[Transition], time: _Time) -> str:
    rows = "".join(
        f"<tr><td>{time.words(step.at_ms)}</td>"
        f'<td class="text">{step.source.value} → {step.target.value}</td>'
        f'<td class="text">{escape(step.reason)}</td></tr>'
        for step in transitions[:_STEPS_SHOWN]
    )
    left = len(transitions) - _STEPS_SHOWN
    more = f"<p>and {left:,} more, see --json</p>" if left > 0 else ""
    return (
        f"<details><summary>{_count(len(transitions), 'transition')} with their causes</summary>"
        f'<div class="wide"><table><tr><th>UTC</th><th class="text">Transition</th>'
        f'<th class="text">Cause</th></tr>{rows}</table></div>{more}</details>'
    )


# Drawings --------------------------------------------------------------------------------------

_CLOSED: Final = BreakerState.CLOSED


def _stays(of: BacktestOf) -> list[tuple[BreakerState, int, int, str]]:
    """Return each stay in a state: from when to when, and why."""
    stays = []
    state, begin_ms, reason = _CLOSED, of.begin_ms, ""
    for step in of.transitions:
        stays.append((state, begin_ms, step.at_ms, reason))
        state, begin_ms, reason = step.target, step.at_ms, step.reason
    stays.append((state, begin_ms, of.end_ms, reason))
    return stays


def _svg(kind: str, height: int, label: str, inner: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label, quote=True)}">{inner}</svg>'
    )


def _block(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.5g} {y:.4g}h{width:.4g}v{height:.4g}h{-width:.4g}z"


def _strip(of: BacktestOf, time: _Time) -> str:
    paths: dict[BreakerState, list[str]] = {_CLOSED: [], **{state: [] for state in _HEIGHTS}}
    for state, begin_ms, end_ms, _ in _stays(of):
        x, end = time.x(begin_ms), time.x(end_ms)
        height = _HEIGHTS.get(state, 3)
        width = max(_LEAST, end - x)
        paths[state].append(_block(min(x, _WIDTH - width), _STRIP - height, width, height))
    inner = "".join(
        f'<path class="{state.value}" d="{"".join(blocks)}"/>'
        for state, blocks in paths.items()
        if blocks
    )
    return _svg("strip", _STRIP, "state over time; the transitions are listed below", inner)


def _chart(of: BacktestOf, calls: list[Call], policy: BreakerPolicy, time: _Time) -> str:
    judged, failed, spared, good = ([0] * _BINS for _ in range(4))
    for call in calls:
        if call.outcome is not CallOutcome.IGNORED:
            n = time.bin(call.at_ms)
            judged[n] += 1
            failed[n] += call.outcome is CallOutcome.FAILURE
    for call in of.rejections:
        n = time.bin(call.at_ms)
        spared[n] += call.outcome is CallOutcome.FAILURE
        good[n] += call.outcome is CallOutcome.SUCCESS
    width = _WIDTH / _BINS
    paths: dict[str, list[str]] = {"calls": [], "failed": [], "spared": [], "good": []}
    for n in range(_BINS):
        if not judged[n]:
            continue
        x, unit = n * width, _CHART / judged[n]
        paths["calls"].append(_block(x, _CHART - 2, width, 2))
        passed = (failed[n] - spared[n]) * unit
        if passed:
            paths["failed"].append(_block(x, _CHART - passed, width, passed))
        if spared[n]:
            height = spared[n] * unit
            paths["spared"].append(_block(x, _CHART - passed - height, width, height))
        if good[n]:
            paths["good"].append(_block(x, 0, width, good[n] * unit))
    inner = "".join(
        f'<path class="{kind}" d="{"".join(blocks)}"/>' for kind, blocks in paths.items() if blocks
    )
    if policy.failure_rate is not None:
        y = _CHART * (1 - policy.failure_rate)
        inner += f'<path class="limit" vector-effect="non-scaling-stroke" d="M0 {y:.4g}H{_WIDTH}"/>'
    worst = max((failed[n] / judged[n] for n in range(_BINS) if judged[n]), default=0.0)
    return _svg("chart", _CHART, f"failure rate over time, at most {worst:.0%}", inner)
