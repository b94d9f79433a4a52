"""Whatever Apprise reaches; an extra, ``headgate[apprise]``.

Apprise makes its own connections: addresses are not checked, and it takes proxies from the
environment. Only operators say where they lead, and the addresses are secrets.
"""

import asyncio
import importlib
import importlib.util
import logging
from typing import Any, Final

from headgate.model.channels import AppriseChannel
from headgate.model.errors import ConfigurationError
from headgate.notifier.credentials import read
from headgate.notifier.delivery import DeliveryError
from headgate.notifier.outgoing import Outgoing, in_full, without_mentions

_TYPES: Final = {"critical": "failure", "warning": "warning", "info": "info"}


def check(channel: AppriseChannel) -> None:
    """Make sure that Apprise is installed and knows the addresses.

    Raises:
        ConfigurationError: It is not, or does not.
    """
    if importlib.util.find_spec("apprise") is None:
        raise ConfigurationError(
            "Apprise is not installed: pip install 'headgate[apprise]', or use another kind"
        )
    _ready(channel)


async def send(name: str, channel: AppriseChannel, message: Outgoing) -> None:
    """Deliver one message through every address of the channel.

    Raises:
        DeliveryError: One of them did not take it; the next attempt tells all of them again.
        ConfigurationError: Apprise or an address is missing.
    """
    await asyncio.to_thread(check, channel)
    opened, lead = _ready(channel), message.lead
    try:
        async with asyncio.timeout(channel.timeout_ms / 1000):
            taken = await opened.async_notify(
                body=without_mentions(in_full(message)),
                title=without_mentions(lead.title),
                notify_type="success" if lead.status == "resolved" else _TYPES[lead.severity],
            )
    except TimeoutError as error:
        raise DeliveryError(
            f"channel {name}: Apprise did not come back within {channel.timeout_ms / 1000:g} s"
        ) from error
    except Exception as error:  # of a plug-in: whatever it raises may show its address
        raise DeliveryError(
            f"channel {name}: Apprise could not deliver it ({type(error).__name__})"
        ) from None
    if not taken:
        raise DeliveryError(f"channel {name}: Apprise could not deliver it", "refused")


def _ready(channel: AppriseChannel) -> Any:
    # Imported when it is needed: it takes a third of a second, and need not be there.
    opened = importlib.import_module("apprise").Apprise()
    logging.getLogger("apprise").disabled = True  # it writes addresses, with what is secret in them
    for url in read(channel.url_env, channel.url_file).split():
        if not opened.add(url):
            place = channel.url_env or channel.url_file
            raise ConfigurationError(f"{place} holds an address that Apprise does not know")
    return opened
