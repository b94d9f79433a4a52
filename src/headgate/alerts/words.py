"""How numbers and times are written in alerts."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def span(ms: int) -> str:
    """Return a duration as people say it: ``800 ms``, ``45 s``, ``1 h 30 min``, ``3 d``.

    The two largest units, rounded down; from ten of the first on, that one alone.
    """
    if ms < 1_000:
        return f"{max(0, ms)} ms"
    left, parts = ms // 1_000, []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
        if parts and (len(parts) == 2 or count >= 10 or left == 0):
            break
        if parts and not count:
            break  # 1 d 5 min is a day
    return " ".join(parts)


def clock(at_ms: int, now_ms: int, time_zone: str = "UTC") -> str:
    """Return a time of the day, with the date when that is not today's; with the zone.

    Args:
        at_ms: Unix time.
        now_ms: Unix time that decides what today is.
        time_zone: Whose clock; an IANA name.
    """
    zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
    at, now = ((_EPOCH + timedelta(milliseconds=ms)).astimezone(zone) for ms in (at_ms, now_ms))
    text = f"{at:%H:%M}"
    if at.date() != now.date():
        text += f" on {at:%a} {at.day} {at:%b}"
    return f"{text} {time_zone}"


def many(count: int, one: str, more: str | None = None) -> str:
    """Return ``1 job`` or ``3 jobs``."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def sentence(text: str) -> str:
    """Return text that ends with one full stop: what others have written may have its own."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
