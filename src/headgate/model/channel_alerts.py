"""What the Notifier itself tells of: channels that do not take alerts, and tests."""

from typing import Final

FAILING: Final = "channel.failing"
"""It takes nothing: it does not answer, or refuses all."""

REFUSING: Final = "channel.refusing"
"""It does not like what some messages say."""

GIVEN_UP: Final = "channel.given_up"
"""Alerts were not told through it, and never will be by themselves."""

TEST: Final = "channel.test"
"""Somebody wants to know whether alerts arrive."""

KINDS: Final = (FAILING, REFUSING, GIVEN_UP, TEST)
LASTING: Final = (FAILING, REFUSING)
"""Those that begin and are over; they have a key."""


def key_of(kind: str, channel: str) -> str:
    """Return the key of what is told of a channel, from its beginning to its end."""
    return f"{kind}/channel/{channel}"
