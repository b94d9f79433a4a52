"""How numbers and times are written in alerts."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def span(ms: int) -> str:
    """Return a duration as people say it: ``800 ms``, ``45 s``, ``1 h 30 min``, ``3 d``.

    The two largest units, rounded half up; from ten of the first on, that one alone.
    """
    if ms < 1_000:
        return f"{max(0, ms)} ms"
    seconds = (ms + 500) // 1_000
    place = next(n for n, (_, size) in enumerate(_UNITS) if seconds >= size)
    (name, size), count = _UNITS[place], seconds // _UNITS[place][1]
    next_name, step = (name, size) if count >= 10 else _UNITS[min(place + 1, len(_UNITS) - 1)]
    rounded = (seconds + step // 2) // step * step
    if rounded != seconds:
        return span(rounded * 1_000)  # 59 min 40 s are an hour
    left = seconds % size // step
    return f"{count} {name} {left} {next_name}" if left else f"{count} {name}"


def clock(at_ms: int, now_ms: int, time_zone: str = "UTC", *, seconds: bool = False) -> str:
    """Return a time of the day, with the date when that is not today's; with the zone.

    Args:
        at_ms: Unix time.
        now_ms: Unix time that decides what today is.
        time_zone: Whose clock; an IANA name.
        seconds: To the second.
    """
    zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
    at, now = ((_EPOCH + timedelta(milliseconds=ms)).astimezone(zone) for ms in (at_ms, now_ms))
    text = f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"
    if at.date() != now.date():
        text += f" on {at:%a} {at.day} {at:%b}"
    return f"{text} {time_zone}"


def from_to(begin_ms: int, end_ms: int, now_ms: int) -> str:
    """Return ``from 10:50 UTC to 12:00 UTC``; to the second where the minutes are the same."""
    begin, end = clock(begin_ms, now_ms), clock(end_ms, now_ms)
    if begin == end:
        begin, end = (clock(at_ms, now_ms, seconds=True) for at_ms in (begin_ms, end_ms))
    return f"from {begin} to {end}"


def many(count: int, one: str, more: str | None = None) -> str:
    """Return ``1 job`` or ``3 jobs``."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def sentence(text: str) -> str:
    """Return text that ends with one full stop: what others have written may have its own."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
