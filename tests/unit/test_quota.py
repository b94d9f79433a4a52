from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headgate.model.ledger import Acquire, Exchange
from headgate.model.pool import Share
from headgate.model.quota import Quota, QuotaChanges, Rate
from headgate.model.reason import ReasonCode


@pytest.mark.parametrize(
    ("text", "limit", "period_ms"),
    [
        ("10/s", 10, 1_000),
        ("600/m", 600, 60_000),
        ("50/h", 50, 3_600_000),
        (" 1000 / d ", 1_000, 86_400_000),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, limit: int, period_ms: int) -> None:
    assert Rate.model_validate(text) == Rate(limit=limit, period_ms=period_ms)


@pytest.mark.parametrize("text", ["10/x", "10", "/s", "-1/s", "1.5/s", "10/s/s", "", "ten/s"])
def test_a_text_that_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a rate: write it like 10/s") as caught:
        Rate.model_validate(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("rate", ["0/s", {"limit": 0, "period_ms": 1}, {"limit": 1}])
def test_a_rate_of_nothing_is_refused(rate: Any) -> None:
    with pytest.raises(ValidationError):
        Rate.model_validate(rate)


@given(
    limit=st.integers(1, 10**9 - 1),
    period_ms=st.one_of(
        st.sampled_from([1_000, 60_000, 3_600_000, 86_400_000]), st.integers(1, 86_400_000)
    ),
)
def test_a_rate_survives_json(limit: int, period_ms: int) -> None:
    rate = Rate(limit=limit, period_ms=period_ms)
    assert Rate.model_validate_json(rate.model_dump_json()) == rate
    quota = Quota(rate=rate)
    assert Quota.model_validate_json(quota.model_dump_json()) == quota


def test_the_highest_rate_survives_json() -> None:
    rate = Rate(limit=10**9, period_ms=1_000)
    assert Rate.model_validate_json(rate.model_dump_json()) == rate


def test_a_rate_is_shown_as_it_is_written() -> None:
    assert str(Rate.model_validate("600/m")) == "600/m"
    assert Rate.model_validate("600/m").model_dump_json() == '"600/m"'
    assert str(Rate(limit=3, period_ms=7)) == "3 per 7 ms"


@pytest.mark.parametrize(
    ("quota", "burst"),
    [
        ({"rate": "10/s"}, 10),
        ({"rate": "600/m"}, 10),
        ({"rate": "90/m"}, 1),
        ({"rate": "50/h"}, 1),
        ({"rate": {"limit": 5, "period_ms": 100}}, 5),
        ({"rate": "10/s", "burst": 3}, 3),
        ({"rate": "1/s", "burst": 100}, 100),
        ({}, 0),
    ],
)
def test_the_burst_is_a_second_of_the_rate_unless_said(quota: dict[str, Any], burst: int) -> None:
    assert Quota.model_validate(quota).effective_burst == burst


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        ({"max_active": -1}, "greater than or equal to 0"),
        ({"max_hold_ms": 0}, "greater than or equal to 100"),
        ({"burst": 0, "rate": "1/s"}, "greater than or equal to 1"),
        ({"burst": 5}, "burst without rate limits nothing: add a rate such as 10/s"),
        ({"rate": "10/x"}, "'10/x' is not a rate"),
        ({"max_activ": 5}, "Extra inputs are not permitted"),
        ({"max_active": 1.5}, "valid integer"),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(quota: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Quota.model_validate(quota)
    assert said in str(caught.value)


def test_a_quota_of_nothing_is_a_quota() -> None:
    assert Quota(max_active=0).max_active == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": 0},
        {"units": -1},
        {"resource": ""},
        {"resource": "a b"},
        {"wait_until_ms": -1},
        {"id": ""},
        {"priority": 1_001},
        {"holder": {"workflow_id": ""}},
    ],
)
def test_an_acquire_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    acquire = {"id": "a", "holder": {"workflow_id": "job"}, "resource": "scan", **wrong}
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Acquire.model_validate(acquire)


def test_an_exchange_has_an_end() -> None:
    with pytest.raises(ValidationError, match="at most 500"):
        Exchange(gate="g", releases=["a"] * 501)


def test_a_quota_says_all_that_a_tenant_may() -> None:
    quota = Quota.model_validate(
        {
            "max_active": 20,
            "per_month": 1_000,
            "time_zone": "Europe/Berlin",
            "guaranteed": 5,
            "borrow_limit": 10,
            "lend_limit": 2,
            "weight": 2.5,
            "priority": 3,
            "reservations": [{"days": ["mon"], "begin": "18:00", "end": "02:00", "guaranteed": 8}],
        }
    )
    assert quota.share == Share(
        weight=2.5, priority=3, guaranteed=5, borrow_limit=10, lend_limit=2, maximum=20
    )
    assert Quota.model_validate_json(quota.model_dump_json()) == quota


@pytest.mark.parametrize(
    ("quota", "said"),
    [
        ({"time_zone": "Europe/Berlyn"}, "'Europe/Berlyn' is not a time zone .* Europe/Berlin"),
        ({"time_zone": "../etc/passwd"}, "is not a time zone"),
        ({"time_zone": ""}, "is not a time zone"),
        ({"guaranteed": 5, "max_active": 4}, "could never be held; raise max_active or lower"),
        ({"guaranteed": 5, "lend_limit": 6}, "only what is guaranteed can be lent"),
        ({"weight": -1}, "greater than or equal to 0"),
        ({"weight": float("nan")}, "finite number"),
        ({"weight": float("inf")}, "(finite|less than)"),
        ({"paused": ""}, "at least 1 character"),
        ({"per_day": -1}, "greater than or equal to 0"),
        ({"reservations": [{"begin": "18:00", "end": "20:00"}]}, "changes nothing: add one"),
        (
            {"reservations": [{"begin": "6pm", "end": "20:00", "max_active": 1}]},
            "'6pm' is not a time of day: write it like 18:00",
        ),
        (
            {"reservations": [{"begin": "18:00", "end": "24:00", "max_active": 1}]},
            "is not a time of day",
        ),
        (
            {"reservations": [{"days": [], "begin": "18:00", "end": "20:00", "max_active": 1}]},
            "at least 1 item",
        ),
        (
            {
                "max_active": 4,
                "reservations": [
                    {"days": ["sat", "sun"], "begin": "18:00", "end": "20:00", "guaranteed": 5}
                ],
            },
            "18:00 to 20:00 on sat, sun guarantees 5, but max_active is 4",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(
    quota: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Quota.model_validate(quota)


def test_changes_know_what_was_said_and_what_was_not() -> None:
    changes = QuotaChanges.model_validate({"max_active": None, "rate": "5/s"})
    assert changes.values == {"max_active": None, "rate": Rate(limit=5, period_ms=1_000)}
    assert changes.model_dump_json() == '{"max_active":null,"rate":"5/s"}'
    assert QuotaChanges.model_validate_json(changes.model_dump_json()).values == changes.values


def test_reasons_are_ranked_as_people_were_promised() -> None:
    promised = [
        "unknown_tenant", "suspended", "forced_open", "can_never_fit", "breaker_open",
        "probes_busy", "rate", "window", "quota_used_up", "pool_used_up", "queued",
    ]  # fmt: skip
    assert [code for code in ReasonCode if code in promised] == promised
