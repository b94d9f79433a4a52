"""What people do to a channel: find out whether it works, and use it again."""

from headgate.model.audit import Order
from headgate.model.channels import Channel
from headgate.model.errors import ConfigurationError, NotFoundError
from headgate.notifier.failing import trial
from headgate.store.channels import ChannelStore
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database


async def configured(database: Database, channel: str) -> Channel:
    """Return a channel of the applied configuration.

    Raises:
        NotFoundError: It has none of this name.
    """
    channels = (await ConfigurationStore(database).load()).notifier.channels
    if channel not in channels:
        known = ", ".join(sorted(channels)) or "none"
        raise NotFoundError(
            f"{channel} is no channel (there is: {known}): list it under notifier.channels of "
            "headgate.yaml and apply that"
        )
    return channels[channel]


async def send_test(database: Database, channel: str, order: Order) -> str:
    """Send a test alert the way all others go: a governance worker sends it.

    Args:
        database: Migrated.
        channel: To which.
        order: Who wants it, and why.

    Returns:
        The id of the alert, which knows every attempt to deliver it.

    Raises:
        NotFoundError: There is no such channel.
        ConfigurationError: It is disabled: its endpoint was gone.
    """
    await configured(database, channel)
    store = ChannelStore(database)
    state = await store.state(channel)
    alert = trial(channel, order.request_id, order.actor, order.at_ms)
    if state is not None and state.is_disabled:
        raise ConfigurationError(
            f"channel {channel} is disabled: {state.last_error}; correct it, then "
            f"headgate notifier enable {channel}"
        )
    if not order.dry_run:
        await store.trial(channel, alert, order.entry("test", f"channel/{channel}"))
    return alert.id


async def enable_again(database: Database, channel: str, order: Order) -> bool:
    """Try a channel again at once, also one that was disabled because its endpoint was gone.

    The arguments are those of ``send_test``.

    Returns:
        Whether anything has been sent there yet; else there is nothing to do.

    Raises:
        NotFoundError: There is no such channel.
    """
    await configured(database, channel)
    store = ChannelStore(database)
    if order.dry_run:
        return await store.state(channel) is not None
    return await store.enable(channel, order.entry("enable", f"channel/{channel}"))
