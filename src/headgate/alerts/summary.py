"""One alert in the place of many: how many of which kind they were, and whose.

A tenant is told through its own channel of what was about its quotas. The workflow does not know
who has one, so the summary says how many of each tenant's there are, and the Notifier takes out of
it what goes there.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from headgate.alerts.words import from_to, many, sentence
from headgate.model.alert import Alert
from headgate.model.notifier import is_of_quotas

COLLAPSED: Final = "alerts.collapsed"
OWN_COLLAPSED: Final = "quota.collapsed"
MAX_NAMED: Final = 200
"""Of so many a summary says whose they are, by tenant and kind: it is kept in a workflow."""

_KIND: Final = "kind:"
_OWN: Final = "own:"
_ADVICE: Final = (
    "See whether the Notifier runs and reaches its channels; what lasts is told again. "
    "headgate breaker list and headgate quota list show how things are now."
)


def summarise(alerts: Sequence[Alert], id: str, because: str, now_ms: int) -> Alert:
    """Return one alert in place of ``alerts``, some of which may be such summaries themselves.

    Args:
        alerts: At least one, of one workflow.
        id: Of the summary.
        because: Why they were not delivered.
        now_ms: Unix time.
    """
    tenants = {alert.tenant for alert in alerts}
    kinds: dict[str, int] = {}
    own: dict[str, int] = {}
    first_ms, last_ms = now_ms, 0
    for alert in alerts:
        if alert.kind == COLLAPSED:
            _add(kinds, _counts(alert, _KIND))
            _add(own, _counts(alert, _OWN))
            first, last = alert.data.get("first_ms"), alert.data.get("last_ms")
        else:
            _add(kinds, {alert.kind: 1})
            if alert.tenant is not None and is_of_quotas(alert.kind):
                _add(own, {f"{alert.kind}:{alert.tenant}": 1})
            first = last = alert.at_ms
        first_ms = min(first_ms, first) if isinstance(first, int) else first_ms
        last_ms = max(last_ms, last) if isinstance(last, int) else last_ms
    subject = id.rsplit(":", 3)[0]
    count = sum(kinds.values())
    return Alert(
        id=id,
        kind=COLLAPSED,
        severity="warning",
        subject=subject,
        title=_title(subject, count),
        text=_text(kinds, first_ms, last_ms, now_ms, because),
        at_ms=now_ms,
        data={
            "count": count,
            "first_ms": first_ms,
            "last_ms": last_ms,
            "because": because,
            **{f"{_KIND}{kind}": kinds[kind] for kind in sorted(kinds)},
            **{f"{_OWN}{whose}": own[whose] for whose in list(own)[:MAX_NAMED]},
        },
        tenant=next(iter(tenants)) if len(tenants) == 1 else None,
        since_ms=first_ms,
        advice=_ADVICE,
    )


def for_tenant(summary: Alert, tenant: str) -> Alert | None:
    """Return what of a summary a tenant is told: what was about its own quotas; None: nothing."""
    kinds: dict[str, int] = {}
    for whose, count in _counts(summary, _OWN).items():
        kind, _, name = whose.partition(":")
        if name == tenant:
            kinds[kind] = count
    if not kinds:
        return None
    first_ms, last_ms = (summary.data.get(name) for name in ("first_ms", "last_ms"))
    assert isinstance(first_ms, int)
    assert isinstance(last_ms, int)
    mine = f"tenant/{tenant}"
    subject = mine if summary.subject == mine else f"{mine}/{summary.subject}"
    _, epoch, sequence, _ = summary.id.rsplit(":", 3)
    because = str(summary.data.get("because", ""))
    return Alert(
        id=f"{subject}:{epoch}:{sequence}:{OWN_COLLAPSED}",
        kind=OWN_COLLAPSED,
        severity=summary.severity,
        subject=subject,
        title=_title(tenant, sum(kinds.values())),
        text=_text(kinds, first_ms, last_ms, summary.at_ms, because),
        at_ms=summary.at_ms,
        data={"tenant": tenant, "count": sum(kinds.values()), **kinds},
        tenant=tenant,
        since_ms=first_ms,
        advice=f"What lasts is told again. See how it is now: headgate quota show {tenant}.",
    )


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _counts(summary: Alert, prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): count
        for name, count in summary.data.items()
        if name.startswith(prefix) and isinstance(count, int)
    }


def _title(of: str, count: int) -> str:
    return f"{of}: {many(count, 'alert')} not delivered one by one"


def _text(kinds: Mapping[str, int], first_ms: int, last_ms: int, now_ms: int, because: str) -> str:
    listed = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds))
    return sentence(f"{listed}, {from_to(first_ms, last_ms, now_ms)}: {because}")
