"""The state of a governance workflow in Markdown, as the Temporal UI shows it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from headgate.breaker.windows import describe
from headgate.model.alert_rules import AlertsView
from headgate.model.breaker import BreakerState, BreakerView, Transition
from headgate.model.ledger import LedgerView
from headgate.model.limits import PressureLevel
from headgate.model.pool import PoolView
from headgate.view.words import whom

_GLYPH = {
    BreakerState.CLOSED: "🟢",
    BreakerState.OPEN: "🔴",
    BreakerState.HALF_OPEN: "🟡",
    BreakerState.RAMP: "🟡",
    BreakerState.FORCED_OPEN: "⛔",
    BreakerState.FORCED_CLOSED: "⚪",
    BreakerState.SHADOW: "⚪",
}
_RECENT = 10
_MEANING = {
    BreakerState.CLOSED: "every call passes",
    BreakerState.OPEN: "no call passes",
    BreakerState.HALF_OPEN: "only probe calls pass",
    BreakerState.RAMP: "a rising share of the calls passes",
    BreakerState.FORCED_OPEN: "people let no call pass",
    BreakerState.FORCED_CLOSED: "people let every call pass",
    BreakerState.SHADOW: "every call passes; it only records what it would do",
}


def breaker_details(view: BreakerView) -> str:
    """Describe a breaker: which state, why, until when, and how it got there."""
    rate = view.failures_in_window / view.calls_in_window if view.calls_in_window else 0.0
    slow = view.slow_in_window / view.calls_in_window if view.calls_in_window else 0.0
    policy = view.settings.policy
    rules = []
    if policy.failure_rate is not None:
        rules.append(f"{policy.failure_rate:.0%} of at least {policy.min_calls} calls fail")
    if policy.consecutive_failures is not None:
        rules.append(f"{policy.consecutive_failures} in a row fail")
    if policy.slow_call_ms is not None:
        rules.append(f"{policy.slow_call_rate:.0%} take {policy.slow_call_ms} ms or longer")
    seen_by = f", as seen by {policy.quorum} gates" if policy.quorum > 1 else ""
    rows = [("Meaning", _MEANING[view.state])]
    if view.override is not None:
        by = view.override
        until = f"until {_utc(by.until_ms)}" if by.until_ms else "until somebody resumes it"
        rows += [
            ("Set by", f"{by.actor} {until}: {by.reason}"),
            ("By itself it would be", view.own_state),
        ]
    if view.throttle is not None:
        cut = view.throttle
        rows.append(("Throttled", f"to {cut.share:.0%} by {cut.actor}: {cut.reason}"))
    if view.open_dependencies:
        names = ", ".join(view.open_dependencies)
        rows.append(("Depends on", f"{names}: not available, so failures here are not judged"))
    rows += [
        ("Why", view.reason),
        ("Since", _utc(view.since_ms)),
        ("Until", _utc(view.until_ms) if view.until_ms else "outcomes change it"),
        (
            f"Last {describe(policy)}",
            f"{view.failures_in_window} of {view.calls_in_window} calls failed ({rate:.0%}), "
            f"{view.consecutive_failures} in a row; {slow:.0%} slow",
        ),
        ("Opens when", (" or ".join(rules) or "never by itself") + seen_by),
        (
            "Since it began",
            f"{view.successes} succeeded, {view.failures} failed, {view.rejected} rejected, "
            f"{view.slow} were slow",
        ),
        ("Tenants affected", whom(view.affected)),
        ("Probes in flight", f"{view.probes_in_flight} of {policy.probes}"),
        ("Gates reporting", str(view.gates)),
        ("Policy", "listed" if view.settings.source == "listed" else "default for unlisted"),
        ("Epoch", str(view.epoch)),
    ]
    if view.malformed:
        rows.append(("Malformed reports", str(view.malformed)))
    rows += [("Alerts", line) for line in _alerts(view.alerts)]
    text = f"## {_GLYPH[view.state]} {view.downstream} is {view.state}\n\n" + _table(("", ""), rows)
    if view.transitions:
        text += "\n### Last transitions\n\n" + _table(
            ("When", "What", "Because"),
            [
                (_utc(step.at_ms), _what(step), step.reason)
                for step in reversed(view.transitions[-_RECENT:])
            ],
        )
    return text


def ledger_details(view: LedgerView) -> str:
    """Describe a ledger: what is held of which quota, and who waits."""
    rows = []
    for resource, account in view.accounts.items():
        quota = None if view.quotas is None else view.quotas.get(resource, view.quotas.get("*"))
        limit = "∞" if quota is None or quota.max_active is None else str(quota.max_active)
        rows.append(
            (
                resource,
                f"{view.units_held.get(resource, 0)} of {limit}",
                str(quota.rate) if quota and quota.rate else "-",
                str(view.waiting.get(resource, 0)),
                str(account.granted),
                f"{account.released} / {account.expired} / {account.reclaimed}",
                str(account.denied),
            )
        )
    source = {"listed": "listed", "default": "default for unlisted", "none": "none: all refused"}
    lines = [f"## Ledger of {view.tenant}", f"Quotas: {source[view.quota_source]}"]
    lines += _alerts(view.alerts)
    return (
        "\n\n".join(lines)
        + "\n\n"
        + _table(
            (
                "Resource",
                "Held",
                "Rate",
                "Waiting",
                "Granted",
                "Released / expired / reclaimed",
                "Denied",
            ),
            rows,
        )
    )


def pool_details(view: PoolView) -> str:
    """Describe a pool: how much there is, and who has what of it and why."""
    settings = view.settings
    rows = []
    for tenant, member in view.members.items():
        for resource in view.capacity:
            held = member.held.get(resource, 0)
            guaranteed = member.guaranteed.get(resource, 0)
            rows.append(
                (
                    tenant + (f" ({member.group})" if member.group else ""),
                    resource,
                    str(held),
                    str(max(0, held - guaranteed)),
                    str(member.wanted.get(resource, 0)),
                    str(guaranteed),
                    str(member.allocated.get(resource, 0)),
                    str(member.target.get(resource, 0)),
                )
            )
    capacity = ", ".join(f"{units} {name}" for name, units in view.capacity.items()) or "nothing"
    lines = [f"## Pool {view.pool}: {capacity}", "", f"Divided by: {settings.strategy}."]
    if not settings.enforced:
        lines.append("It only observes: nobody is limited by it.")
    if view.override is not None:
        until = f" until {_utc(view.override.until_ms)}" if view.override.until_ms else ""
        by = view.override
        lines.append(f"Its capacity was set by {by.actor}{until}: {by.reason}.")
        lines += [f"Over what {one.actor} has set: {one.reason}." for one in view.beneath[::-1]]
    if (followed := view.follows) is not None:
        limit = "has no limit" if followed.limit is None else f"bears {followed.limit} calls"
        lines.append(
            f"It follows {followed.downstream}, which {limit} since {_utc(followed.since_ms)}."
        )
    if view.pressure.level is not PressureLevel.NORMAL:
        lines.append(f"Pressure: **{view.pressure.level}**: {view.pressure.cause}.")
    if view.unheard:
        more = ", …" if view.left_out else ""
        names = ", ".join(view.unheard)
        lines.append(f"Nothing is raised until these have answered: {names}{more}.")
    lines += [f"**{condition.type}**: {condition.message}." for condition in view.conditions]
    lines += _alerts(view.alerts)
    head = ("Tenant", "Resource", "Held", "Borrowed", "Wanted", "Guaranteed", "Allocated", "Target")
    more = f"\n\nAnd {view.left_out} more tenants." if view.left_out else ""
    return "\n\n".join(lines) + "\n\n" + _table(head, rows) + more


def _alerts(alerts: AlertsView) -> list[str]:
    """Say what people were told of and still is so, and what could not be delivered."""
    found = [f"People were told of {key}, since {_utc(at)}." for key, at in alerts.open.items()]
    if alerts.undelivered_since_ms is not None:
        found.append(f"No alert could be delivered since {_utc(alerts.undelivered_since_ms)}.")
    if alerts.collapsed:
        found.append(f"{alerts.collapsed} alerts were told of in a summary only.")
    return found


def _what(step: Transition) -> str:
    change = f"{step.source} → {step.target}"
    if step.actor is not None:
        return f"{change} by {step.actor}"
    return change if step.enforced else f"({change})"


def _utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [_row(head), "|" + " --- |" * len(head), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    # The UI sets columns side by side without a gap; non-breaking spaces make one.
    return "| " + " | ".join(cell.replace("|", "\\|") + "\u00a0" * 3 for cell in cells) + " |"
