"""Sending an alert once more."""

from typing import Final

from headgate.model.alert import Alert
from headgate.model.audit import Order
from headgate.model.channels import AlertmanagerChannel, PagerDutyChannel
from headgate.model.errors import ConfigurationError, NotFoundError
from headgate.notifier.incidents import with_resolves
from headgate.notifier.outgoing import people_time, single
from headgate.store.alerts import AlertStore
from headgate.store.configuration import ConfigurationStore
from headgate.store.database import Database
from headgate.store.lasting import LastingStore
from headgate.store.messages import MessageStore

_OF_INCIDENTS: Final = (AlertmanagerChannel, PagerDutyChannel)
"""What is told there lasts until its end is told."""


async def send_again(
    database: Database, alert_id: str, channel: str | None, order: Order
) -> list[str]:
    """Send an alert once more, under the id that it has, and write that to the audit.

    Args:
        database: Migrated.
        alert_id: Of the alert.
        channel: Where to; None: to all that it went to.
        order: Who wants it, and why.

    Returns:
        The channels that it goes to.

    Raises:
        NotFoundError: There is no such alert.
        ConfigurationError: There is no such channel, or it is another tenant's; or something else
            was told of the same since, and there the older word would stand in its place.
    """
    settings = (await ConfigurationStore(database).load()).notifier
    alerts = AlertStore(database)
    told = await alerts.one(alert_id)
    if told is None:
        raise NotFoundError(f"{alert_id}: no such alert; headgate alerts list shows the latest")
    known = ", ".join(sorted(settings.channels)) or "none"
    if channel is not None and channel not in settings.channels:
        raise ConfigurationError(f"channel {channel}: no such channel (there is: {known})")
    went = [one.channel for one in told.deliveries if one.channel in settings.channels]
    channels = [channel] if channel is not None else went
    if not channels:
        raise ConfigurationError(
            f"{alert_id} went to no channel that there is: name one (there is: {known})"
        )
    for name in channels:
        owner = settings.channels[name].tenant
        if owner is not None and name not in settings.channels_for(told.alert):
            raise ConfigurationError(
                f"channel {name}: is tenant {owner}'s own, and this alert is not about its quota"
            )
    lasting = [name for name in channels if isinstance(settings.channels[name], _OF_INCIDENTS)]
    last = await alerts.last_word(alert_id) if lasting else None
    if last is not None:
        raise ConfigurationError(_is_old(told.alert, last, ", ".join(lasting)))
    if order.dry_run:
        return channels
    messages = {}
    for name in channels:
        message = single(told.alert, settings.channels[name], settings)
        if isinstance(settings.channels[name], PagerDutyChannel):
            message = await with_resolves(LastingStore(database), name, message)
        messages[name] = message
    await MessageStore(database).again(
        alert_id,
        {name: (one.model_dump(mode="json"), one.topic) for name, one in messages.items()},
        order.entry("resend", f"alert/{alert_id}", channels=channels),
    )
    return channels


def _is_old(alert: Alert, last: Alert, channels: str) -> str:
    """Return why an alert is not sent again where what is told stands until other is told."""
    if last.status == "resolved":
        return (
            f"{alert.id} is over since {people_time(last.at_ms)}, and {channels} would begin an "
            f"incident that nobody ends: send its end again ({last.id}), or name another channel"
        )
    return (
        f"{last.id} has been told of the same since {people_time(last.at_ms)}, and {channels} "
        "would show the older one in its place: send that one again, or name another channel"
    )
