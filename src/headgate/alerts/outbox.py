"""The outbox of a workflow: alerts wait here until the Notifier has delivered them.

When there is no room, and when a delivery has failed for good, alerts are replaced by one that says
how many of which kind they were. What is being delivered right now is left alone: the same id must
never arrive with another content.
"""

from collections.abc import Callable, Sequence
from typing import Final

from headgate.alerts.words import clock, many
from headgate.model.alert import Alert

MAX_WAITING: Final = 200
AT_ONCE: Final = 20
"""So many are delivered together: the first, which may be under way."""

RESOLVED_KEPT_MS: Final = 7 * 86_400_000
"""For so long what says that something is over is tried again: twice the three days of a try."""

COLLAPSED: Final = "alerts.collapsed"
_KIND: Final = "kind:"
_ADVICE: Final = (
    "See whether the Notifier runs and reaches its channels; what lasts is told again. "
    "headgate breaker list and headgate quota list show how things are now."
)


def put(outbox: list[Alert], alert: Alert, new_id: Callable[[], str]) -> int:
    """Append ``alert``; when there is no room, the oldest are collapsed into a summary.

    What says that something is over is kept before what says that it has begun, because whoever was
    told of the beginning waits for it.

    Args:
        outbox: Oldest first; never longer than ``MAX_WAITING``.
        alert: The new one.
        new_id: Gives the id of a summary.

    Returns:
        How many alerts were collapsed.
    """
    outbox.append(alert)
    count = 0
    while len(outbox) > MAX_WAITING:
        waiting = range(AT_ONCE, len(outbox) - 1)
        at = next((n for n in waiting if outbox[n].kind == COLLAPSED), None)
        others = [n for n in waiting if outbox[n].kind != COLLAPSED]
        firing = [n for n in others if outbox[n].status == "firing"]
        # Two make room for the first summary, one for each that is added to it.
        chosen = [*firing, *(n for n in others if n not in firing)][: 2 if at is None else 1]
        gone = [outbox[n] for n in sorted(chosen)]
        count += len(gone)
        before = [] if at is None else [outbox[at]]
        id = new_id() if at is None else outbox[at].id
        summary = summarise([*before, *gone], id, "there was no room for more", alert.at_ms)
        left = {*chosen, *([] if at is None else [at])}
        outbox[:] = [one for n, one in enumerate(outbox) if n not in left]
        outbox.insert(AT_ONCE, summary)
    return count


def is_kept(alert: Alert, now_ms: int) -> bool:
    """Return whether an alert is tried again though its delivery has failed for good.

    What says that something is over is: whoever was told of the beginning waits for it, and an
    Alertmanager goes on firing. It is not kept for ever, so that nothing waits behind it for ever.
    """
    return alert.status == "resolved" and now_ms - alert.at_ms < RESOLVED_KEPT_MS


def replace_undeliverable(outbox: list[Alert], failed: Sequence[Alert], summary: Alert) -> None:
    """Put ``summary`` in the place of alerts whose delivery has failed for good."""
    gone = {alert.id for alert in failed}
    outbox[:] = [summary, *(alert for alert in outbox if alert.id not in gone)]


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
    first_ms, last_ms = now_ms, 0
    for alert in alerts:
        if alert.kind == COLLAPSED:
            for name, count in alert.data.items():
                if name.startswith(_KIND) and isinstance(count, int):
                    kind = name.removeprefix(_KIND)
                    kinds[kind] = kinds.get(kind, 0) + count
            first, last = alert.data.get("first_ms"), alert.data.get("last_ms")
        else:
            kinds[alert.kind] = kinds.get(alert.kind, 0) + 1
            first = last = alert.at_ms
        first_ms = min(first_ms, first) if isinstance(first, int) else first_ms
        last_ms = max(last_ms, last) if isinstance(last, int) else last_ms
    count = sum(kinds.values())
    listed = ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds))
    subject = id.rsplit(":", 3)[0]
    return Alert(
        id=id,
        kind=COLLAPSED,
        severity="warning",
        subject=subject,
        title=f"{subject}: {many(count, 'alert')} not delivered one by one",
        text=f"{listed}, from {clock(first_ms, now_ms)} to {clock(last_ms, now_ms)}: {because}.",
        at_ms=now_ms,
        data={
            "count": count,
            "first_ms": first_ms,
            "last_ms": last_ms,
            **{f"{_KIND}{kind}": kinds[kind] for kind in sorted(kinds)},
        },
        tenant=next(iter(tenants)) if len(tenants) == 1 else None,
        since_ms=first_ms,
        advice=_ADVICE,
    )
