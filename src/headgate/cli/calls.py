"""Reading recorded calls from CSV, with errors that name the line and say what to write instead."""

import csv
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from headgate.model.breaker import CallOutcome
from headgate.model.contract import Name
from headgate.model.errors import ConfigurationError
from headgate.simulate.calls import Call

CALL_COLUMNS: Final = ("at_ms", "downstream", "outcome", "duration_ms")
TRACE_COLUMNS: Final = ("submitted_at", "downstream", "outcome", "duration_s")

Row = dict[str, str]
Read = TypeVar("Read")
Watch = Callable[[Iterable[str]], Iterable[str]]
"""Passes the lines of a file on, and may show how far it has come."""

_NAME: Final = TypeAdapter[str](Name)
_OUTCOMES: Final = tuple(outcome.value for outcome in CallOutcome)
_LATEST_MS: Final = 253_402_300_799_000  # the end of the year 9999
_LONGEST_MS: Final = 31 * 86_400_000


def read_calls(file: Path, watch: Watch = iter) -> list[Call]:
    """Read recorded calls in the order of time; those that began together as in the file.

    Args:
        file: CSV with the columns of ``CALL_COLUMNS``, or of ``TRACE_COLUMNS``, in any order;
            others are left aside.
        watch: Sees each line.

    Raises:
        ConfigurationError: The file cannot be used; with the line, and what to write instead.
    """
    known: dict[str, str] = {}

    def call(row: Row) -> Call:
        # Names repeat: each is checked once, and kept once.
        name = row["downstream"]
        downstream = known.get(name) or known.setdefault(name, name_in(row, "downstream"))
        outcome = CallOutcome(one_of(row, "outcome", _OUTCOMES))
        if "at_ms" in row:
            at_ms = _number(row, "at_ms", _LATEST_MS, "milliseconds since 1970")
            duration_ms = _number(row, "duration_ms", _LONGEST_MS, "milliseconds")
            return Call(at_ms, downstream, outcome, duration_ms)
        duration_ms = seconds_in(row, "duration_s", _LONGEST_MS // 1000)
        return Call(time_in(row, "submitted_at"), downstream, outcome, duration_ms)

    calls = read_rows(file, "a file of calls", (CALL_COLUMNS, TRACE_COLUMNS), call, watch)
    if not calls:
        raise ConfigurationError(f"{file}: there is no call in it")
    calls.sort(key=lambda call: call.at_ms)
    return calls


def read_rows(
    file: Path,
    what: str,
    forms: Iterable[tuple[str, ...]],
    read: Callable[[Row], Read],
    watch: Watch = iter,
) -> list[Read]:
    """Read each row of a CSV file whose columns are at least those of one of the forms.

    Args:
        file: CSV in UTF-8; its first line names the columns.
        what: What it is, in words.
        forms: Columns, in any order. A row that is read has those of the first form that fits.
        read: Makes something of a row; raises ValueError to say what is wrong with it.
        watch: Sees each line.

    Raises:
        ConfigurationError: The file cannot be used; with the line, and what to write instead.
    """
    forms = tuple(forms)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(watch(lines))
            header = [name.strip() for name in next(reader, [])]
            form = next((form for form in forms if set(form) <= set(header)), None)
            if form is None:
                raise ConfigurationError(_advice_on_header(file, header, what, forms))
            places = [(name, header.index(name)) for name in form]
            found: list[Read] = []
            for cells in reader:
                if not cells:
                    continue
                if len(cells) > len(header):
                    raise ConfigurationError(
                        f"{file}:{reader.line_num}: {len(cells)} cells, but the first line names "
                        f"{len(header)} columns; put a cell with a comma in it in double quotes"
                    )
                row = {name: cells[at].strip() if at < len(cells) else "" for name, at in places}
                try:
                    found.append(read(row))
                except ValueError as error:
                    raise ConfigurationError(f"{file}:{reader.line_num}: {error}") from None
            return found
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: cannot be read: it is not UTF-8 text") from error
    except csv.Error as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from error


# What stands in a cell -------------------------------------------------------------------------


def time_in(row: Row, column: str) -> int:
    """Return a time in Unix milliseconds; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(row[column])
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        at_ms = int(time.timestamp() * 1000)
    except (ValueError, OverflowError):
        at_ms = -1
    if at_ms < 0:
        raise ValueError(
            f"{column} is {row[column]!r}; write a time such as 2024-11-20T22:00:00Z, after 1970"
        )
    return at_ms


def name_in(row: Row, column: str) -> str:
    """Return a name."""
    try:
        return _NAME.validate_python(row[column])
    except ValidationError:
        raise ValueError(
            f"{column} is {row[column]!r}; write letters, digits and . _ : @ / + - (at most 200)"
        ) from None


def one_of(row: Row, column: str, words: tuple[str, ...]) -> str:
    """Return one of the words."""
    if row[column] not in words:
        choice = f"{', '.join(words[:-1])} or {words[-1]}"
        raise ValueError(f"{column} is {row[column]!r}; write {choice}")
    return row[column]


def seconds_in(row: Row, column: str, below_s: int) -> int:
    """Return seconds as milliseconds."""
    try:
        seconds = float(row[column])
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < below_s:
        raise ValueError(f"{column} is {row[column]!r}; write seconds, from 0 to below {below_s}")
    return round(seconds * 1000)


def _number(row: Row, column: str, at_most: int, of_what: str) -> int:
    try:
        number = float(row[column])
    except ValueError:
        number = -1.0
    if not 0 <= number <= at_most:
        raise ValueError(
            f"{column} is {row[column]!r}; write {of_what}, from 0 to {at_most}, as a number"
        )
    return round(number)


def _advice_on_header(
    file: Path, header: list[str], what: str, forms: tuple[tuple[str, ...], ...]
) -> str:
    """Say which column is missing of the form that is nearest to what is there."""
    nearest = max(forms, key=lambda form: len(set(form) & set(header)))
    missing = next(name for name in nearest if name not in header)
    columns = ", or ".join(", ".join(form) for form in forms)
    return f"{file}:1: column {missing!r} is missing; {what} needs {columns}"
