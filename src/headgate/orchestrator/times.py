"""Times and durations in words."""

from datetime import UTC, datetime
from functools import lru_cache

from headgate.view.words import lasting

__all__ = ["lasting", "utc"]


@lru_cache(maxsize=2_048)
def utc(ms: int) -> str:
    """Return a Unix time as people read it, to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S}Z"
