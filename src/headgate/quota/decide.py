"""Whether units may be granted now, what a grant uses up, and from when on it could be made."""

from headgate.quota import calendar, gcra
from headgate.quota.limits import WINDOWS, Limits
from headgate.quota.record import Meter, Window


def admits(limits: Limits, meter: Meter, units: int, now_ms: int) -> bool:
    """Return whether every limit of the resource lets ``units`` pass now."""
    if limits.pause is not None:
        return False
    if limits.room is not None and meter.units + units > limits.room:
        return False
    if limits.rate is not None:
        at_ms = gcra.earliest(arrival(meter, limits, now_ms), limits.rate, limits.burst, units)
        if at_ms is None or at_ms > now_ms:
            return False
    for kind, limit in limits.windows:
        window = meter.windows.get(kind)
        used = 0 if window is None or window.ends_at_ms <= now_ms else window.used
        if used + units > limit:
            return False
    return True


def take(
    limits: Limits, meter: Meter, units: int, now_ms: int, *, every_window: bool = False
) -> None:
    """Count a grant of ``units`` against the rate and the calendar windows.

    Args:
        limits: Of the resource.
        meter: Of the resource.
        units: What is granted.
        now_ms: Unix time.
        every_window: Count in those that nothing limits, too: a limit that is set in the middle of
            a window then knows what was granted before.
    """
    if limits.rate is not None:
        meter.tat = gcra.spend(arrival(meter, limits, now_ms), limits.rate, units, now_ms)
        meter.rate = limits.rate
    if not every_window and not limits.windows and not meter.windows:
        return
    for kind, window in list(meter.windows.items()):
        # A window counts on while it lasts, also when its limit is taken away and set again.
        if window.ends_at_ms > now_ms:
            window.used += units
        else:
            del meter.windows[kind]
    for kind in WINDOWS if every_window else [kind for kind, _ in limits.windows]:
        if kind not in meter.windows:
            ends_at_ms = calendar.window_end(kind, limits.time_zone, now_ms)
            meter.windows[kind] = Window(used=units, ends_at_ms=ends_at_ms)


def startable(limits: Limits, meter: Meter, now_ms: int) -> int | None:
    """Return how many units rate and windows let pass now; None: nothing limits them over time."""
    found: list[int] = []
    if limits.rate is not None:
        debt = max(0, arrival(meter, limits, now_ms) - now_ms * limits.rate.limit)
        found.append(limits.burst - -(-debt // limits.rate.period_ms))
    for kind, limit in limits.windows:
        window = meter.windows.get(kind)
        used = 0 if window is None or window.ends_at_ms <= now_ms else window.used
        found.append(limit - used)
    return max(0, min(found)) if found else None


def give_back(limits: Limits, meter: Meter, units: int, now_ms: int) -> None:
    """Take back what ``take`` has counted for units that were not used after all."""
    if limits.rate is not None and meter.rate is not None:
        meter.tat = max(0, arrival(meter, limits, now_ms) - units * limits.rate.period_ms)
        meter.rate = limits.rate
    for window in meter.windows.values():
        if window.ends_at_ms > now_ms:
            window.used = max(0, window.used - units)


def passes_within(limits: Limits, meter: Meter, now_ms: int, ms: int) -> int | None:
    """Return how many units the rate lets pass from now until then; None: there is no rate."""
    rate = limits.rate
    if rate is None:
        return None
    debt = max(0, arrival(meter, limits, now_ms) - now_ms * rate.limit)
    at_once = limits.burst - -(-debt // rate.period_ms)
    return max(0, at_once + ms * rate.limit // rate.period_ms)


def opens_at(limits: Limits, meter: Meter, units: int) -> int | None:
    """Return from when on ``units`` could pass if nothing but time stands in their way.

    Returns:
        A Unix time, possibly past; None: something else stands in the way, too.
    """
    if limits.room is not None and meter.units + units > limits.room:
        return None
    return passes_at(limits, meter, units)


def passes_at(limits: Limits, meter: Meter, units: int) -> int | None:
    """Return from when on rate and windows let ``units`` pass, whatever is held now.

    Returns:
        A Unix time, possibly past; None: they never do, or people have paused it.
    """
    if limits.pause is not None:
        return None
    found = 0
    if limits.rate is not None:
        at_ms = gcra.earliest(arrival(meter, limits, 0), limits.rate, limits.burst, units)
        if at_ms is None:
            return None
        found = at_ms
    for kind, limit in limits.windows:
        if units > limit:
            return None
        window = meter.windows.get(kind)
        if window is not None and window.used + units > limit:
            found = max(found, window.ends_at_ms)
    return found


def rescale(limits: Limits, meter: Meter, now_ms: int) -> None:
    """Express what was spent in the rate that holds from ``now_ms`` on."""
    meter.tat = arrival(meter, limits, now_ms)
    if limits.rate is not None and meter.rate is not None:
        meter.rate = limits.rate


def arrival(meter: Meter, limits: Limits, now_ms: int) -> int:
    """Return the theoretical arrival time in ticks of the rate that holds; see ``gcra``."""
    old, new = meter.rate, limits.rate
    if old is None or new is None or old is new or old == new:
        return meter.tat
    return gcra.rescale(meter.tat, old, new, now_ms)
