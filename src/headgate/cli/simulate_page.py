"""The page of a simulation: the strategies side by side, in pictures and figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from headgate.cli.page import WIDTH, Timeline, block, counted, document, key, svg
from headgate.simulate.courses import Course, course
from headgate.simulate.figures import Figures
from headgate.simulate.pool_simulation import Simulation
from headgate.simulate.simulated_pool import SimulatedPool
from headgate.simulate.workload import Workload

_BINS: Final = 250
_USE: Final = 64
_SHARES: Final = 110
_TOP: Final = 6
_BARS: Final = 12

_STYLE: Final = """
:root { --c0: #3b6fb6; --c1: #d08c1d; --c2: #2f8f6b; --c3: #b14a7d; --c4: #6f5bb5; --c5: #8a6a3f;
  --rest: #aab2ba; --bad: #c62f2f; }
@media (prefers-color-scheme: dark) { :root { --c0: #6ea3ea; --c1: #e3ae55; --c2: #55bd95;
  --c3: #de7fae; --c4: #a294ea; --c5: #bd9a6c; --rest: #5d666f; --bad: #f0625f; } }
.use { height: 64px; } .shares { height: 110px; }
.used { fill: var(--c0); } .t0 { fill: var(--c0); } .t1 { fill: var(--c1); }
.t2 { fill: var(--c2); } .t3 { fill: var(--c3); } .t4 { fill: var(--c4); }
.t5 { fill: var(--c5); } .rest { fill: var(--rest); } .bad { color: var(--bad); }
figure { margin-top: 10px; } figcaption b { color: var(--ink); font-weight: 600; font-size: 14px; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px;
  margin-bottom: 2px; }
td:first-child { white-space: nowrap; }
.tenants { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr));
  gap: 14px 28px; margin-top: 10px; }
.tenants h3 { font-size: 14px; } .tenants h3 small { font-weight: 400; color: var(--dim); }
.bars { display: grid; grid-template-columns: 92px 1fr 62px; gap: 2px 8px; font-size: 13px;
  align-items: center; } .bars span:nth-child(3n) { text-align: right; }
.bars i { display: block; height: 11px; border-radius: 2px; background: var(--field); }
.bars b { display: block; height: 11px; border-radius: 2px; background: var(--c0); }
"""


@dataclass(frozen=True, slots=True)
class Simulated:
    """One strategy: its name, what happened, and what that amounts to."""

    name: str
    simulation: Simulation
    figures: Figures


def page(
    results: Sequence[Simulated],
    workload: Workload,
    pool: SimulatedPool,
    source: str,
    notes: Sequence[str],
) -> str:
    """Return the page.

    Args:
        results: One for each strategy.
        workload: Which jobs.
        pool: In which pool.
        source: Where both are from, in words.
        notes: What the reader must know of the result.
    """
    time = Timeline(
        min(one.figures.begin_ms for one in results),
        max(one.figures.end_ms for one in results),
        _BINS,
    )
    # Those who used most, under whichever strategy served most.
    fullest = max(results, key=lambda one: one.figures.completed).figures
    order = sorted(fullest.tenants, key=lambda name: -fullest.tenants[name].unit_ms)
    top = order[:_TOP]
    courses = [course(one.simulation, time.begin_ms, time.end_ms, _BINS, top) for one in results]
    body = [
        "<h1>Simulation of a pool</h1>",
        f'<p class="dim">{escape(source)}: {counted(len(workload.jobs), "job")} of '
        f"{counted(len(fullest.tenants), 'tenant')}, {counted(pool.capacity, 'unit')}, "
        f"{time.period()}</p>",
        *(f"<p><b>Note:</b> {escape(note)}.</p>" for note in notes),
        "<h2>The strategies in figures</h2>",
        _table(results),
        f'<h2>Use of the capacity</h2><p class="dim">Units held, from none to all '
        f"{pool.capacity:,}; each column is the average of {duration(_bin_ms(time))}.</p>",
        *(_use(one, its, pool.capacity, time) for one, its in zip(results, courses, strict=True)),
        '<h2>Who held it</h2><p class="dim">Shares of what was held: the '
        f"{len(top)} tenants with most, and all others.</p>",
        _key_of(top, len(order)),
        *(_shares(one, its, top, time) for one, its in zip(results, courses, strict=True)),
        '<h2>Waits by tenant</h2><p class="dim">Mean wait of the jobs that ran; the '
        f"{min(_BARS, len(order))} tenants that held most, each with a scale of its own.</p>",
        f'<div class="tenants">{"".join(_bars(name, results) for name in order[:_BARS])}</div>',
    ]
    return document(f"Simulation: {source}", _STYLE, "".join(body))


# Words and figures -----------------------------------------------------------------------------


def duration(ms: float) -> str:
    """Return a duration in two or three digits."""
    for unit_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= unit_ms:
            return (
                f"{ms / unit_ms:.1f} {unit}" if ms < 10 * unit_ms else f"{ms / unit_ms:,.0f} {unit}"
            )
    return f"{ms:.0f} ms"


def _bin_ms(time: Timeline) -> float:
    return (time.end_ms - time.begin_ms) / time.bins


def _table(results: Sequence[Simulated]) -> str:
    titles = (
        *("Completed", "Refused", "Waiting for good", "Utilization", "Mean wait", "p95 wait"),
        *("Longest wait", "Fairness", "Violations", "Over-grants"),
    )
    rows = []
    for one in results:
        of = one.figures
        cells = [
            f"<td>{of.completed:,}</td>",
            f"<td>{of.refused:,}</td>",
            _bad(of.stranded),
            f"<td>{of.utilization:.1%}</td>",
            *(f"<td>{duration(w)}</td>" for w in (of.waits.mean, of.waits.p95, of.waits.longest)),
            f"<td>{of.slowdown_jain:.3f}</td>",
            _bad(of.violations),
            _bad(of.over_grants),
        ]
        rows.append(f"<tr><td>{one.name}</td>{''.join(cells)}</tr>")
    head = "<th>Strategy</th>" + "".join(f"<th>{title}</th>" for title in titles)
    bound = duration(max(one.simulation.bound_ms for one in results))
    return (
        f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
        '<p class="dim">Utilization: unit-time held, of the capacity from the first arrival to the '
        "last end. Fairness: Jain's index of the tenants' mean bounded slowdowns, 1 when all are "
        f"slowed down alike. Violations: how often a job was passed over for more than {bound}: "
        "first in its line, it fitted into what was idle and into its limits, and nothing was "
        "being gathered for another with a better right.</p>"
    )


def _bad(count: int) -> str:
    return f'<td class="bad">{count:,}</td>' if count else "<td>0</td>"


# Drawings --------------------------------------------------------------------------------------


def _use(one: Simulated, its: Course, capacity: int, time: Timeline) -> str:
    label = f"{one.name}: units held over time, {one.figures.utilization:.1%} of all on average"
    drawing = svg("use", _USE, label, _area("used", [0.0] * _BINS, its.total, capacity, _USE))
    return _figure(one.name, f"{one.figures.utilization:.1%} used", "use", drawing, time)


def _shares(one: Simulated, its: Course, top: Sequence[str], time: Timeline) -> str:
    parts, low = [], [0.0] * _BINS
    layers = [(f"t{n}", its.tenants[name]) for n, name in enumerate(top)]
    layers.append(
        ("rest", [held - sum(c[n] for _, c in layers) for n, held in enumerate(its.total)])
    )
    for kind, held in layers:
        shares = [held[n] / its.total[n] if its.total[n] > 1e-9 else 0.0 for n in range(_BINS)]
        high = [below + max(0.0, share) for below, share in zip(low, shares, strict=True)]
        parts.append(_area(kind, low, high, 1.0, _SHARES))
        low = high
    words = ", ".join(f"{name}: {_share_of(one, name):.0%}" for name in top)
    drawing = svg(
        "shares", _SHARES, f"{one.name}: shares over time; in all {words}", "".join(parts)
    )
    return _figure(one.name, words, "shares", drawing, time)


def _share_of(one: Simulated, name: str) -> float:
    return one.figures.tenants[name].share


def _figure(name: str, words: str, kind: str, drawing: str, time: Timeline) -> str:
    return (
        f"<figure><figcaption><b>{name}</b><span>{escape(words)}</span></figcaption>"
        f'<div class="box">{drawing}</div>{time.axis()}</figure>'
    )


def _area(kind: str, low: Sequence[float], high: Sequence[float], whole: float, height: int) -> str:
    """Return columns from ``low`` to ``high``, equal neighbours in one."""
    width, blocks, n = WIDTH / _BINS, [], 0
    while n < _BINS:
        begin, bottom, top = n, round(low[n] / whole, 4), round(high[n] / whole, 4)
        while n < _BINS and (round(low[n] / whole, 4), round(high[n] / whole, 4)) == (bottom, top):
            n += 1
        if top > bottom:
            tall = (top - bottom) * height
            blocks.append(block(begin * width, height * (1 - top), (n - begin) * width, tall))
    return f'<path class="{kind}" d="{"".join(blocks)}"/>' if blocks else ""


def _key_of(top: Sequence[str], tenants: int) -> str:
    entries = [
        key(f'<path class="t{n}" d="M0 0h18v14h-18z"/>', escape(name)) for n, name in enumerate(top)
    ]
    if tenants > len(top):
        others = counted(tenants - len(top), "other")
        entries.append(key('<path class="rest" d="M0 0h18v14h-18z"/>', others))
    return f'<div class="key">{"".join(entries)}</div>'


def _bars(name: str, results: Sequence[Simulated]) -> str:
    waits = [one.figures.tenants[name].waits.mean for one in results]
    longest = max(waits) or 1.0
    rows = []
    for one, wait in zip(results, waits, strict=True):
        of = one.figures.tenants[name]
        bar = f'<b style="width:{100 * wait / longest:.4g}%"></b>' if of.completed else ""
        words = duration(wait) if of.completed else "none ran"
        rows.append(f"<span>{one.name}</span><i>{bar}</i><span>{words}</span>")
    jobs = counted(results[0].figures.tenants[name].jobs, "job")
    return (
        f"<div><h3>{escape(name)} <small>{jobs}</small></h3>"
        f'<div class="bars">{"".join(rows)}</div></div>'
    )
