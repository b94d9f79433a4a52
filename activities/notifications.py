"""Handing alerts to the Notifier."""

from temporalio import activity

from headgate.model.entity import NOTIFY, Notification
from headgate.notifier.notifier import Notifier


class NotificationActivities:
    """Activities on one Notifier."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    @activity.defn(name=NOTIFY)
    async def notify(self, notification: Notification) -> None:
        """Deliver alerts to every channel that has not had them; raises if one could not."""
        await self._notifier.deliver(notification.alerts)
