"""Reading workloads: Standard Workload Format and CSV, with errors that name file and line."""

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from headgate.cli.calls import Row, Watch, name_in, read_rows, seconds_in, time_in
from headgate.model.errors import ConfigurationError
from headgate.simulate.simulated_pool import LONGEST_MS
from headgate.simulate.workload import Job, Workload

JOB_COLUMNS: Final = ("at_ms", "tenant", "units", "duration_ms")
TRACE_COLUMNS: Final = ("submitted_at", "tenant", "duration_s")

_LATEST_MS: Final = 253_402_300_799_000 // 2  # so that what waits long has time left
_MOST_UNITS: Final = 1_000_000_000
_SWF_FIELDS: Final = 18
_GZIP: Final = b"\x1f\x8b"

# Fields of a line in Standard Workload Format, counted from 1 as its definition does.
_SUBMITTED, _RUN, _PROCESSORS, _REQUESTED, _STATUS, _USER = 2, 4, 5, 8, 11, 12
_CANCELLED: Final = 5
_PARTS: Final = (2, 3, 4)


def read_workload(file: Path, watch: Watch = iter) -> Workload:
    """Read a workload: CSV by its header line, anything else as Standard Workload Format.

    Args:
        file: Plain, or gzip whatever it is called; what is called .gz must be gzip. CSV has the
            columns of ``JOB_COLUMNS``, or of ``TRACE_COLUMNS`` (each job is one unit), in any
            order; others are left aside.
        watch: Sees each line.

    Raises:
        ConfigurationError: The file cannot be used; with the line, and what to write instead.
    """
    packed = _begins_with(file, _GZIP)
    if file.suffix == ".gz" and not packed:
        raise ConfigurationError(
            f"{file}: is not gzip, though its name says so: fetch it again, or take .gz off its "
            "name if it is plain text"
        )
    lines = _unpacked(file) if packed else _text(file)
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith(";") or "," not in first:
        workload = _read_swf(file, watch(lines))
    elif packed:
        raise ConfigurationError(f"{file}: is CSV in gzip: unpack it first with gunzip")
    else:
        jobs = read_rows(file, "a workload", (JOB_COLUMNS, TRACE_COLUMNS), _job, watch)
        jobs.sort(key=lambda job: job.at_ms)
        workload = Workload(jobs)
    if not workload.jobs:
        skipped = sum(workload.left_out.values())
        why = f": all {skipped} entries are left out" if skipped else ""
        raise ConfigurationError(f"{file}: there is no job in it{why}")
    return workload


# Files -----------------------------------------------------------------------------------------


def _begins_with(file: Path, magic: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(magic)) == magic
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror or error}") from error


def _unpacked(file: Path) -> list[str]:
    try:
        with gzip.open(file, "rt", encoding="utf-8", errors="replace") as lines:
            return list(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{file}: cannot be read: the gzip is damaged") from error


def _text(file: Path) -> list[str]:
    try:
        # Comments in old recordings are in any encoding; what counts is ASCII.
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            return list(lines)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror or error}") from error


# CSV -------------------------------------------------------------------------------------------


def _job(row: Row) -> Job:
    tenant = name_in(row, "tenant")
    if "at_ms" in row:
        at_ms = _whole(row, "at_ms", 0, _LATEST_MS, "milliseconds")
        units = _whole(row, "units", 1, _MOST_UNITS, "units")
        return Job(at_ms, tenant, units, _whole(row, "duration_ms", 0, LONGEST_MS, "milliseconds"))
    at_ms = time_in(row, "submitted_at")
    return Job(at_ms, tenant, 1, seconds_in(row, "duration_s", LONGEST_MS // 1000))


def _whole(row: Row, column: str, at_least: int, at_most: int, of_what: str) -> int:
    try:
        number = int(row[column])
    except ValueError:
        number = at_least - 1
    if not at_least <= number <= at_most:
        raise ValueError(
            f"{column} is {row[column][:80]!r}; write {of_what}, a whole number from {at_least} to "
            f"{at_most}"
        )
    return number


# Standard Workload Format ----------------------------------------------------------------------


def _read_swf(file: Path, lines: Iterable[str]) -> Workload:
    jobs: list[Job] = []
    left_out: dict[str, int] = {}
    began_s = 0
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith(";"):
            began_s = _header(line, began_s)
            continue
        fields = line.split()
        if not fields:
            continue
        try:
            found = _swf_job(fields, began_s)
        except ValueError as error:
            raise ConfigurationError(f"{file}:{number}: {error}") from None
        if isinstance(found, Job):
            jobs.append(found)
        else:
            left_out[found] = left_out.get(found, 0) + 1
    jobs.sort(key=lambda job: job.at_ms)
    return Workload(jobs, left_out)


def _header(line: str, began_s: int) -> int:
    """Return when the recording began, Unix time in seconds, if this line says so."""
    name, _, value = line.strip().lstrip("; ").partition(":")
    value = value.strip()
    is_start = name == "UnixStartTime" and value.isdecimal() and len(value) < 12
    return int(value) if is_start else began_s


def _swf_job(fields: list[str], began_s: int) -> Job | str:
    """Return the job of a line, or why it is none that ran, in words.

    Raises:
        ValueError: The line is not in the format.
    """
    if len(fields) < _USER:
        raise ValueError(
            f"{len(fields)} fields; a line in Standard Workload Format has {_SWF_FIELDS}, of which "
            f"the first {_USER} are needed (or begin the file with a CSV header, "
            f"{','.join(JOB_COLUMNS)})"
        )

    def field(place: int, name: str, scale: int = 1) -> int:
        try:
            return round(float(fields[place - 1]) * scale)
        except (ValueError, OverflowError):
            raise ValueError(
                f"field {place}, the {name}, is {fields[place - 1][:80]!r}; write a number, or -1 "
                "where it is not known"
            ) from None

    submitted_s = field(_SUBMITTED, "submit time")
    duration_ms = field(_RUN, "run time", 1000)
    processors = field(_PROCESSORS, "number of processors")
    requested = field(_REQUESTED, "number of requested processors")
    status, user = field(_STATUS, "status"), field(_USER, "user")
    if status in _PARTS:
        return "parts of jobs that are there as a whole, too (status 2, 3, 4)"
    if status == _CANCELLED and duration_ms <= 0:
        return "cancelled before they ran"
    if submitted_s < 0 or duration_ms < 0:
        return "without a submit time or run time"
    units = processors if processors > 0 else requested
    if units <= 0:
        return "without a number of processors"
    at_ms = (began_s + submitted_s) * 1000
    if at_ms > _LATEST_MS:
        raise ValueError(f"field {_SUBMITTED}, the submit time, is {submitted_s}: too late")
    if duration_ms > LONGEST_MS:
        raise ValueError(
            f"field {_RUN}, the run time, is {fields[_RUN - 1]}; at most {LONGEST_MS // 1000} "
            "seconds (30 days) can be simulated: remove the line"
        )
    if units > _MOST_UNITS:
        raise ValueError(f"{units} processors; at most {_MOST_UNITS} can be simulated")
    return Job(at_ms, str(user) if user >= 0 else "unknown", units, duration_ms)
