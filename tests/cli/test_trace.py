"""Recorded workloads: what is read, and what each mistake in one is told as."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headgate.devstack.trace import RecordedCall, parse_time, read_trace
from headgate.model.errors import ConfigurationError

HEADER = "submitted_at,tenant,job_type,downstream,outcome,duration_s\n"
ROW = "2024-11-20T22:00:00Z,acme,scan,scanner,success,1.5\n"
AT_MS = int(datetime(2024, 11, 20, 22, tzinfo=UTC).timestamp() * 1000)


def write(folder: Path, content: str | bytes) -> Path:
    file = folder / "trace.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER.replace("tenant,", "") + ROW, "column 'tenant' is missing; a trace needs submit"),
        ("", "column 'submitted_at' is missing"),
        (HEADER, "there is no call in it"),
        (b"\xff\xfe\x00", "cannot be read: it is not UTF-8 text"),
        (HEADER + ROW.replace("1.5", "soon"), ":2: duration_s is 'soon'; write seconds"),
        (HEADER + ROW.replace("1.5", "nan"), ":2: duration_s is 'nan'"),
        (HEADER + ROW.replace("1.5", "inf"), ":2: duration_s is 'inf'"),
        (HEADER + ROW.replace("1.5", "-1"), ":2: duration_s is '-1'"),
        (HEADER + ROW.replace("2024-11-20T22:00:00Z", "noon"), ":2: submitted_at is 'noon'; write"),
        (HEADER + ROW.replace("success", "maybe"), ":2: outcome is 'maybe'; write success or fail"),
        (HEADER + ROW + ROW.replace("acme", "a b"), ":3: tenant is 'a b'; write letters, digits"),
        (HEADER + ROW.replace("scan,", ","), ":2: job_type is ''; write letters"),
        (HEADER + "2024-11-20T22:00:00Z,acme\n", ":2: job_type is ''"),
    ],
)
def test_a_mistake_is_told_with_its_line(content: str | bytes, said: str, tmp_path: Path) -> None:
    file = write(tmp_path, content)
    with pytest.raises(ConfigurationError, match=f"^{re.escape(str(file))}.*{said}") as refusal:
        read_trace(file)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.csv: cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")


def test_a_trace_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    late = ROW.replace("22:00", "23:00").replace("success", "failure")
    other = ROW.replace("22:00:00Z", "22:30:00+00:00")
    calls = read_trace(write(tmp_path, "\ufeff" + HEADER + late + ROW + other))
    assert [call.at_ms - AT_MS for call in calls] == [0, 1_800_000, 3_600_000]
    assert calls[0] == RecordedCall(AT_MS, "acme", "scan", "scanner", False, 1_500)
    assert calls[2].failed


def test_columns_may_come_in_any_order_and_more_of_them(tmp_path: Path) -> None:
    text = (
        "note,duration_s,outcome,downstream,job_type,tenant,submitted_at\n"
        "x,2,failure,scanner,scan,acme,2024-11-20T22:00:00\n"
    )
    assert read_trace(write(tmp_path, text)) == [
        RecordedCall(AT_MS, "acme", "scan", "scanner", True, 2_000)
    ]


def test_what_was_before_is_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + ROW)
    assert len(read_trace(file, parse_time("2024-11-20T22:00:00Z"))) == 1
    with pytest.raises(ConfigurationError, match=r"no call in it at or after 2024-11-20T22:00:01"):
        read_trace(file, parse_time("2024-11-20T22:00:01"))


@pytest.mark.parametrize("text", ["noon", "", "2024-13-01", "22:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a time: write it like 2024-11-20T22:00"):
        parse_time(text)
