"""How many calls a second a downstream takes, found out from its refusals.

Source: botocore's adaptive retry mode: a token bucket that is off until the first throttle, filled
at a rate that follows CUBIC (RFC 9438 has the curve): cut at a throttle, back to about what it was
before, long near that, then beyond. Added here: a throttle of a call that was let pass before the
last cut does not cut again, and ``Retry-After`` shuts the bucket. All in integers: rates in
millionths of a call a second, tokens in millionths of a call.
"""

from dataclasses import dataclass
from typing import Final

from headgate.model.limits import RatePolicy

MICRO: Final = 1_000_000
"""Millionths in a call."""

_MEASURE_MS: Final = 500
_NEWEST_PERCENT: Final = 80
_MOST_RATE: Final = 1_000_000 * MICRO
_LONGEST_PAUSE_MS: Final = 86_400_000
_LONGEST_CURVE_MS: Final = 3_600_000


@dataclass(slots=True)
class AdaptiveRate:
    """The rate of calls, and what it was measured by.

    Attributes:
        rate: Millionths of a call a second; None: never throttled yet, so nothing is limited.
        before: The rate at the last throttle, to which it comes back.
        throttled_at_ms: When that was.
        tokens: Millionths of a call that may begin now.
        filled_at_ms: When the tokens were last counted.
        shut_until_ms: What the downstream asked for by ``Retry-After``.
        measured: The rate at which calls have ended, a moving average.
        slot_ms: When the half second began in which they are counted now.
        slot_calls: How many there are in it.
    """

    rate: int | None = None
    before: int = 0
    throttled_at_ms: int = 0
    tokens: int = 0
    filled_at_ms: int = 0
    shut_until_ms: int = 0
    measured: int = 0
    slot_ms: int = 0
    slot_calls: int = 0


def admit(state: AdaptiveRate, policy: RatePolicy, now_ms: int) -> int | None:
    """Let one call pass if its turn has come; see ``shut_until``."""
    at_ms = shut_until(state, policy, now_ms)
    if at_ms is None:
        spend(state)
    return at_ms


def spend(state: AdaptiveRate) -> None:
    """Take what one call needs, after ``shut_until`` has said in the same moment that it may."""
    if state.rate is not None:
        state.tokens -= MICRO


def shut_until(state: AdaptiveRate, policy: RatePolicy, now_ms: int) -> int | None:
    """Return when a call may begin, without letting it.

    Args:
        state: Is brought up to date.
        policy: The bounds.
        now_ms: Unix time.

    Returns:
        None when one may begin now, else the first millisecond at which one may.
    """
    if now_ms < state.shut_until_ms:
        return state.shut_until_ms
    if state.rate is None:
        return None
    _fill(state, policy, now_ms)
    if state.tokens >= MICRO:
        return None
    # Millionths a second are thousandths of that a millisecond.
    return now_ms + -(-(MICRO - state.tokens) * 1_000 // state.rate)


def succeeded(state: AdaptiveRate, policy: RatePolicy, now_ms: int, calls: int = 1) -> None:
    """Note that calls have ended that were not throttled: the rate may have risen by now."""
    _measure(state, now_ms, calls)
    if state.rate is None:
        return
    _fill(state, policy, now_ms)
    ceiling = max(2 * _measured(state), _micro(policy.min_per_s))
    state.rate = _bounded(min(_curve(state, policy, now_ms), ceiling), policy)


def throttled(
    state: AdaptiveRate,
    policy: RatePolicy,
    admitted_at_ms: int,
    now_ms: int,
    retry_after_ms: int = 0,
) -> bool:
    """Note that the downstream has refused a call because there were too many.

    Args:
        state: Is changed.
        policy: By how much to cut.
        admitted_at_ms: When the call was let pass.
        now_ms: Unix time.
        retry_after_ms: For how long the downstream asked not to be called; 0: it did not.

    Returns:
        Whether the rate was cut; not when the call was let pass before the last cut.
    """
    _measure(state, now_ms)
    until_ms = now_ms + min(max(0, retry_after_ms), _LONGEST_PAUSE_MS)
    if until_ms > now_ms:
        state.shut_until_ms = max(state.shut_until_ms, until_ms)
    if state.rate is not None and admitted_at_ms <= state.throttled_at_ms:
        return False
    if state.rate is None:
        rate = _measured(state)
        state.filled_at_ms = now_ms
    else:
        _fill(state, policy, now_ms)
        rate = min(state.rate, _measured(state))
    state.before = max(rate, _micro(policy.min_per_s))
    state.throttled_at_ms = now_ms
    state.rate = _bounded(int(state.before * policy.decrease), policy)
    state.tokens = min(state.tokens, _capacity(state.rate, policy))
    return True


def cube_root(number: int) -> int:
    """Return the largest integer whose cube is at most ``number``, which is not negative."""
    if number == 0:
        return 0
    root = 1 << -(-number.bit_length() // 3)
    while True:
        better = (2 * root + number // (root * root)) // 3
        if better >= root:
            return root
        root = better


def _curve(state: AdaptiveRate, policy: RatePolicy, now_ms: int) -> int:
    """Return C (t - k)^3 + before, k being when the curve is back at ``before``."""
    scaling = round(policy.scaling * 1_000)
    lost = state.before - int(state.before * policy.decrease)
    # In ms: k^3 = lost / C seconds cubed; lost is in millionths, C in thousandths.
    back_ms = cube_root(lost * 1_000 * 1_000_000_000 // (scaling * MICRO))
    elapsed_ms = min(max(0, now_ms - state.throttled_at_ms), back_ms + _LONGEST_CURVE_MS)
    beyond_ms = elapsed_ms - back_ms
    # A cube of milliseconds is 10^-9 cubed seconds, so C of it is 10^-12, in millionths 10^-6.
    return max(0, state.before + scaling * beyond_ms**3 // 1_000_000)


def _fill(state: AdaptiveRate, policy: RatePolicy, now_ms: int) -> None:
    assert state.rate is not None
    elapsed_ms = max(0, now_ms - state.filled_at_ms)
    state.filled_at_ms = max(state.filled_at_ms, now_ms)
    gained = state.rate * elapsed_ms // 1_000
    state.tokens = min(_capacity(state.rate, policy), state.tokens + gained)


def _measure(state: AdaptiveRate, now_ms: int, calls: int = 1) -> None:
    """Count calls that have ended, in half seconds."""
    state.slot_calls += calls
    begins_ms = now_ms - now_ms % _MEASURE_MS
    if state.slot_ms == 0:
        state.slot_ms = begins_ms
    elapsed_ms = begins_ms - state.slot_ms
    if elapsed_ms <= 0:
        return
    latest = state.slot_calls * MICRO * 1_000 // elapsed_ms
    state.measured = (_NEWEST_PERCENT * latest + (100 - _NEWEST_PERCENT) * state.measured) // 100
    state.slot_ms, state.slot_calls = begins_ms, 0


def _measured(state: AdaptiveRate) -> int:
    """Return the measured rate; before the first half second is over, what it has so far."""
    return state.measured or state.slot_calls * MICRO * 1_000 // _MEASURE_MS


def _capacity(rate: int, policy: RatePolicy) -> int:
    return max(MICRO, rate * policy.burst_ms // 1_000)


def _bounded(rate: int, policy: RatePolicy) -> int:
    most = _MOST_RATE if policy.max_per_s is None else _micro(policy.max_per_s)
    return max(_micro(policy.min_per_s), min(rate, most))


def _micro(per_s: float) -> int:
    return max(1, round(per_s * MICRO))
