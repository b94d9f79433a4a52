"""What the end of a call says about the health of its downstream."""

import asyncio
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError, CancelledError

from headgate.gate.classify import classify_error, classify_result, retry_after_ms
from headgate.gate.outcomes import Ended, Outcomes
from headgate.model.breaker import CallOutcome
from headgate.model.outcomes import OutcomeRules

SUCCESS, FAILURE, IGNORED = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.IGNORED
NONE = OutcomeRules()


class HttpError(Exception):
    """As HTTP clients raise them: with a response, which has a status and headers."""

    def __init__(self, status: Any, headers: Any = None) -> None:
        self.response = SimpleNamespace(status_code=status, headers=headers or {})


class StatusError(Exception):
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class ScanError(Exception):
    pass


class InfectedError(ScanError):
    pass


class Hostile:
    """Whatever is asked of it, it raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} for you")


class HostileError(Exception):
    @property
    def response(self) -> Any:
        raise RuntimeError("the session is closed")

    @property
    def status(self) -> Any:
        raise RuntimeError("the session is closed")


# Built-in rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, FAILURE) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
        *((status, IGNORED) for status in (400, 401, 403, 404, 409, 422, 499)),
        *((status, FAILURE) for status in (100, 200, 301, 600, 99, 0, -404, None, "404", True)),
    ],
)
def test_the_status_of_a_response_says_who_was_wrong(status: Any, outcome: CallOutcome) -> None:
    assert classify_error(HttpError(status), NONE) is outcome


@pytest.mark.parametrize(
    "error",
    [
        StatusError(status_code=404),
        StatusError(status=404),
        StatusError(response={"status_code": 404}),
        StatusError(response={"status": 404}),
        StatusError(status="gone", response=SimpleNamespace(status_code=404)),
        StatusError(status_code=None, status=404),
    ],
)
def test_a_status_is_found_wherever_clients_put_it(error: Exception) -> None:
    assert classify_error(error, NONE) is IGNORED


@pytest.mark.parametrize("error", [ValueError(), TimeoutError(), ApplicationError("x")])
def test_any_other_exception_is_a_failure(error: Exception) -> None:
    assert classify_error(error, NONE) is FAILURE


@pytest.mark.parametrize("error", [asyncio.CancelledError(), CancelledError()])
def test_a_cancellation_says_nothing(error: BaseException) -> None:
    assert classify_error(error, NONE) is IGNORED


# Rules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "InfectedError",
        "ScanError",
        "Exception",
        f"{__name__}.InfectedError",
        f"{__name__}.ScanError",
        "builtins.Exception",
    ],
)
def test_an_exception_goes_by_its_name_and_those_of_its_bases(name: str) -> None:
    assert classify_error(InfectedError(), OutcomeRules(success=[name])) is SUCCESS
    assert classify_error(InfectedError(), OutcomeRules(ignored=[name])) is IGNORED


def test_a_name_is_not_matched_in_part_nor_by_a_subclass() -> None:
    for name in ("Infected", "infectederror", "other.InfectedError", "OSError"):
        assert classify_error(InfectedError(), OutcomeRules(ignored=[name])) is FAILURE
    assert classify_error(ScanError(), OutcomeRules(ignored=["InfectedError"])) is FAILURE


def test_an_application_error_goes_by_its_type() -> None:
    error = ApplicationError("clean me", type="Infected")
    assert classify_error(error, OutcomeRules(success=["Infected"])) is SUCCESS
    assert classify_error(error, OutcomeRules(ignored=["ApplicationError"])) is IGNORED
    assert classify_error(ApplicationError("x"), OutcomeRules(success=["Infected"])) is FAILURE


def test_a_status_or_its_class_may_be_named() -> None:
    assert classify_error(HttpError(404), OutcomeRules(failure=["404"])) is FAILURE
    assert classify_error(HttpError(404), OutcomeRules(failure=["4xx"])) is FAILURE
    assert classify_error(HttpError(503), OutcomeRules(ignored=["5xx"])) is IGNORED
    assert classify_error(HttpError(503), OutcomeRules(ignored=["502", "4xx"])) is FAILURE


def test_a_cancellation_may_be_named_too() -> None:
    rules = OutcomeRules(failure=["CancelledError"])
    assert classify_error(asyncio.CancelledError(), rules) is FAILURE


def test_where_several_rules_fit_the_mildest_holds() -> None:
    everywhere = ["InfectedError"]
    rules = OutcomeRules(success=everywhere, failure=everywhere, ignored=everywhere)
    assert classify_error(InfectedError(), rules) is IGNORED
    rules = OutcomeRules(success=everywhere, failure=everywhere)
    assert classify_error(InfectedError(), rules) is SUCCESS


# Results -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [None, 503, "503", {"status": 503}, SimpleNamespace(status=500)])
def test_a_call_that_returns_succeeds(result: object) -> None:
    assert classify_result(result, NONE) is SUCCESS


@pytest.mark.parametrize(
    "result",
    [
        {"status": 503},
        {"status_code": 503},
        {"status": "done", "response": 1, "status_code": 503},
        SimpleNamespace(status=503),
        SimpleNamespace(status_code=503),
        SimpleNamespace(response=SimpleNamespace(status=503)),
    ],
)
def test_a_result_goes_by_its_status_where_rules_name_it(result: object) -> None:
    assert classify_result(result, OutcomeRules(failure=["503"])) is FAILURE
    assert classify_result(result, OutcomeRules(failure=["5xx"])) is FAILURE
    assert classify_result(result, OutcomeRules(ignored=["5xx"])) is IGNORED
    assert classify_result(result, OutcomeRules(failure=["404"])) is SUCCESS


def test_what_raises_when_it_is_looked_at_does_not_fail_the_call() -> None:
    rules = OutcomeRules(failure=["5xx"], ignored=["404"])
    assert classify_result(Hostile(), rules) is SUCCESS
    assert classify_error(HostileError(), rules) is FAILURE
    assert retry_after_ms(HostileError()) == 0


# Retry-After -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("120", 120_000),
        (" 120 ", 120_000),
        ("0.5", 500),
        ("0", 0),
        ("-5", 0),
        ("nan", 0),
        ("inf", 86_400_000),
        ("-inf", 0),
        ("1e400", 86_400_000),
        ("9" * 400, 86_400_000),
        ("", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 86_400_000),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2030 07:28:00 +99999999999999999999", 0),
        (None, 0),
        (b"120", 0),
    ],
)
def test_seconds_are_understood_and_nonsense_is_none(value: Any, ms: int) -> None:
    assert retry_after_ms(HttpError(503, {"Retry-After": value})) == ms
    assert retry_after_ms(HttpError(503, {"retry-after": value})) == ms


def test_a_date_is_understood() -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)
    for text in (format_datetime(at, usegmt=True), format_datetime(at.replace(tzinfo=None))):
        assert 97_000 <= retry_after_ms(HttpError(503, {"Retry-After": text})) <= 100_000


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_stands_there_it_is_a_sensible_time(value: str) -> None:
    assert 0 <= retry_after_ms(HttpError(503, {"Retry-After": value})) <= 86_400_000


@given(
    st.integers(0, 10**30),
    st.integers(0, 10**30),
    st.sampled_from(["GMT", "+0200", "-9999", "+9999"]),
)
@settings(max_examples=200, deadline=None)
def test_a_date_of_any_size_is_a_sensible_time(day: int, year: int, zone: str) -> None:
    text = f"Wed, {day} Oct {year} 07:28:00 {zone}"
    assert 0 <= retry_after_ms(HttpError(503, {"Retry-After": text})) <= 86_400_000


def test_the_header_is_found_where_urllib_has_it() -> None:
    headers = Message()
    headers["retry-after"] = "7"
    error = urllib.error.HTTPError("http://x", 503, "busy", headers, None)
    assert retry_after_ms(error) == 7_000
    assert classify_error(error, NONE) is FAILURE


@pytest.mark.parametrize(
    ("delay", "ms"),
    [
        (timedelta(seconds=3), 3_000),
        (timedelta(seconds=-3), 0),
        (timedelta.max, 86_400_000),
        (timedelta.min, 0),
    ],
)
def test_an_application_error_may_name_its_next_delay(delay: timedelta, ms: int) -> None:
    assert retry_after_ms(ApplicationError("later", next_retry_delay=delay)) == ms


@pytest.mark.parametrize(
    "error", [ValueError(), ApplicationError("x"), HttpError(503), StatusError(response=None)]
)
def test_who_names_no_time_gets_none(error: Exception) -> None:
    assert retry_after_ms(error) == 0


def test_the_longest_time_fits_in_a_report() -> None:
    outcomes = Outcomes()
    wait_ms = retry_after_ms(ApplicationError("x", next_retry_delay=timedelta.max))
    outcomes.add(Ended(FAILURE, 5, wait_ms), 0, 1_700_000_000_000, slow=False)
    outcomes.add(Ended(FAILURE, 5, 10), 0, 1_700_000_060_000, slow=True)
    [bucket], _ = outcomes.take()
    assert (bucket.retry_after_ms, bucket.slow, bucket.duration_ms) == (86_340_000, 1, 10)
    assert not outcomes


def test_a_success_ends_the_row_of_failures_of_a_bucket() -> None:
    outcomes = Outcomes()
    for outcome in (FAILURE, FAILURE, SUCCESS, FAILURE, IGNORED):
        outcomes.add(Ended(outcome), 0, 1_700_000_000_000, slow=False)
    [bucket], _ = outcomes.take()
    assert (bucket.successes, bucket.failures, bucket.ignored) == (1, 3, 1)
    assert bucket.trailing_failures == 1
