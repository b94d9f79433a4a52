"""Durations as people write them: ``90s``, ``30m``, ``2h``, ``7d``."""

import re
from typing import Final

from headgate.model.errors import ConfigurationError

_UNITS_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM: Final = re.compile(r"^(\d{1,6})([smhd])$")


def is_duration(text: str) -> bool:
    """Return whether something is written as a duration."""
    return _FORM.match(text.strip()) is not None


def parse_duration(text: str, what: str) -> int:
    """Return a duration in milliseconds.

    Args:
        text: As written.
        what: The option it was given to, for the error.

    Raises:
        ConfigurationError: It is no duration.
    """
    match = _FORM.match(text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigurationError(f"{what} {text!r}: write a duration such as 90s, 30m, 2h or 7d")
    return int(match[1]) * _UNITS_MS[match[2]]
