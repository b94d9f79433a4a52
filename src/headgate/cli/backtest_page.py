"""The page of a backtest: one file, drawn here, that loads nothing from anywhere."""

from html import escape
from typing import Final

import yaml

from headgate.cli.page import WIDTH, Timeline, block, counted, document, key, svg
from headgate.model.breaker import BreakerState, CallOutcome, Transition
from headgate.model.policy import BreakerPolicy
from headgate.simulate import Backtest, BacktestOf, Call

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
:root { --open: #c62f2f; --half: #b97a00; --ramp: #2f7bd0; --closed: #9aa3ab; --failed: #c62f2f;
  --spared: #1f8a5b; --good: #7b3fbf; }
@media (prefers-color-scheme: dark) { :root { --open: #f0625f; --half: #e3a73a; --ramp: #64a8f2;
  --closed: #6c757e; --failed: #f0625f; --spared: #4cc08d; --good: #b98af0; } }
.sum { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 16px 0; padding: 0; }
.sum div { background: var(--field); border-radius: 6px; padding: 10px 12px; }
.sum dt { color: var(--dim); font-size: 13px; } .sum dd { margin: 0; font-size: 22px; }
.sum small { display: block; font-size: 13px; color: var(--dim); }
article { border-top: 1px solid var(--line); padding: 14px 0 12px; }
.figures { display: flex; flex-wrap: wrap; gap: 0 16px; font-size: 14px; margin: 2px 0 8px; }
.figures b { font-weight: 600; }
.strip { height: 28px; } .chart { height: 72px; }
.OPEN { fill: var(--open); } .HALF_OPEN { fill: var(--half); } .RAMP { fill: var(--ramp); }
.CLOSED { fill: var(--closed); } .failed { fill: var(--failed); } .good { fill: var(--good); }
.calls { fill: var(--closed); } .limit { stroke: var(--dim); stroke-dasharray: 4 4; fill: none; }
.hatch { stroke: var(--spared); } .spared { fill: url(#hatch); }
.quiet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
  gap: 0 24px; } .quiet .strip { height: 14px; } .quiet .chart { height: 40px; }
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
    time = Timeline(
        min((of.begin_ms for of in result.downstreams.values()), default=0),
        max((of.end_ms for of in result.downstreams.values()), default=0),
        _BINS,
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
        f"{time.words(time.end_ms)} UTC, {counted(len(order), 'downstream')}</p>",
        *(f"<p><b>Note:</b> {escape(note)}.</p>" for note in notes),
        _sums(result),
        f"<details><summary>The policy</summary><pre>{escape(_settings(policy))}</pre></details>",
    ]
    if moved:
        parts += [
            f"<h2>{counted(len(moved), 'downstream')} whose breaker moved</h2>",
            _table(moved),
            _KEY,
            *(_article(name, of, by_name[name], policy, time) for name, of in moved),
        ]
    if quiet:
        parts += [
            f"<h2>{counted(len(quiet), 'downstream')} whose breaker stayed CLOSED</h2>",
            "" if moved else _KEY,
            '<div class="quiet">',
            *(_article(name, of, by_name[name], policy, time) for name, of in quiet),
            "</div>",
        ]
    return document(f"Backtest: {source}", _STYLE, _HATCH + "".join(parts))


_HATCH: Final = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="8" height="6" patternUnits="userSpaceOnUse">'
    '<path class="hatch" d="M0 2H8" stroke-width="3.5"/></pattern></defs></svg>'
)


_KEY: Final = (
    '<div class="key">'
    + key('<path class="OPEN" d="M0 0h18v14h-18z"/>', "OPEN (full height)")
    + key('<path class="HALF_OPEN" d="M0 5h18v9h-18z"/>', "HALF_OPEN (two thirds)")
    + key('<path class="RAMP" d="M0 9h18v5h-18z"/>', "RAMP (one third)")
    + key('<path class="CLOSED" d="M0 12h18v2h-18z"/>', "CLOSED (line)")
    + '</div><div class="key">'
    + key('<path class="failed" d="M0 0h18v14h-18z"/>', "failing calls that pass")
    + key('<path class="spared" d="M0 0h18v14h-18z"/>', "failing calls spared (hatched)")
    + key('<path class="good" d="M0 0h18v6h-18z"/>', "good calls rejected (from the top)")
    + key('<path class="calls" d="M0 12h18v2h-18z"/>', "there were calls")
    + key(
        '<path class="limit" stroke-width="1.5" d="M0 7h18"/>', "failure_rate: it opens at or above"
    )
    + "</div>"
)


# Words and figures -----------------------------------------------------------------------------


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
    name: str, of: BacktestOf, calls: list[Call], policy: BreakerPolicy, time: Timeline
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
    return f"opened {counted(opened, 'time')}, {away:.1%} of the time not CLOSED"


def _steps(transitions: list[Transition], time: Timeline) -> str:
    rows = "".join(
        f"<tr><td>{time.words(step.at_ms)}</td>"
        f'<td class="text">{step.source.value} → {step.target.value}</td>'
        f'<td class="text">{escape(step.reason)}</td></tr>'
        for step in transitions[:_STEPS_SHOWN]
    )
    left = len(transitions) - _STEPS_SHOWN
    more = f"<p>and {left:,} more, see --json</p>" if left > 0 else ""
    return (
        f"<details><summary>{counted(len(transitions), 'transition')} with their causes</summary>"
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


def _strip(of: BacktestOf, time: Timeline) -> str:
    paths: dict[BreakerState, list[str]] = {_CLOSED: [], **{state: [] for state in _HEIGHTS}}
    for state, begin_ms, end_ms, _ in _stays(of):
        x, end = time.x(begin_ms), time.x(end_ms)
        height = _HEIGHTS.get(state, 3)
        width = max(_LEAST, end - x)
        paths[state].append(block(min(x, WIDTH - width), _STRIP - height, width, height))
    inner = "".join(
        f'<path class="{state.value}" d="{"".join(blocks)}"/>'
        for state, blocks in paths.items()
        if blocks
    )
    return svg("strip", _STRIP, "state over time; the transitions are listed below", inner)


def _chart(of: BacktestOf, calls: list[Call], policy: BreakerPolicy, time: Timeline) -> str:
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
    width = WIDTH / _BINS
    paths: dict[str, list[str]] = {"calls": [], "failed": [], "spared": [], "good": []}
    for n in range(_BINS):
        if not judged[n]:
            continue
        x, unit = n * width, _CHART / judged[n]
        paths["calls"].append(block(x, _CHART - 2, width, 2))
        passed = (failed[n] - spared[n]) * unit
        if passed:
            paths["failed"].append(block(x, _CHART - passed, width, passed))
        if spared[n]:
            height = spared[n] * unit
            paths["spared"].append(block(x, _CHART - passed - height, width, height))
        if good[n]:
            paths["good"].append(block(x, 0, width, good[n] * unit))
    inner = "".join(
        f'<path class="{kind}" d="{"".join(blocks)}"/>' for kind, blocks in paths.items() if blocks
    )
    if policy.failure_rate is not None:
        y = _CHART * (1 - policy.failure_rate)
        inner += f'<path class="limit" vector-effect="non-scaling-stroke" d="M0 {y:.4g}H{WIDTH}"/>'
    worst = max((failed[n] / judged[n] for n in range(_BINS) if judged[n]), default=0.0)
    return svg("chart", _CHART, f"failure rate over time, at most {worst:.0%}", inner)
