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
        """Hand alerts over; returns once they are in Postgres, from where none is lost.

        It is short, whatever the channels are like: the Notifier goes on trying for three days, and
        a channel that is down holds up no other, nor what the workflow has to tell next.
        """
        await self._notifier.take(notification.alerts)
