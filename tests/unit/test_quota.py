from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headgate.model.ledger import Acquire, Exchange
from headgate.model.quota import Quota, Rate


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
