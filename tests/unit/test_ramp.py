"""How a gate lets calls come back along a ramp."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.gate.ramp import Ramp
from headgate.model.breaker import BreakerState, Verdict

NOW_MS = 1_700_000_000_000


def after(rate_per_s: float, for_s: int = 60) -> Ramp:
    """Return a ramp that begins after a time in which so many calls a second had passed."""
    ramp = Ramp()
    for nth in range(int(rate_per_s * for_s)):
        ramp.count(NOW_MS - for_s * 1_000 + int(nth * 1_000 / rate_per_s))
    ramp.begin(NOW_MS)
    return ramp


def verdict(ramp_ms: int, ramp_start: float = 0.1) -> Verdict:
    return Verdict(
        downstream="scanner",
        state=BreakerState.RAMP,
        epoch=1,
        allow="ramp",
        since_ms=NOW_MS,
        until_ms=NOW_MS + ramp_ms,
        ramp_start=ramp_start,
    )


def eager(
    ramp: Ramp, tenants: list[str], ramp_ms: int, every_ms: int, ramp_start: float = 0.1
) -> Counter[str]:
    """Let all tenants ask at every step, one after the other, and return who got what."""
    served, share_at = Counter[str](dict.fromkeys(tenants, 0)), verdict(ramp_ms, ramp_start).share
    for step, now_ms in enumerate(range(NOW_MS, NOW_MS + ramp_ms, every_ms)):
        for nth in range(len(tenants)):
            tenant = tenants[(step + nth) % len(tenants)]
            served[tenant] += ramp.passes(tenant, share_at(now_ms), now_ms)
    return served


@pytest.mark.parametrize("rate_per_s", [1, 5, 40, 200])
def test_the_average_is_the_rate_at_which_calls_have_passed(rate_per_s: int) -> None:
    assert after(rate_per_s).rate_per_s == pytest.approx(rate_per_s, rel=0.1)


def test_the_first_call_passes_and_the_second_waits() -> None:
    ramp = after(0)
    assert ramp.passes("a", 0.1, NOW_MS)
    assert not ramp.passes("a", 0.1, NOW_MS)


@given(
    rate=st.integers(0, 50),
    ramp_s=st.sampled_from([5, 20]),
    every_ms=st.sampled_from([7, 20]),
    crowd=st.integers(1, 6),
    ramp_start=st.sampled_from([0.05, 0.1, 0.5, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_what_passes_is_the_share_of_the_earlier_rate_however_often_the_crowd_asks(
    rate: int, ramp_s: int, every_ms: int, crowd: int, ramp_start: float
) -> None:
    ramp = Ramp(rate_per_s=float(rate))
    ramp.begin(NOW_MS)
    tenants = [f"t{nth}" for nth in range(crowd)]
    passed = eager(ramp, tenants, ramp_s * 1_000, every_ms, ramp_start).total()
    due = max(1, rate) * ramp_s * (1 + ramp_start) / 2
    # A call may be owed at the end, one is given at the beginning, and where a crowd takes turns
    # a burst may wait for the one whose turn it is.
    burst = max(2.0, rate / 2)
    # A step's worth of the last, fastest stretch has not been asked for yet.
    assert due - burst - rate * every_ms / 1_000 - 1 <= passed <= due + 2


@given(
    rate=st.integers(0, 100),
    tenants=st.integers(2, 12),
    every_ms=st.sampled_from([10, 100, 200, 1_000]),
)
@settings(max_examples=60, deadline=None)
def test_equally_eager_tenants_get_alike(rate: int, tenants: int, every_ms: int) -> None:
    ramp = Ramp(rate_per_s=float(rate))
    ramp.begin(NOW_MS)
    names = [f"t{nth}" for nth in range(tenants)]
    served = eager(ramp, names, 30_000, every_ms)
    assert max(served.values()) - min(served.values()) <= 2


@given(
    rate=st.integers(0, 8),  # fewer than they ask for: up to five times a second each
    phases=st.lists(st.integers(0, 1_999), min_size=2, max_size=8, unique=True),
)
@settings(max_examples=50, deadline=None)
def test_tenants_that_ask_again_when_they_are_told_to_get_alike(
    rate: int, phases: list[int]
) -> None:
    ramp, share = Ramp(rate_per_s=float(rate)), verdict(60_000).share
    ramp.begin(NOW_MS)
    served = Counter[str](dict.fromkeys((f"t{phase}" for phase in phases), 0))
    asks = sorted((NOW_MS + phase, f"t{phase}") for phase in phases)
    while asks[0][0] < NOW_MS + 60_000:
        now_ms, tenant = asks.pop(0)
        served[tenant] += ramp.passes(tenant, share(now_ms), now_ms)
        asks = sorted([*asks, (now_ms + ramp.pause_ms(share(now_ms)), tenant)])
    assert max(served.values()) - min(served.values()) <= 3


def test_a_tenant_with_a_thousand_jobs_does_not_crowd_out_one_with_few() -> None:
    ramp, share = Ramp(rate_per_s=20.0), verdict(30_000).share
    ramp.begin(NOW_MS)
    served = Counter[str]()
    for now_ms in range(NOW_MS, NOW_MS + 30_000, 100):
        for _ in range(100):
            served["crowd"] += ramp.passes("crowd", share(now_ms), now_ms)
        served["few"] += ramp.passes("few", share(now_ms), now_ms)
    assert abs(served["crowd"] - served["few"]) <= 2


def test_nobody_waits_for_a_tenant_that_has_stopped_asking() -> None:
    ramp = Ramp(rate_per_s=10.0)
    ramp.begin(NOW_MS)
    for nth in range(20):
        ramp.passes("busy", 1.0, NOW_MS + nth * 100)
    ramp.passes("gone", 1.0, NOW_MS + 2_000)
    passed = sum(ramp.passes("busy", 1.0, NOW_MS + 2_000 + nth * 100) for nth in range(100))
    assert passed >= 90


def test_a_newcomer_does_not_catch_up_on_what_it_never_asked_for() -> None:
    ramp = Ramp(rate_per_s=10.0)
    ramp.begin(NOW_MS)
    for nth in range(200):
        ramp.passes("old", 1.0, NOW_MS + nth * 100)
    served = Counter[str]()
    for nth in range(200, 400):
        for tenant in ("new", "old"):
            served[tenant] += ramp.passes(tenant, 1.0, NOW_MS + nth * 100)
    assert abs(served["new"] - served["old"]) <= 2


@given(
    rate=st.floats(0, 500),
    share=st.floats(0.001, 1),
    asked=st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from("abcdef")), max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_nobody_is_blocked_forever(rate: float, share: float, asked: list[tuple[int, str]]) -> None:
    ramp = Ramp(rate_per_s=rate)
    ramp.begin(NOW_MS)
    now_ms = NOW_MS
    for pause_ms, tenant in asked:
        now_ms += pause_ms
        ramp.passes(tenant, share, now_ms)
    # By then the bucket is full, and all whose turn it is have had time to ask.
    assert ramp.passes("z", share, now_ms + int(3_000 / share) + 3_000)


def test_a_new_ramp_forgets_who_has_had_what() -> None:
    ramp = after(10)
    for nth in range(100):
        ramp.passes("a", 1.0, NOW_MS + nth * 100)
    ramp.begin(NOW_MS + 60_000)
    assert ramp.passes("a", 0.1, NOW_MS + 60_000)


def test_a_clock_that_goes_back_neither_blocks_nor_floods() -> None:
    ramp = Ramp(rate_per_s=10.0, at_ms=NOW_MS)
    ramp.begin(NOW_MS)
    ramp.count(NOW_MS - 3_600_000)
    passed = sum(
        ramp.passes("a", 1.0, NOW_MS - 3_600_000 + at_ms) for at_ms in range(0, 10_000, 100)
    )
    assert 90 <= passed <= 110


@pytest.mark.parametrize(
    ("rate", "share", "pause_ms"), [(0, 0.1, 2_000), (1, 1.0, 1_000), (4, 0.5, 500), (99, 1.0, 200)]
)
def test_the_pause_is_the_time_until_the_next_call_passes(
    rate: float, share: float, pause_ms: int
) -> None:
    assert Ramp(rate_per_s=rate).pause_ms(share) == pause_ms


@pytest.mark.parametrize("rate_per_s", [0.1, 1, 20])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_throttle_cuts_to_its_share_of_what_there_was(rate_per_s: float, share: float) -> None:
    ramp = after(rate_per_s, for_s=600)
    ramp.begin(NOW_MS)
    passed, for_ms = 0, 1_800_000
    for now_ms in range(NOW_MS, NOW_MS + for_ms, 50):
        passed += ramp.passes("crowd", share, now_ms, rising=False)
    assert passed == pytest.approx(rate_per_s * share * for_ms / 1_000, rel=0.25)


def test_a_process_that_knows_no_rate_lets_a_call_pass_now_and_then_under_a_throttle() -> None:
    ramp = Ramp()
    ramp.begin(NOW_MS)
    at_ms = range(NOW_MS, NOW_MS + 60_000, 1_000)
    passed = sum(ramp.passes("one", 0.5, now_ms, rising=False) for now_ms in at_ms)
    assert passed == pytest.approx(30, abs=2)
