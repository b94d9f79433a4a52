"""Durations and times as people write them: ``90s``, ``30m``, ``2h``, ``7d``; ISO 8601."""

import re
from datetime import UTC, datetime
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


def moment(text: str, what: str) -> int:
    """Return a time written in ISO 8601, in Unix milliseconds; without a zone it is UTC.

    Args:
        text: As written.
        what: Where, for the error.

    Raises:
        ConfigurationError: It is no time.
    """
    at_ms = _time(text)
    if at_ms is None:
        raise ConfigurationError(f"{what} {text!r}: write a time such as 2026-11-24T22:00Z")
    return at_ms


def past_moment(text: str, what: str, now_ms: int) -> int:
    """Return a time, in Unix milliseconds, that is written so, or as how long ago it was.

    Args:
        text: As written.
        what: Where, for the error.
        now_ms: Unix time.

    Raises:
        ConfigurationError: It is neither.
    """
    ago = text.removesuffix("ago").strip()
    if is_duration(ago):
        return max(0, now_ms - parse_duration(ago, what))
    at_ms = _time(text)
    if at_ms is None:
        raise ConfigurationError(
            f"{what} {text!r}: write a time such as 2026-11-24T22:00Z, or how long ago, such as 2h"
        )
    return at_ms


def _time(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(text)
        at_ms = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
    return at_ms if at_ms >= 0 else None
