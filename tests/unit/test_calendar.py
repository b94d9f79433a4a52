from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.model.quota import Reservation
from headgate.quota.calendar import in_force, window_end
from headgate.quota.record import WindowKind

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
         "America/Havana", "Pacific/Apia"]  # fmt: skip
HOUR_MS = 3_600_000
START_MS = 1_262_304_000_000  # 2010, so that a few zones have changed their rules since
END_MS = 1_893_456_000_000


def at(text: str, zone: str, fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp()) * 1_000


def local(at_ms: int, zone: str) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(zone)).isoformat(sep=" ")


@pytest.mark.parametrize(
    ("kind", "zone", "now", "end"),
    [
        ("per_hour", "UTC", "2026-03-01 10:00", "2026-03-01 11:00"),
        ("per_hour", "Asia/Kathmandu", "2026-03-01 10:59", "2026-03-01 11:00"),
        ("per_day", "Asia/Kathmandu", "2026-03-01 00:00", "2026-03-02 00:00"),
        ("per_month", "Asia/Kathmandu", "2026-12-31 23:59", "2027-01-01 00:00"),
        ("per_month", "UTC", "2024-02-29 12:00", "2024-03-01 00:00"),
        ("per_day", "Europe/Berlin", "2026-03-29 01:00", "2026-03-30 00:00"),
        ("per_day", "America/New_York", "2026-11-01 00:30", "2026-11-02 00:00"),
        ("per_month", "Europe/Berlin", "2026-03-01 00:00", "2026-04-01 00:00"),
    ],
)
def test_a_window_ends_when_the_local_clock_says_so(
    kind: WindowKind, zone: str, now: str, end: str
) -> None:
    assert window_end(kind, zone, at(now, zone)) == at(end, zone)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-03-29", 24),
    ],
)
def test_a_day_is_as_long_as_its_clock_makes_it(zone: str, day: str, hours: int) -> None:
    midnight = at(f"{day} 00:00", zone)
    assert window_end("per_day", zone, midnight) - midnight == hours * HOUR_MS
    ends = [midnight]
    while ends[-1] < midnight + hours * HOUR_MS:
        ends.append(window_end("per_hour", zone, ends[-1]))
    assert [later - earlier for earlier, later in pairwise(ends)] == [HOUR_MS] * hours


@settings(max_examples=300, deadline=None)
@given(now_ms=st.integers(START_MS, END_MS), zone=st.sampled_from(ZONES))
def test_windows_follow_each_other_without_gaps(now_ms: int, zone: str) -> None:
    for kind, longest in (("per_hour", 2), ("per_day", 49), ("per_month", 24 * 31 + 1)):
        end = window_end(kind, zone, now_ms)  # type: ignore[arg-type]
        assert now_ms < end <= now_ms + longest * HOUR_MS
        assert window_end(kind, zone, (now_ms + end) // 2) == end  # type: ignore[arg-type]
        assert window_end(kind, zone, end - 1) == end  # type: ignore[arg-type]
        if kind != "per_hour":
            assert local(end, zone)[11:16] in ("00:00", "01:00")


def test_a_midnight_that_the_clocks_skip_is_when_they_are_put_forward() -> None:
    zone = "America/Havana"
    end = window_end("per_day", zone, at("2026-03-07 12:00", zone))
    assert local(end, zone) == "2026-03-08 01:00:00-04:00"


def reservation(begin: str, end: str, *days: str) -> Reservation:
    where = {"days": list(days)} if days else {}
    return Reservation.model_validate({"begin": begin, "end": end, "max_active": 1, **where})


def test_a_reservation_holds_from_begin_to_end_in_its_time_zone() -> None:
    zone, evening = "Europe/Berlin", reservation("18:00", "20:00")
    for now, holds, change in (
        ("2026-06-01 17:59", False, "2026-06-01 18:00"),
        ("2026-06-01 18:00", True, "2026-06-01 20:00"),
        ("2026-06-01 20:00", False, "2026-06-02 18:00"),
    ):
        found, next_ms = in_force([evening], zone, at(now, zone))
        assert (bool(found), next_ms) == (holds, at(change, zone))


def test_a_reservation_that_crosses_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = reservation("22:00", "06:00", "fri")
    for now, holds in (
        ("2026-06-05 21:59", False),  # a Friday
        ("2026-06-05 22:00", True),
        ("2026-06-06 05:59", True),
        ("2026-06-06 06:00", False),
        ("2026-06-06 22:00", False),
    ):
        assert bool(in_force([night], "UTC", at(now, "UTC"))[0]) == holds
    assert in_force([night], "UTC", at("2026-06-06 06:00", "UTC"))[1] == at(
        "2026-06-12 22:00", "UTC"
    )


def test_a_reservation_in_the_hour_that_is_skipped_does_not_take_place() -> None:
    zone, gap = "Europe/Berlin", reservation("02:15", "02:45")
    before = at("2026-03-29 01:59", zone)
    found, next_ms = in_force([gap], zone, before)
    assert (found, next_ms) == ([], at("2026-03-30 02:15", zone))
    half = reservation("01:30", "02:30")
    assert in_force([half], zone, before)[1] == at("2026-03-29 03:00", zone)


@settings(max_examples=200, deadline=None)
@given(
    now_ms=st.integers(START_MS, END_MS),
    zone=st.sampled_from(ZONES),
    begin=st.integers(0, 23),
    end=st.integers(0, 23),
    days=st.sets(st.sampled_from(["mon", "wed", "sun"]), min_size=1),
)
def test_what_is_in_force_changes_only_when_it_was_said_to(
    now_ms: int, zone: str, begin: int, end: int, days: set[str]
) -> None:
    one = reservation(f"{begin:02}:30", f"{end:02}:15", *sorted(days))
    found, next_ms = in_force([one], zone, now_ms)
    assert next_ms is not None
    assert next_ms > now_ms
    assert in_force([one], zone, next_ms - 1)[0] == found
    assert in_force([one], zone, next_ms)[0] != found
