"""From the kind of a channel to what sends to it.

Whatever goes wrong comes out of here as what the Notifier knows: a failure that is recorded, tried
again and told of. What a library raises may show an address, so its kind is all that is said of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from headgate.model.channels import (
    AlertmanagerChannel,
    Channel,
    PagerDutyChannel,
    SlackChannel,
    WebhookChannel,
)
from headgate.model.errors import ConfigurationError
from headgate.model.notifier import NotifierSettings
from headgate.notifier import alertmanager, by_apprise, pagerduty, slack, webhook
from headgate.notifier.delivery import DeliveryError
from headgate.notifier.outgoing import Outgoing
from headgate.notifier.posting import Poster


def parts(channel: Channel, message: Outgoing) -> int:
    """Return how many requests a message takes."""
    return len(pagerduty.events(message)) if isinstance(channel, PagerDutyChannel) else 1


async def send(
    poster: Poster, name: str, channel: Channel, message: Outgoing, part: int = 0
) -> None:
    """Deliver one message, or that part of it.

    Raises:
        DeliveryError: It was not taken, or could not be sent as things are.
    """
    with _failures_of(name):
        if isinstance(channel, WebhookChannel):
            await webhook.send(poster, name, channel, message)
        elif isinstance(channel, AlertmanagerChannel):
            await alertmanager.send(poster, name, channel, message)
        elif isinstance(channel, PagerDutyChannel):
            await pagerduty.send(poster, name, channel, message, part)
        elif isinstance(channel, SlackChannel):
            await slack.send(poster, name, channel, message)
        else:
            await by_apprise.send(name, channel, message)


async def remind(
    poster: Poster, name: str, channel: AlertmanagerChannel, still: Sequence[Outgoing]
) -> None:
    """Say once more what is still so.

    Raises:
        DeliveryError: It was not taken, or could not be sent as things are.
    """
    with _failures_of(name):
        await alertmanager.remind(poster, name, channel, still)


@contextmanager
def _failures_of(name: str) -> Iterator[None]:
    try:
        yield
    except DeliveryError:
        raise
    except ConfigurationError as error:
        # Others read this as well, and look for what is missing where they are.
        raise DeliveryError(
            f"channel {name}: where the governance worker runs, {error}", "misconfigured"
        ) from error
    except Exception as error:
        raise DeliveryError(f"channel {name}: could not be sent ({type(error).__name__})") from None


def check(name: str, channel: Channel) -> None:
    """Make sure that what a channel needs is there: secrets, addresses, Apprise.

    Raises:
        ConfigurationError: It is not; the message names the place in the configuration.
    """
    try:
        if isinstance(channel, WebhookChannel):
            webhook.check(channel)
        elif isinstance(channel, AlertmanagerChannel):
            alertmanager.check(channel)
        elif isinstance(channel, PagerDutyChannel):
            pagerduty.check(channel)
        elif isinstance(channel, SlackChannel):
            slack.check(channel)
        else:
            by_apprise.check(channel)
    except ConfigurationError as error:
        raise ConfigurationError(f"notifier.channels.{name}: {error}") from error
    except Exception as error:
        raise ConfigurationError(
            f"notifier.channels.{name}: could not be opened ({type(error).__name__})"
        ) from None


def check_all(settings: NotifierSettings) -> None:
    """Make sure that what all channels need is there.

    Raises:
        ConfigurationError: With one line for each channel that lacks something.
    """
    problems = []
    for name, channel in sorted(settings.channels.items()):
        try:
            check(name, channel)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
