"""What the policies of limits refuse, and how they say it."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from headgate.model.configuration import Pool
from headgate.model.limits import CallSummary, LimitPolicy

SECTION = {
    "max_in_flight": 50,
    "concurrency": {"min": 2, "max": 40, "initial": 5},
    "rate": {"min_per_s": 1, "max_per_s": 100},
}
OF_POOLS = {
    "resource": "scan",
    "capacity": 40,
    "backpressure": {"waiting": {"elevated": 10, "saturated": 20}},
    "shedding": {"min_flow": 0.2},
}


def test_a_section_of_a_file_is_read_and_written_back() -> None:
    policy = LimitPolicy.model_validate(SECTION)
    assert policy.concurrency is not None
    assert policy.concurrency.algorithm == "arc"
    assert LimitPolicy.model_validate_json(policy.model_dump_json()) == policy
    assert LimitPolicy().concurrency is None
    pool = Pool.model_validate(OF_POOLS)
    assert Pool.model_validate_json(pool.model_dump_json()) == pool


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"concurrency": {"min": 9, "max": 5}}, "min (9) is above max (5)"),
        ({"concurrency": {"min": 1, "max": 5, "initial": 6}}, "initial (6) is not between min (1)"),
        ({"concurrency": {"min": 0}}, "greater than or equal to 1"),
        ({"concurrency": {"decrease": math.nan}}, "finite number"),
        ({"concurrency": {"decrease": 1.0}}, "less than or equal to 0.99"),
        ({"concurrency": {"smoothing": -0.1}}, "greater than or equal to 0.01"),
        ({"concurrency": {"slowdown": math.inf}}, "finite number"),
        ({"concurrency": {"algorithm": "vegas"}}, "'arc' or 'aimd'"),
        ({"concurrency": {"maximum": 5}}, "Extra inputs are not permitted"),
        ({"max_in_flight": -1}, "greater than or equal to 1"),
        ({"max_in_flight": 3, "concurrency": {"min": 4}}, "above max_in_flight (3)"),
        ({"rate": {"min_per_s": 9, "max_per_s": 5}}, "min_per_s (9) is above max_per_s (5)"),
        ({"rate": {"min_per_s": math.nan}}, "finite number"),
        ({"rate": {"min_per_s": 0}}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LimitPolicy.model_validate(section)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"backpressure": {"waiting": {"elevated": 20, "emergency": 20}}},
            "elevated (20) is not below emergency (20)",
        ),
        ({"backpressure": {"fall_ratio": 1.0}}, "less than 1"),
        ({"backpressure": {"slots": {"elevated": -1}}}, "greater than 0"),
        ({"shedding": {"elevated": 1, "saturated": 2}}, "must not rise"),
        ({"shedding": {"min_flow": math.nan}}, "min_flow"),
    ],
)
def test_so_is_what_makes_none_for_a_pool(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Pool.model_validate(OF_POOLS | section)
    assert said in str(caught.value)


@pytest.mark.parametrize("field", ["calls", "duration_ms", "squares", "overloads", "epoch"])
def test_a_summary_with_negative_numbers_is_refused(field: str) -> None:
    with pytest.raises(ValidationError):
        CallSummary.model_validate({"gate": "g", "seq": 1, "epoch": 0, field: -1})
