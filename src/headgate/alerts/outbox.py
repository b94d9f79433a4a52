"""The outbox of a workflow: alerts wait here until the Notifier has delivered them.

When there is no room, and when a delivery has failed for good, alerts are replaced by one that says
how many of which kind they were. What is being delivered right now is left alone: the same id must
never arrive with another content.
"""

from collections.abc import Callable, Sequence
from typing import Final

from headgate.alerts.summary import COLLAPSED, summarise
from headgate.model.alert import Alert

MAX_WAITING: Final = 200
AT_ONCE: Final = 20
"""So many are delivered together: the first, which may be under way."""

RESOLVED_KEPT_MS: Final = 7 * 86_400_000
"""For so long what says that something is over is tried again: twice the three days of a try."""


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
