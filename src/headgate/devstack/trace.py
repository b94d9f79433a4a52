"""Recorded workloads: reading them, and picking the part that a demo plays."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from headgate.cli.calls import Row, name_in, one_of, read_rows, seconds_in, time_in
from headgate.model.errors import ConfigurationError

COLUMNS: Final = ("submitted_at", "tenant", "job_type", "downstream", "outcome", "duration_s")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One line of a trace.

    Attributes:
        at_ms: When it was submitted, Unix time.
        tenant: For whom.
        job_type: What kind of job.
        downstream: What it called.
        failed: Whether that failed.
        duration_ms: How long it took.
    """

    at_ms: int
    tenant: str
    job_type: str
    downstream: str
    failed: bool
    duration_ms: int


def read_trace(file: Path, since: datetime | None = None) -> list[RecordedCall]:
    """Read a trace in the order of time.

    Args:
        file: CSV with the columns of ``COLUMNS``, in any order; others are left aside.
        since: Leave out what was submitted before; with a time zone.

    Raises:
        ConfigurationError: The file cannot be used; with the line and what is wrong.
    """
    calls = read_rows(file, "a trace", [COLUMNS], _call)
    since_ms = 0 if since is None else int(since.timestamp() * 1000)
    calls = sorted((call for call in calls if call.at_ms >= since_ms), key=lambda call: call.at_ms)
    if not calls:
        when = f" at or after {since:%Y-%m-%dT%H:%M:%S%z}" if since else ""
        raise ConfigurationError(f"{file}: there is no call in it{when}")
    return calls


def parse_time(text: str) -> datetime:
    """Read a time such as ``2024-11-20T22:00:00Z``; without a zone it is UTC.

    Raises:
        ConfigurationError: It is no time.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--from {text!r} is not a time: write it like 2024-11-20T22:00:00Z"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _call(row: Row) -> RecordedCall:
    return RecordedCall(
        at_ms=time_in(row, "submitted_at"),
        tenant=name_in(row, "tenant"),
        job_type=name_in(row, "job_type"),
        downstream=name_in(row, "downstream"),
        failed=one_of(row, "outcome", ("success", "failure")) == "failure",
        duration_ms=seconds_in(row, "duration_s", 86_400),
    )
