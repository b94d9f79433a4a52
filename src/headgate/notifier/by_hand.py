"""What people do to a channel: find out whether it works, and use it again."""

from headgate.model.audit import AuditEntry
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


async def send_test(
    database: Database,
    channel: str,
    *,
    actor: str,
    reason: str,
    request_id: str,
    at_ms: int,
    dry_run: bool = False,
) -> str:
    """Send a test alert the way all others go: a governance worker sends it.

    Args:
        database: Migrated.
        channel: To which.
        actor: Who wants it.
        reason: Why.
        request_id: The same for every attempt at it: it is done once.
        at_ms: Unix time.
        dry_run: Only find out whether it would be sent.

    Returns:
        The id of the alert, which knows every attempt to deliver it.

    Raises:
        NotFoundError: There is no such channel.
        ConfigurationError: It is disabled: its endpoint was gone.
    """
    await configured(database, channel)
    store = ChannelStore(database)
    state = await store.state(channel)
    alert = trial(channel, request_id, actor, at_ms)
    if state is not None and state.is_disabled:
        raise ConfigurationError(
            f"channel {channel} is disabled: {state.last_error}; correct it, then "
            f"headgate notifier enable {channel}"
        )
    if not dry_run:
        entry = _entry("test", channel, actor, reason, request_id, at_ms)
        await store.trial(channel, alert, entry)
    return alert.id


async def enable_again(
    database: Database,
    channel: str,
    *,
    actor: str,
    reason: str,
    request_id: str,
    at_ms: int,
    dry_run: bool = False,
) -> bool:
    """Try a channel again at once, also one that was disabled because its endpoint was gone.

    The arguments are those of ``send_test``.

    Returns:
        Whether anything has been sent there yet; else there is nothing to do.

    Raises:
        NotFoundError: There is no such channel.
    """
    await configured(database, channel)
    store = ChannelStore(database)
    if dry_run:
        return await store.state(channel) is not None
    entry = _entry("enable", channel, actor, reason, request_id, at_ms)
    return await store.enable(channel, entry)


def _entry(
    action: str, channel: str, actor: str, reason: str, request_id: str, at_ms: int
) -> AuditEntry:
    return AuditEntry(
        at_ms=at_ms,
        actor=actor,
        reason=reason,
        action=action,
        target=f"channel/{channel}",
        request_id=request_id,
    )
