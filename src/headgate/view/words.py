"""Durations in words."""


def lasting(ms: int) -> str:
    """Return about how long a duration is: two digits are enough for people who wait."""
    seconds = max(0, round(ms / 1_000))
    if seconds < 1:
        return "less than 1 s"
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7_200:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3_600} h"
    return f"{seconds // 86_400} d"
