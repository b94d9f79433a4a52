"""The generic cell rate algorithm: a rate with burst in one integer, with exact retry times.

Source: ITU-T I.371; the form with a theoretical arrival time. To stay in integers the arrival time
is kept in *ticks*, of which ``rate.limit`` make a millisecond, so one unit costs ``period_ms``
ticks exactly.
"""

from headgate.model.quota import Rate


def earliest(tat: int, rate: Rate, burst: int, units: int) -> int | None:
    """Return the first Unix millisecond at which ``units`` may pass.

    Args:
        tat: Theoretical arrival time in ticks; 0 for one that has never been used.
        rate: How many units in what period.
        burst: Units that may pass at once after a pause.
        units: How many are to pass at once.

    Returns:
        The time, possibly past; None when ``units`` exceeds ``burst`` and so can never pass.
    """
    if units > burst:
        return None
    # Allowed once max(now, tat) + units * period - now <= burst * period; with tat <= now that is
    # units <= burst, which holds.
    ticks = tat + (units - burst) * rate.period_ms
    return max(0, -(-ticks // rate.limit))


def spend(tat: int, rate: Rate, units: int, now_ms: int) -> int:
    """Return the theoretical arrival time after ``units`` have passed at ``now_ms``."""
    return max(tat, now_ms * rate.limit) + units * rate.period_ms


def rescale(tat: int, old: Rate, new: Rate, now_ms: int) -> int:
    """Return ``tat`` for a new rate, such that what was spent stays spent.

    The units of debt at ``now_ms`` are the same before and after, rounded up.
    """
    debt_ticks = max(0, tat - now_ms * old.limit)
    if debt_ticks == 0:
        return 0
    debt_units_up = -(-debt_ticks * new.period_ms // old.period_ms)
    return now_ms * new.limit + debt_units_up
