"""The Grafana board."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from headgate.monitoring.exposition import STATE_CODES
from headgate.view import metrics as m

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH: Final = 24
_COLOURS: Final = {
    "CLOSED": "green",
    "RAMP": "yellow",
    "HALF_OPEN": "yellow",
    "OPEN": "red",
    "FORCED_OPEN": "red",
    "SHADOW": "blue",
    "FORCED_CLOSED": "blue",
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it shows, and by which queries (expression, legend)."""

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: Literal["stat", "timeseries", "state-timeline", "bargauge"] = "timeseries"
    unit: str = "short"
    width: int = 8
    description: str = ""


def _name(metric: m.Metric, **labels: str) -> str:
    inner = ",".join(f'{name}=~"{value}"' for name, value in labels.items())
    return f"{metric.name}{{{inner}}}"


_DOWN: Final = "$downstream"
_TENANT: Final = "$tenant"


def _quantile(q: float, metric: m.Metric, by: str = "") -> str:
    names = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({q}, sum by ({names}) (rate({metric.name}_bucket[$__rate_interval])))"
    )


def _by_tenant(metric: m.Metric) -> str:
    return f"sum by (tenant, resource) ({_name(metric, tenant=_TENANT)})"


ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Does work flow?",
        (
            Panel("Verdict", ((f"{m.VERDICT.name} == 1", "{{verdict}}"),), "stat", width=6),
            Panel("Needs attention", ((m.ATTENTION.name, "{{severity}}"),), "stat", width=6),
            Panel(
                "Breakers that are not closed",
                ((f'sum({m.BREAKER_STATE.name}{{state!="CLOSED"}})', "not closed"),),
                "stat",
                width=4,
            ),
            Panel("Tenants that wait", ((m.TENANTS_WAITING.name, "tenants"),), "stat", width=4),
            Panel("Worker seen", ((m.WORKER_AGE.name, "ago"),), "stat", "s", 4, m.WORKER_AGE.help),
        ),
    ),
    (
        "Breakers",
        (
            Panel(
                "State",
                ((_name(m.BREAKER_CODE, downstream=_DOWN), "{{downstream}}"),),
                "state-timeline",
                width=12,
            ),
            Panel(
                "Margin to opening",
                ((_name(m.BREAKER_MARGIN, downstream=_DOWN), "{{downstream}}"),),
                unit="percentunit",
                width=12,
                description=m.BREAKER_MARGIN.help,
            ),
            Panel(
                "Calls of the fleet",
                (
                    (
                        "sum by (downstream, outcome) "
                        f"(rate({_name(m.BREAKER_CALLS, downstream=_DOWN)}[$__rate_interval]))",
                        "{{downstream}} {{outcome}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Failing",
                ((_name(m.BREAKER_FAILURES, downstream=_DOWN), "{{downstream}}"),),
                unit="percentunit",
            ),
            Panel(
                "Limit of calls in flight",
                ((_name(m.BREAKER_LIMIT, downstream=_DOWN), "{{downstream}}"),),
            ),
        ),
    ),
    (
        "Tenants",
        (
            Panel("Used", ((_by_tenant(m.TENANT_USED), "{{tenant}} {{resource}}"),)),
            Panel("Waiting", ((_by_tenant(m.TENANT_WAITING), "{{tenant}} {{resource}}"),)),
            Panel(
                "Held of what may be held",
                (
                    (
                        f"({_by_tenant(m.TENANT_USED)} + {_by_tenant(m.TENANT_LEASED)}) / "
                        f"({_by_tenant(m.TENANT_ROOM)} > 0)",
                        "{{tenant}} {{resource}}",
                    ),
                ),
                "bargauge",
                "percentunit",
            ),
            Panel("Leased, unused", ((_by_tenant(m.TENANT_LEASED), "{{tenant}} {{resource}}"),)),
            Panel("Borrowed", ((_by_tenant(m.TENANT_BORROWED), "{{tenant}} {{resource}}"),)),
            Panel(
                "Permits",
                (
                    (
                        f"sum by (resource, event) (rate({m.PERMITS.name}[$__rate_interval]))",
                        "{{resource}} {{event}}",
                    ),
                ),
                unit="reqps",
            ),
        ),
    ),
    (
        "Pools",
        (
            Panel(
                "Capacity, held, given, wanted",
                tuple(
                    (metric.name, f"{{{{pool}}}} {{{{resource}}}} {word}")
                    for metric, word in (
                        (m.POOL_CAPACITY, "capacity"),
                        (m.POOL_HELD, "held"),
                        (m.POOL_ALLOCATED, "given"),
                        (m.POOL_WANTED, "wanted"),
                    )
                ),
                width=12,
            ),
            Panel(
                "Given less guaranteed",
                (
                    (
                        f"{_name(m.SHARE_ALLOCATED, tenant=_TENANT)} - "
                        f"{_name(m.SHARE_GUARANTEED, tenant=_TENANT)}",
                        "{{pool}} {{tenant}}",
                    ),
                ),
                width=12,
                description="Above 0: it borrows. Below 0: it lends, or does not get its due.",
            ),
            Panel(
                "Pressure", ((m.POOL_PRESSURE.name, "{{pool}}"),), description=m.POOL_PRESSURE.help
            ),
            Panel("In line", ((m.POOL_WAITING.name, "{{pool}}"),)),
            Panel(
                "Wanted by tenants",
                ((_name(m.SHARE_WANTED, tenant=_TENANT), "{{pool}} {{tenant}}"),),
            ),
        ),
    ),
    (
        "Workers",
        (
            Panel(
                "Answers to jobs",
                (
                    (
                        f"sum by (decision, reason) (rate({m.DECISIONS.name}[$__rate_interval]))",
                        "{{decision}} {{reason}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Calls held back",
                (
                    (
                        "sum by (downstream, reason) "
                        f"(rate({m.CALLS_DENIED.name}[$__rate_interval]))",
                        "{{downstream}} {{reason}}",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Calls",
                (
                    (
                        f"sum by (outcome) (rate({m.CALLS.name}[$__rate_interval]))",
                        "{{outcome}}",
                    ),
                    (
                        f"sum by (resource) (rate({m.UNGOVERNED.name}[$__rate_interval]))",
                        "{{resource}} without its ledger",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Time of an answer",
                ((_quantile(0.5, m.ADMISSION), "p50"), (_quantile(0.99, m.ADMISSION), "p99")),
                unit="s",
            ),
            Panel("Calls wait (p95)", ((_quantile(0.95, m.CALL_WAIT), "p95"),), unit="s"),
            Panel(
                "Jobs wait for permits (p95)",
                ((_quantile(0.95, m.JOB_WAIT, "decision"), "{{decision}}"),),
                unit="s",
            ),
            Panel(
                "Gates hear of a trip",
                ((_quantile(0.95, m.TRIP_DELAY), "p95"),),
                unit="s",
                description=m.TRIP_DELAY.help,
            ),
            Panel(
                "Snapshots lag",
                ((_quantile(0.95, m.SNAPSHOT_LAG, "kind"), "p95 {{kind}}"),),
                unit="s",
                description=m.SNAPSHOT_LAG.help,
            ),
            Panel("Last change saved", ((m.SNAPSHOT_AGE.name, "{{kind}}"),), unit="s"),
        ),
    ),
)


def expressions() -> list[str]:
    """Return every query of the board, with Grafana's variables replaced."""
    return [
        expr.replace("$__rate_interval", "5m")
        for _, panels in ROWS
        for panel in panels
        for expr, _ in panel.queries
    ]


def board() -> dict[str, Any]:
    """Return the board as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"h": 1, "w": _WIDTH, "x": 0, "y": y},
            }
        )
        y += 1
        x = 0
        height = 4 if all(panel.kind == "stat" for panel in row) else 8
        for panel in row:
            if x + panel.width > _WIDTH:
                x, y = 0, y + height
            place = {"h": height, "w": panel.width, "x": x, "y": y}
            panels.append(_panel(panel, len(panels) + 1, place))
            x += panel.width
        y += height
    return {
        "uid": "headgate",
        "title": "Headgate",
        "description": "Circuit breakers, tenant quotas and pools.",
        "tags": ["headgate", "temporal"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                },
                _variable("downstream", m.BREAKER_CODE),
                _variable("tenant", m.TENANT_USED),
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, id: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.kind == "state-timeline":
        defaults["mappings"] = [
            {
                "type": "value",
                "options": {
                    str(code): {"text": state.value, "color": _COLOURS[state.value]}
                    for state, code in STATE_CODES.items()
                },
            }
        ]
    found: dict[str, Any] = {
        "id": id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "instant": panel.kind in ("stat", "bargauge"),
            }
            for number, (expr, legend) in enumerate(panel.queries)
        ],
    }
    if panel.title == "Verdict":
        found["options"] = {"textMode": "name"}
    return found


def _variable(label: str, metric: m.Metric) -> dict[str, Any]:
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values({metric.name}, {label})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }
