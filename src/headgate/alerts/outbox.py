"""The outbox of a workflow: alerts wait here until the Notifier has delivered them."""

from typing import Final

from headgate.model.alert import Alert

MAX_WAITING: Final = 200


def put(outbox: list[Alert], alert: Alert) -> int:
    """Append ``alert``; when the outbox is full the oldest makes room for it.

    Returns:
        How many alerts were lost: 0 or 1. The caller keeps count and shows it.
    """
    outbox.append(alert)
    if len(outbox) <= MAX_WAITING:
        return 0
    del outbox[0]
    return 1
