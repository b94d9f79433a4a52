"""Limits that adapt to what a downstream bears, backpressure and load shedding: pure functions."""

from headgate.limits.backpressure import Load, Pressure, assess, next_fall
from headgate.limits.concurrency import Concurrency, began, begin, ended, step
from headgate.limits.fleet import FleetConcurrency, begin_fleet, observe, share_of
from headgate.limits.in_flight import InFlightLimit, in_flight_limit
from headgate.limits.rate import (
    AdaptiveRate,
    admit,
    shut_until,
    spend,
    succeeded,
    throttled,
)
from headgate.limits.shedding import Kept, Line, Standing, keep, room_for
from headgate.limits.tally import Tally
from headgate.limits.usage import RecentUsage

__all__ = [
    "AdaptiveRate",
    "Concurrency",
    "FleetConcurrency",
    "InFlightLimit",
    "Kept",
    "Line",
    "Load",
    "Pressure",
    "RecentUsage",
    "Standing",
    "Tally",
    "admit",
    "assess",
    "began",
    "begin",
    "begin_fleet",
    "ended",
    "in_flight_limit",
    "keep",
    "next_fall",
    "observe",
    "room_for",
    "share_of",
    "shut_until",
    "spend",
    "step",
    "succeeded",
    "throttled",
]
