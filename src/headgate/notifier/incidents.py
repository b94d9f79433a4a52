"""Which incidents of PagerDuty are over by a message."""

from headgate.notifier.outgoing import Outgoing
from headgate.store.channels import ChannelStore


async def with_resolves(channels: ChannelStore, name: str, message: Outgoing) -> Outgoing:
    """Return a message that says which incidents are over: its own, and those of groups.

    Args:
        channels: Know what the channel has been told.
        name: Of the channel.
        message: To be sent there.
    """
    last = {alert.key or alert.id: alert for alert in message.alerts}
    over = {key for key, alert in last.items() if alert.status == "resolved"}
    groups = [
        row["id"]
        for row in await channels.told_of(name, sorted(over))
        if not {*(row["firing"] or ())} - over
    ]
    return message.model_copy(update={"resolves": [*sorted(over), *groups]})
