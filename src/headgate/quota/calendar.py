"""The clock and calendar of a time zone: when an hour, a day, a month, a reservation ends.

Pure, apart from the zone database: Python reads the machine's, or that of the package ``tzdata``
where the machine has none. Machines may have different editions of it, so whoever needs a time
twice keeps it.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from headgate.model.quota import Reservation
from headgate.quota.record import WindowKind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_HOUR_MS: Final = 3_600_000
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def window_end(kind: WindowKind, time_zone: str, now_ms: int) -> int:
    """Return when the calendar window around ``now_ms`` ends.

    Args:
        kind: An hour ends when the local clock next shows a full hour, a day at the next local
            midnight, a month at the midnight that begins the next first of a month.
        time_zone: IANA name.
        now_ms: Unix time.

    Returns:
        A Unix time after ``now_ms``. Where the clocks skip the time, the moment they are put
        forward; where they show it twice, the first time.
    """
    zone = _zone(time_zone)
    local = _local(now_ms, zone)
    if kind == "per_hour":
        at_ms = now_ms
        while True:
            # A second round only where the clocks are moved by a part of an hour.
            into_ms = (local.minute * 60 + local.second) * 1_000 + local.microsecond // 1_000
            at_ms += _HOUR_MS - into_ms
            local = _local(at_ms, zone)
            if local.minute == 0:
                return at_ms
    today = local.date()
    if kind == "per_day":
        return _instant(today + timedelta(days=1), "00:00", zone)
    first = date(today.year + today.month // 12, today.month % 12 + 1, 1)
    return _instant(first, "00:00", zone)


def in_force(
    reservations: Iterable[Reservation], time_zone: str, now_ms: int
) -> tuple[list[Reservation], int | None]:
    """Return the reservations that hold at ``now_ms``, and when that next changes.

    Args:
        reservations: In the order of the quota, which is kept.
        time_zone: IANA name of the zone of their times.
        now_ms: Unix time.

    Returns:
        Those in force, and the next Unix time at which one begins or ends; None: never.
    """
    zone = _zone(time_zone)
    today = _local(now_ms, zone).date()
    found: list[Reservation] = []
    changes: list[int] = []
    for reservation in reservations:
        # From yesterday, for what crosses midnight, to the same weekday of the next week.
        for offset in range(-1, 9):
            day = today + timedelta(days=offset)
            if _DAYS[day.weekday()] not in reservation.days:
                continue
            overnight = reservation.end <= reservation.begin
            begin = _instant(day, reservation.begin, zone)
            end = _instant(day + timedelta(days=overnight), reservation.end, zone)
            if begin <= now_ms < end and reservation not in found:
                found.append(reservation)
            if begin < end:
                changes += [at for at in (begin, end) if at > now_ms]
    return found, min(changes, default=None)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone)


def _instant(day: date, time_of_day: str, zone: tzinfo) -> int:
    """Return when the local clock shows that time, see ``window_end`` for the odd cases."""
    hour, minute = int(time_of_day[:2]), int(time_of_day[3:])
    wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    early, late = _unix(wall.replace(fold=1)), _unix(wall)
    if early >= late:
        return late  # it is shown once, or twice: then fold 0 is the first time
    # Skipped: the clocks are put forward somewhere between the two readings.
    before = _local(early, zone).utcoffset()
    while late - early > 1:
        middle = (early + late) // 2
        if _local(middle, zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late


def _unix(moment: datetime) -> int:
    return (moment - _EPOCH) // _MS
