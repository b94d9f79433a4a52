"""``headgate simulate``: the real command on a small workload, and on spoilt files."""

import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headgate.cli.workload import read_workload
from headgate.model.errors import ConfigurationError
from headgate.simulate.workload import Job
from tests.cli.command import run_now, write

HEADER = "at_ms,tenant,units,duration_ms\n"
JOBS = "".join(
    f"{1_700_000_000_000 + n * 250},{'acme' if n % 3 else 'globex'},{1 + n % 2},{2_000 + n * 10}\n"
    for n in range(60)
)
POOL = """\
capacity: 4
strategy: proportional
tenants:
  - {tenant: acme, demand: 0, weight: 2, guaranteed: 1, fixed: 2}
"""
FIGURES = {
    "jobs",
    "completed",
    "utilization",
    "wait_ms",
    "slowdown_jain",
    "work_conservation_violations",
    "over_grants",
    "tenants",
}
SWF = "1 10 -1 5 2 -1 -1 2 -1 -1 1 7 -1 -1 -1 -1 -1 -1\n"


def headgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_now("simulate", *arguments)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write(tmp_path, "jobs.csv", HEADER + JOBS)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write(tmp_path, "pool.yaml", POOL)


# What is told ----------------------------------------------------------------------------------


def test_json_has_what_was_promised_for_each_strategy(trace: Path, pool: Path) -> None:
    names = ["equal", "unlimited"]
    asked = [word for name in names for word in ("--strategy", name)]
    done = headgate("--trace", trace, "--pool", pool, *asked, "--json")
    assert done.returncode == 0
    told: dict[str, dict[str, Any]] = json.loads(done.stdout)
    assert list(told) == names
    for of in told.values():
        assert set(of) >= FIGURES
        assert set(of["wait_ms"]) == {"mean", "p50", "p95", "max"}
        assert (of["jobs"], of["completed"]) == (60, 60)
        assert set(of["tenants"]) == {"acme", "globex"}
        for tenant in of["tenants"].values():
            assert set(tenant) >= {"jobs", "mean_wait_ms", "p95_wait_ms", "share"}
        assert sum(tenant["jobs"] for tenant in of["tenants"].values()) == 60
        assert sum(tenant["share"] for tenant in of["tenants"].values()) == pytest.approx(1)
        assert 0 < of["utilization"] <= 1 or of is told["unlimited"]
        assert of["wait_ms"]["p50"] <= of["wait_ms"]["p95"] <= of["wait_ms"]["max"]
    # More is asked for than there is: under a limit somebody waits, without one more is held.
    assert (told["equal"]["over_grants"], told["equal"]["work_conservation_violations"]) == (0, 0)
    assert told["equal"]["wait_ms"]["mean"] > 0
    assert told["unlimited"]["over_grants"] > 0
    assert told["unlimited"]["wait_ms"]["max"] <= 1_000
    # The pool's file does not name globex.
    assert "1 of 2 tenants are not in the pool file" in done.stderr


def test_without_a_strategy_it_is_that_of_the_file(trace: Path, pool: Path) -> None:
    done = headgate("--trace", trace, "--pool", pool)
    assert done.returncode == 0
    head, row = done.stdout.splitlines()[:2]
    assert (head.split()[0], row.split()[0]) == ("Strategy", "proportional")
    assert "60 jobs of 2 tenants, 4 units" in done.stdout


def test_the_page_stands_alone(trace: Path, pool: Path, tmp_path: Path) -> None:
    html = tmp_path / "page.html"
    strategies = ("--strategy", "equal", "--strategy", "reserved")
    done = headgate("--trace", trace, "--pool", pool, *strategies, "--html", html)
    assert done.returncode == 0
    text = html.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "<script" not in text
    assert re.findall(r"(?:src|href)\s*=|url\(|@import", text) == []
    for word in ("equal", "reserved", "acme", "globex", "jobs.csv", "pool.yaml"):
        assert word in text
    assert text.count("<svg") >= 2


def test_the_standard_workload_format_is_read_packed_too(tmp_path: Path) -> None:
    text = "; UnixStartTime: 1000\n" + SWF
    job = Job(1_010_000, "7", 2, 5_000)
    for name, content in (("log.swf", text.encode()), ("log.swf.gz", gzip.compress(text.encode()))):
        assert read_workload(write(tmp_path, name, content)).jobs == [job]


# Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("jobs.csv", HEADER + "1,a,2\n", ":2: duration_ms is ''; write milliseconds, a whole"),
        ("jobs.csv", HEADER + "1,a,2,3,4\n", ":2: 5 cells, but the first line names 4 columns"),
        ("jobs.csv", HEADER + "1,a,0,3\n", ":2: units is '0'; write units, a whole number from 1"),
        ("jobs.csv", HEADER + "nan,a,1,3\n", ":2: at_ms is 'nan'; write milliseconds"),
        ("jobs.csv", HEADER.replace("units,", ""), ":1: column 'units' is missing"),
        ("jobs.csv", HEADER, ": there is no job in it"),
        ("log.swf", "1 2 3\n", ":1: 3 fields; a line in Standard Workload Format has 18"),
        ("log.swf", SWF.replace(" 10 ", " soon "), ":1: field 2, the submit time, is 'soon'"),
        ("log.swf.gz", SWF, ": is not gzip, though its name says so"),
        (
            "log.swf.gz",
            gzip.compress(SWF.encode(), mtime=0)[:-9],
            ": cannot be read: the gzip is damaged",
        ),
        (
            "jobs.csv.gz",
            gzip.compress((HEADER + JOBS).encode(), mtime=0),
            ": is CSV in gzip: unpack it",
        ),
    ],
)
def test_a_mistake_in_the_workload_is_told_with_its_line(
    name: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, name, content)
    with pytest.raises(ConfigurationError, match=f"^{re.escape(f'{file}{said}')}") as refusal:
        read_workload(file)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trace", "none.csv", "--pool", "{pool}"], "none.csv: cannot be read: No such file"),
        (["--trace", "{trace}", "--pool", "none.yaml"], "none.yaml: cannot be read: No such file"),
        (
            ["--trace", "{trace}", "--pool", "{pool}", "--strategy", "equall"],
            "--strategy equall: there is no such strategy; did you mean equal?",
        ),
        (
            ["--trace", "{trace}", "--pool", "{pool}", "--strategy", "lottery"],
            "--strategy lottery: there is no such strategy; write equal, proportional",
        ),
        (
            ["--trace", "{trace}", "--pool", "{pool}", "--html", "/no/where.html"],
            "/no/where.html: cannot be written",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    arguments: list[str], said: str, trace: Path, pool: Path
) -> None:
    refused(headgate(*(one.format(trace=trace, pool=pool) for one in arguments)), said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("capacity: -1\ntenants: []\n", ":1: capacity: is -1; write at least 0"),
        (
            "capacity: 4\nstrategy: lottery\ntenants: []\n",
            ":2: strategy: is no strategy: write equal, proportional",
        ),
        ("capacity: 4\ntenants:\n  - {tenant: a, demand: 0, weight: .nan}\n", ":3: tenants.0.w"),
        ("capacity: 4\ntenants:\n  - {tenant: a, demand: 0, wait: 1}\n", "unknown key"),
        ("capacity: {cpu: 4, gpu: 1}\ntenants: []\n", ": the capacity is by resource (cpu, gpu)"),
    ],
)
def test_a_mistake_in_the_pool_is_told(text: str, said: str, trace: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "pool.yaml", text)
    refused(headgate("--trace", trace, "--pool", file), said)


def refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("headgate: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
