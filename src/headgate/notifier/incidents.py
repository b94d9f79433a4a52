"""Which incidents of PagerDuty are over by a message."""

from headgate.notifier.outgoing import Outgoing
from headgate.store.lasting import LastingStore


async def with_resolves(lasting: LastingStore, name: str, message: Outgoing) -> Outgoing:
    """Return a message that says which incidents are over: its own, and those of groups.

    What was told in a group has no incident of its own: the group's ends with the last of it.

    Args:
        lasting: Knows what the channel has been told.
        name: Of the channel.
        message: To be sent there.
    """
    alerts = [alert.id for alert in message.alerts]
    over = await lasting.incidents_over(name, alerts)
    return message.model_copy(update={"resolves": over})
