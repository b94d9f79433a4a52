"""The circuit breaker: sliding window and state machine, pure functions of events and time."""

from headgate.breaker.machine import Breaker
from headgate.breaker.record import BreakerInput, BreakerRecord, Probe, Reporter
from headgate.breaker.sliding_count import SlidingCount
from headgate.breaker.sliding_time import SlidingTime

__all__ = [
    "Breaker",
    "BreakerInput",
    "BreakerRecord",
    "Probe",
    "Reporter",
    "SlidingCount",
    "SlidingTime",
]
