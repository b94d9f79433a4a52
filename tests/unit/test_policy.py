from typing import Any

import pytest
from pydantic import ValidationError

from headgate.model.breaker import BreakerCommand, OutcomeBucket, Report
from headgate.model.outcomes import OutcomeRules
from headgate.model.policy import BreakerPolicy, CountWindow, TimeWindow


def refusal(**policy: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        BreakerPolicy(**policy)
    return str(caught.value)


def test_the_default_policy_is_valid_and_survives_json() -> None:
    policy = BreakerPolicy()
    assert BreakerPolicy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"failure_rate": 1.5}, "less than or equal to 1"),
        ({"failure_rate": 0}, "greater than 0"),
        ({"failure_rate": float("nan")}, "failure_rate"),
        ({"min_calls": -1}, "greater than or equal to 1"),
        ({"consecutive_failures": 0}, "greater than or equal to 1"),
        ({"open_ms": -5}, "greater than or equal to 10"),
        ({"probes": 0}, "greater than or equal to 1"),
        ({"probes": 1_001}, "less than or equal to 1000"),
        ({"close_at": 0}, "greater than 0"),
        ({"window": {"kind": "time", "seconds": 0}}, "window.time.seconds"),
        ({"window": {"kind": "time", "size": 10}}, "window.time.size"),
        ({"window": {"kind": "count", "size": 0}}, "window.count.size"),
        ({"window": {"kind": "count", "size": 10_001}}, "less than or equal to 10000"),
        ({"window": {"kind": "moon"}}, "'time', 'count'"),
        ({"slow_call_ms": 0}, "greater than or equal to 1"),
        ({"slow_call_rate": 1.01}, "less than or equal to 1"),
        ({"quorum": 0}, "greater than or equal to 1"),
        ({"open_factor": 0.9}, "greater than or equal to 1"),
        ({"open_factor": float("inf")}, "less than or equal to 100"),
        ({"open_jitter": 0.6}, "less than or equal to 0.5"),
        ({"open_jitter": -0.1}, "greater than or equal to 0"),
        ({"ramp_ms": -1}, "greater than or equal to 0"),
        ({"ramp_start": 0}, "greater than 0"),
        ({"ramp_start": 1.1}, "less than or equal to 1"),
        ({"min_calls": "many"}, "valid integer"),
        ({"failure_rat": 0.5}, "Extra inputs are not permitted"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(policy: dict[str, Any], said: str) -> None:
    message = refusal(**policy)
    assert said in message
    assert next(iter(policy)) in message


def test_a_probe_may_not_outlast_half_open() -> None:
    message = refusal(probe_deadline_ms=5_000, half_open_max_ms=1_000)
    assert "probe_deadline_ms (5000) is longer than half_open_max_ms (1000)" in message
    assert "lower the first or raise the second" in message


def test_an_open_time_above_the_limit_is_the_limit() -> None:
    assert BreakerPolicy(open_ms=5_000, open_max_ms=1_000).longest_open_ms == 5_000
    assert BreakerPolicy(open_ms=1_000, open_max_ms=5_000).longest_open_ms == 5_000


def test_a_window_survives_json_in_either_form() -> None:
    for window in (TimeWindow(seconds=7), CountWindow(kind="count", size=7)):
        policy = BreakerPolicy(window=window)
        assert BreakerPolicy.model_validate_json(policy.model_dump_json()) == policy


def test_both_rules_may_be_off() -> None:
    policy = BreakerPolicy(failure_rate=None, consecutive_failures=None)
    assert policy.failure_rate is policy.consecutive_failures is None


@pytest.mark.parametrize(
    ("successes", "failures", "trailing"), [(0, 3, 2), (1, 2, 3), (0, 0, 1), (0, 2, 0)]
)
def test_a_bucket_whose_row_does_not_fit_is_refused(
    successes: int, failures: int, trailing: int
) -> None:
    with pytest.raises(ValidationError, match="does not fit"):
        OutcomeBucket(
            at_ms=0, epoch=0, successes=successes, failures=failures, trailing_failures=trailing
        )


def test_more_slow_calls_than_calls_are_refused() -> None:
    with pytest.raises(ValidationError, match="more slow calls than successes and failures"):
        OutcomeBucket(at_ms=0, epoch=0, successes=1, failures=1, trailing_failures=1, slow=3)


@pytest.mark.parametrize(
    "key",
    [
        "at_ms",
        "successes",
        "failures",
        "ignored",
        "rejected",
        "trailing_failures",
        "slow",
        "duration_ms",
        "retry_after_ms",
    ],
)
def test_a_bucket_of_negative_numbers_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        OutcomeBucket.model_validate({"at_ms": 0, "epoch": 0, key: -1})


@pytest.mark.parametrize("wrong", [{"gate": ""}, {"seq": 0}, {"task_queue": ""}])
def test_a_report_of_nobody_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Report.model_validate({"gate": "g", "seq": 1, "task_queue": "q", **wrong})


def test_what_a_newer_gate_adds_to_a_report_is_left_aside() -> None:
    report = Report.model_validate({"gate": "g", "seq": 1, "task_queue": "q", "mood": "good"})
    assert "mood" not in report.model_dump()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"actor": ""},
        {"reason": "x"},
        {"action": "explode"},
        {"for_ms": 999},
        {"for_ms": 366 * 86_400_000},
    ],
)
def test_a_command_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    command = {"id": "1", "action": "force_open", "actor": "ann", "reason": "deploy", **wrong}
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        BreakerCommand.model_validate(command)


@pytest.mark.parametrize("name", ["600", "42", "6xx", "two words", "", "a-b", "4XX"])
def test_an_outcome_rule_that_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="failure"):
        OutcomeRules.model_validate({"failure": [name]})


@pytest.mark.parametrize("name", ["404", "5xx", "TimeoutError", "httpx.ReadTimeout", "_Private"])
def test_an_outcome_rule_names_a_status_or_a_type(name: str) -> None:
    assert OutcomeRules(failure=[name]).failure == [name]
