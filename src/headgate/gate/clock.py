"""The gate's clocks."""

import time

monotonic_s = time.monotonic
"""Seconds that never go back, and go on while the process is stopped."""


def now_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
