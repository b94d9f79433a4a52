"""The Prometheus alert rules, each with an example by which ``promtool test rules`` checks it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headgate.view import metrics as m


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule.

    Attributes:
        name: Of the alert.
        expr: When it is met.
        lasting: For how long it has to be.
        severity: ``critical`` wakes people, ``warning`` does not.
        summary: In a line; may name labels.
        description: What to do.
        fires: Series (by selector, constant values) that make it fire.
        labels: That it then has, beyond the severity.
        silent: Series that do not make it fire.
        value: Its value then, as its texts show it.
    """

    name: str
    expr: str
    lasting: str
    severity: str
    summary: str
    description: str
    fires: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    value: str = ""


def _late(
    name: str, histogram: str, window: str, lasting: str, summary: str, description: str
) -> Rule:
    """Return a rule that something takes longer than 5 s, one time in twenty."""
    return Rule(
        name,
        f"histogram_quantile(0.95, sum by (le) (rate({histogram}_bucket[{window}]))) > 5",
        lasting,
        "warning",
        summary,
        description,
        fires={
            f'{histogram}_bucket{{le="5"}}': "never",
            f'{histogram}_bucket{{le="10"}}': "grows",
            f'{histogram}_bucket{{le="+Inf"}}': "grows",
        },
        silent={
            f'{histogram}_bucket{{le="1"}}': "grows",
            f'{histogram}_bucket{{le="+Inf"}}': "grows",
        },
        value="9.75s",
    )


RULES: Final = (
    Rule(
        "HeadgateNotScraped",
        f"absent({m.BUILD_INFO.name})",
        "5m",
        "warning",
        "Nothing is known of Headgate",
        "No process exports the metrics of the service: is headgate metrics --serve, or the API, "
        "running, and scraped?",
        fires={},
        silent={f'{m.BUILD_INFO.name}{{version="1"}}': "1"},
    ),
    Rule(
        "HeadgateWorkerGone",
        f"{m.WORKER_AGE.name} > 30",
        "1m",
        "critical",
        "No governance worker has been seen for {{ $value | humanizeDuration }}",
        "Gates go on by what they know for a while; nothing is decided any more. Start headgate "
        "worker, or look why it does not reach Postgres.",
        fires={m.WORKER_AGE.name: "31"},
        silent={m.WORKER_AGE.name: "30"},
        value="31s",
    ),
    Rule(
        "HeadgateBreakerOpen",
        f'{m.BREAKER_STATE.name}{{state="OPEN"}} == 1',
        "2m",
        "critical",
        "The breaker of {{ $labels.downstream }} is open",
        "No call to it passes. Why: headgate breaker show {{ $labels.downstream }}",
        fires={f'{m.BREAKER_STATE.name}{{downstream="scanner",state="OPEN"}}': "1"},
        labels={"downstream": "scanner", "state": "OPEN"},
        silent={
            f'{m.BREAKER_STATE.name}{{downstream="scanner",state="OPEN"}}': "0",
            f'{m.BREAKER_STATE.name}{{downstream="scanner",state="CLOSED"}}': "1",
        },
    ),
    Rule(
        "HeadgateBreakerFlaps",
        f'changes({m.BREAKER_STATE.name}{{state="CLOSED"}}[30m]) >= 6',
        "0m",
        "warning",
        "The breaker of {{ $labels.downstream }} opens again and again",
        "It closes and opens anew: the downstream is not well, or the policy is too tight. "
        "headgate backtest shows what another policy would have done.",
        fires={f'{m.BREAKER_STATE.name}{{downstream="scanner",state="CLOSED"}}': "flaps"},
        labels={"downstream": "scanner", "state": "CLOSED"},
        silent={f'{m.BREAKER_STATE.name}{{downstream="scanner",state="CLOSED"}}': "1"},
    ),
    Rule(
        "HeadgateBreakerForgotten",
        f'{m.BREAKER_STATE.name}{{state=~"FORCED_OPEN|FORCED_CLOSED"}} == 1',
        "12h",
        "warning",
        "{{ $labels.downstream }} has been {{ $labels.state }} by hand for half a day",
        "If that is over: headgate breaker resume {{ $labels.downstream }} --reason ...",
        fires={f'{m.BREAKER_STATE.name}{{downstream="scanner",state="FORCED_CLOSED"}}': "1"},
        labels={"downstream": "scanner", "state": "FORCED_CLOSED"},
        silent={f'{m.BREAKER_STATE.name}{{downstream="scanner",state="FORCED_CLOSED"}}': "0"},
    ),
    Rule(
        "HeadgateBreakerCloseToOpening",
        f"{m.BREAKER_MARGIN.name} < 0.25 and on (downstream) "
        f'{m.BREAKER_STATE.name}{{state="CLOSED"}} == 1',
        "5m",
        "warning",
        "The breaker of {{ $labels.downstream }} is about to open",
        "{{ $value | humanizePercentage }} of the way is left. "
        "headgate breaker show {{ $labels.downstream }}",
        fires={
            f'{m.BREAKER_MARGIN.name}{{downstream="scanner"}}': "0.2",
            f'{m.BREAKER_STATE.name}{{downstream="scanner",state="CLOSED"}}': "1",
        },
        labels={"downstream": "scanner"},
        silent={
            f'{m.BREAKER_MARGIN.name}{{downstream="scanner"}}': "0",
            f'{m.BREAKER_STATE.name}{{downstream="scanner",state="CLOSED"}}': "0",
        },
        value="20%",
    ),
    Rule(
        "HeadgateTenantStarves",
        f"{m.TENANT_WAITING.name} > 0 and ({m.TENANT_USED.name} + {m.TENANT_LEASED.name}) == 0",
        "15m",
        "warning",
        "{{ $labels.tenant }} waits for {{ $labels.resource }} and gets nothing",
        "{{ $value }} requests are in line, and nothing is held. Why: "
        "headgate quota show {{ $labels.tenant }}, and headgate why on one of its jobs.",
        fires={
            f'{m.TENANT_WAITING.name}{{tenant="acme",resource="scan"}}': "3",
            f'{m.TENANT_USED.name}{{tenant="acme",resource="scan"}}': "0",
            f'{m.TENANT_LEASED.name}{{tenant="acme",resource="scan"}}': "0",
        },
        labels={"tenant": "acme", "resource": "scan"},
        silent={
            f'{m.TENANT_WAITING.name}{{tenant="acme",resource="scan"}}': "3",
            f'{m.TENANT_USED.name}{{tenant="acme",resource="scan"}}': "1",
            f'{m.TENANT_LEASED.name}{{tenant="acme",resource="scan"}}': "0",
        },
        value="3",
    ),
    Rule(
        "HeadgateGuaranteeNotMet",
        f"{m.SHARE_ALLOCATED.name} < {m.SHARE_GUARANTEED.name} and "
        f"{m.SHARE_WANTED.name} > {m.SHARE_ALLOCATED.name}",
        "10m",
        "critical",
        "{{ $labels.tenant }} wants more of {{ $labels.pool }} and has less than its guarantee",
        "It has been given {{ $value }}. headgate pool show {{ $labels.pool }} says why, such as "
        "OVERCOMMITTED or a ledger that is not heard.",
        fires={
            f'{name}{{pool="p",resource="scan",tenant="acme"}}': value
            for name, value in (
                (m.SHARE_ALLOCATED.name, "2"),
                (m.SHARE_GUARANTEED.name, "5"),
                (m.SHARE_WANTED.name, "4"),
            )
        },
        labels={"pool": "p", "resource": "scan", "tenant": "acme"},
        silent={
            f'{name}{{pool="p",resource="scan",tenant="acme"}}': value
            for name, value in (
                (m.SHARE_ALLOCATED.name, "2"),
                (m.SHARE_GUARANTEED.name, "5"),
                (m.SHARE_WANTED.name, "2"),
            )
        },
        value="2",
    ),
    Rule(
        "HeadgatePoolUnderPressure",
        f"{m.POOL_PRESSURE.name} >= 2",
        "10m",
        "warning",
        "The pool {{ $labels.pool }} is saturated",
        "More work comes than it can take. headgate pool show {{ $labels.pool }}",
        fires={f'{m.POOL_PRESSURE.name}{{pool="p"}}': "2"},
        labels={"pool": "p"},
        silent={f'{m.POOL_PRESSURE.name}{{pool="p"}}': "1"},
    ),
    _late(
        "HeadgateSnapshotsLag",
        m.SNAPSHOT_LAG.name,
        "10m",
        "10m",
        "What is shown lags behind by {{ $value | humanizeDuration }}",
        "Postgres, or the way to it, is slow. Decisions do not wait for it.",
    ),
    _late(
        "HeadgateTripsHeardLate",
        m.TRIP_DELAY.name,
        "1h",
        "0m",
        "Gates hear of an open breaker {{ $value | humanizeDuration }} late",
        "Calls go on to a downstream that is not well. Are the workers' polls delayed?",
    ),
)

_HOURS: Final = 13


def rules_document() -> dict[str, Any]:
    """Return the alert rules as Prometheus reads them."""
    return {
        "groups": [
            {
                "name": "headgate",
                "rules": [
                    {
                        "alert": rule.name,
                        "expr": rule.expr,
                        **({} if rule.lasting == "0m" else {"for": rule.lasting}),
                        "labels": {"severity": rule.severity},
                        "annotations": {"summary": rule.summary, "description": rule.description},
                    }
                    for rule in RULES
                ],
            }
        ]
    }


def tests_document(rules_file: str) -> dict[str, Any]:
    """Return what ``promtool test rules`` checks: that each rule fires, and when it does not."""
    tests = []
    for rule in RULES:
        for series, fires in ((rule.fires, True), (rule.silent, False)):
            alerts = [_alert(rule)] if fires else []
            tests.append(
                {
                    "name": f"{rule.name} {'fires' if fires else 'is silent'}",
                    "interval": "1m",
                    "input_series": [
                        {"series": name, "values": _values(value)} for name, value in series.items()
                    ],
                    "alert_rule_test": [
                        {"eval_time": f"{_HOURS}h", "alertname": rule.name, "exp_alerts": alerts}
                    ],
                }
            )
    return {"rule_files": [rules_file], "evaluation_interval": "1m", "tests": tests}


def _alert(rule: Rule) -> dict[str, Any]:
    return {
        "exp_labels": {"severity": rule.severity, **rule.labels},
        "exp_annotations": {
            "summary": _filled(rule, rule.summary),
            "description": _filled(rule, rule.description),
        },
    }


def _filled(rule: Rule, text: str) -> str:
    """Return a text as Prometheus fills it in."""
    for name, value in rule.labels.items():
        text = text.replace(f"{{{{ $labels.{name} }}}}", value)
    return re.sub(r"\{\{ \$value[^}]*\}\}", rule.value, text)


def _values(value: str) -> str:
    minutes = _HOURS * 60
    if value == "flaps":
        return " ".join(str(n % 2) for n in range(minutes + 1))
    if value in ("grows", "never"):
        return f"0+{int(value == 'grows')}x{minutes}"
    return f"{value}+0x{minutes}"
