"""What the end of a call says about the health of its downstream."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Final

from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as TimedOut

from headgate.model.breaker import CallOutcome
from headgate.model.outcomes import OutcomeRules

_TRY_LATER: Final = frozenset({408, 425, 429})
_OVERLOADS: Final = frozenset({429, 503, 529})
_MAX_RETRY_AFTER_S: Final = 86_400


def classify_error(error: BaseException, rules: OutcomeRules) -> CallOutcome:
    """Return what an exception says.

    The names of its types (with or without module), the ``type`` of an ``ApplicationError`` and
    the HTTP status that it carries are looked up in ``rules``; then the built-in rules apply.
    """
    status = _status(error)
    if (listed := _listed(_names(error), status, rules)) is not None:
        return listed
    if isinstance(error, asyncio.CancelledError | CancelledError):
        # The job was cancelled: that says nothing about the downstream.
        return CallOutcome.IGNORED
    if status is not None and 400 <= status < 500 and status not in _TRY_LATER:
        return CallOutcome.IGNORED
    return CallOutcome.FAILURE


def classify_result(result: object, rules: OutcomeRules) -> CallOutcome:
    """Return what a returned value says: by its HTTP status, where it has one and rules name it."""
    if not rules.ignored and not rules.failure:
        return CallOutcome.SUCCESS
    return _listed(set(), _status(result), rules) or CallOutcome.SUCCESS


def is_overload(error: BaseException) -> bool:
    """Return whether an exception says that the downstream had too much to do.

    HTTP statuses 429, 503 and 529 do, and timeouts.
    """
    if isinstance(error, TimeoutError | TimedOut):
        return True
    return _status(error) in _OVERLOADS or type(error).__name__.endswith(
        ("Timeout", "TimeoutError")
    )


def retry_after_ms(error: BaseException) -> int:
    """Return for how long the downstream asked not to be called, 0 when it did not.

    Taken from a ``Retry-After`` header (seconds or a date) of the response that the exception
    carries, or the ``next_retry_delay`` of an ``ApplicationError``.
    """
    if isinstance(error, ApplicationError) and error.next_retry_delay is not None:
        seconds = error.next_retry_delay.total_seconds()
    else:
        response = _part(error, "response")
        seconds = _retry_after_s(_part(error if response is None else response, "headers"))
    if math.isnan(seconds):
        return 0
    return int(max(0.0, min(seconds, _MAX_RETRY_AFTER_S)) * 1000)


def _retry_after_s(headers: object) -> float:
    if not isinstance(headers, Mapping | Message):  # the latter is what urllib has
        return 0.0
    value = headers.get("Retry-After", headers.get("retry-after"))
    if not isinstance(value, str):
        return 0.0
    with suppress(ValueError):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
        return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0


def _part(holder: object, name: str) -> object:
    """Return an attribute or None; one that raises is none of our business."""
    with suppress(Exception):
        return getattr(holder, name, None)
    return None


def _listed(names: set[str], status: int | None, rules: OutcomeRules) -> CallOutcome | None:
    """Return what the rules say; what they name exactly counts before a class such as ``4xx``."""
    exact = names if status is None else names | {str(status)}
    of_class = set() if status is None else {f"{status // 100}xx"}
    for found in (exact, of_class):
        for outcome, listed in (
            (CallOutcome.IGNORED, rules.ignored),
            (CallOutcome.SUCCESS, rules.success),
            (CallOutcome.FAILURE, rules.failure),
        ):
            if not found.isdisjoint(listed):
                return outcome
    return None


def _names(error: BaseException) -> set[str]:
    names = set()
    for kind in type(error).__mro__:
        names |= {kind.__name__, f"{kind.__module__}.{kind.__qualname__}"}
    if isinstance(error, ApplicationError) and error.type:
        names.add(error.type)
    return names


def _status(value: object) -> int | None:
    """Return the HTTP status of an exception, a response or a result that carries one."""
    for holder in (value, _part(value, "response")):
        for name in ("status_code", "status"):
            found = holder.get(name) if isinstance(holder, Mapping) else _part(holder, name)
            if isinstance(found, int) and not isinstance(found, bool) and 100 <= found < 600:
                return int(found)
    return None
