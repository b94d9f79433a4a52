"""``headgate backtest``: the real command on real and on spoilt files."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from headgate.cli.backtest import read_policy
from headgate.cli.calls import read_calls
from headgate.model.breaker import CallOutcome
from headgate.model.errors import ConfigurationError
from headgate.model.policy import BreakerPolicy
from headgate.simulate import Call, backtest
from tests.cli.command import run_now, write

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "policy.yaml"
TRACE = ROOT.parent / "shared" / "data" / "genai-requests-2024-11.csv"
needs_trace = pytest.mark.skipif(not TRACE.exists(), reason=f"{TRACE} is not here")

POLICY = "consecutive_failures: 3\nopen_jitter: 0\n"
CALLS = "at_ms,downstream,outcome,duration_ms\n"
FIVE = "".join(f"{1_000 + n * 10},scanner,failure,5\n" for n in range(5))
GOOD = "1040,scanner,success,5\n500,policy,ignored,5\n"
TRACE_HEADER = "submitted_at,tenant,job_type,downstream,outcome,duration_s\n"
TRACE_ROW = "2024-11-20T22:00:00Z,acme,scan,scanner,success,1.5\n"
COUNTS = {
    "calls",
    "admitted",
    "rejected",
    "failures_admitted",
    "failures_avoided",
    "successes_rejected",
}


def headgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_now("backtest", *arguments)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write(tmp_path, "policy.yaml", POLICY)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    return write(tmp_path, "calls.csv", CALLS + FIVE + GOOD)


# What is told ----------------------------------------------------------------------------------


def test_json_has_what_was_promised(policy: Path, calls: Path) -> None:
    done = headgate("--policy", policy, "--calls", calls, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    assert set(told) == {"downstreams", "totals"}
    assert set(told["totals"]) == COUNTS
    assert list(told["downstreams"]) == ["policy", "scanner"]
    scanner = told["downstreams"]["scanner"]
    assert set(scanner) == COUNTS | {"transitions", "state"}
    assert scanner["transitions"] == [
        {
            "at_ms": 1_025,
            "from": "CLOSED",
            "to": "OPEN",
            "reason": "3 calls in a row failed (limit 3)",
            "epoch": 1,
        }
    ]
    assert scanner["state"] == "OPEN"
    # The file is not sorted; the good call begins when the fifth failing one does.
    assert told["totals"] == {
        "calls": 7,
        "admitted": 4,
        "rejected": 3,
        "failures_admitted": 3,
        "failures_avoided": 2,
        "successes_rejected": 1,
    }


def test_people_get_a_table_and_a_sentence(policy: Path, calls: Path) -> None:
    done = headgate("--policy", policy, "--calls", calls)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"scanner +6 +5 +2 +3 +1 +1 +OPEN", done.stdout)
    assert "2 of 5 failing calls would have been spared, 1 of 2 other calls rej" in done.stdout


def test_one_downstream_of_many(policy: Path, calls: Path) -> None:
    done = headgate("--policy", policy, "--calls", calls, "--json", "--downstream", "policy")
    assert list(json.loads(done.stdout)["downstreams"]) == ["policy"]


def test_a_quorum_is_said_not_to_be_judged(tmp_path: Path, calls: Path) -> None:
    file = write(tmp_path, "quorum.yaml", POLICY + "quorum: 2\n")
    done = headgate("--policy", file, "--calls", calls, "--json")
    assert done.returncode == 0
    assert "quorum 2 is taken as 1" in done.stderr
    assert json.loads(done.stdout)["totals"]["rejected"] == 3


def test_the_page_stands_alone(policy: Path, calls: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = headgate("--policy", policy, "--calls", calls, "--html", page)
    assert done.returncode == 0
    assert str(page) in done.stdout.replace("\n", "")
    text = page.read_text("utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\((?!#)|\bon\w+=", text)
    assert text.index('id="of-scanner"') < text.index('id="of-policy"')
    assert "3 calls in a row failed (limit 3)" in text
    assert "prefers-color-scheme: dark" in text


def test_a_page_of_many_downstreams(policy: Path, tmp_path: Path) -> None:
    rows = "".join(f"{n * 7},d{n % 150:03},{'failure' * (n % 3 == 0) or 'success'},{n % 90}\n"
                   for n in range(6_000))  # fmt: skip
    page = tmp_path / "page.html"
    file = write(tmp_path, "many.csv", CALLS + rows)
    assert headgate("--policy", policy, "--calls", file, "--html", page).returncode == 0
    assert page.read_text("utf-8").count("<article") == 150


# Both forms of a file --------------------------------------------------------------------------


def test_both_forms_are_read_and_sorted(tmp_path: Path) -> None:
    plain = write(tmp_path, "plain.csv", "\ufeff" + CALLS + "20,a,failure,7\n\n10, b ,ignored,0\n")
    assert read_calls(plain) == [
        Call(10, "b", CallOutcome.IGNORED, 0),
        Call(20, "a", CallOutcome.FAILURE, 7),
    ]
    trace = write(tmp_path, "trace.csv", TRACE_HEADER + TRACE_ROW)
    assert read_calls(trace) == [Call(1_732_140_000_000, "scanner", CallOutcome.SUCCESS, 1_500)]


def test_calls_that_begin_together_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = "".join(f"5,d{n},success,1\n" for n in range(9))
    names = [call.downstream for call in read_calls(write(tmp_path, "c.csv", CALLS + rows))]
    assert names == [f"d{n}" for n in range(9)]


# Bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ":1: column 'at_ms' is missing; a file of calls needs at_ms, downstream, outcome, "
         "duration_ms, or submitted_at, downstream, outcome, duration_s"),
        (CALLS.replace("outcome,", ""), ":1: column 'outcome' is missing"),
        ("submitted_at,downstream,outcome\n", ":1: column 'duration_s' is missing"),
        (CALLS, ": there is no call in it"),
        (CALLS + "1,a,maybe,2\n", ":2: outcome is 'maybe'; write success, failure or ignored"),
        (CALLS + "1,a,success,2\n1,a b,success,2\n", ":3: downstream is 'a b'; write letters"),
        (CALLS + "-1,a,success,2\n", ":2: at_ms is '-1'; write milliseconds since 1970, from 0"),
        (CALLS + "nan,a,success,2\n", ":2: at_ms is 'nan'"),
        (CALLS + "1e99,a,success,2\n", ":2: at_ms is '1e99'"),
        (CALLS + "1,a,success,-2\n", ":2: duration_ms is '-2'; write milliseconds, from 0"),
        (CALLS + "1,a,success,inf\n", ":2: duration_ms is 'inf'"),
        (CALLS + "1,a,success\n", ":2: duration_ms is ''"),
        (CALLS + "1,a,success,2\n1,a,success,2,3\n", ":3: 5 cells, but the first line"),
        (CALLS + "1,a,success,2,\n", ":2: 5 cells"),
        (TRACE_HEADER + TRACE_ROW.replace("1.5", "nan"), ":2: duration_s is 'nan'; write seconds"),
        (TRACE_HEADER + TRACE_ROW.replace("2024", "never"), ":2: submitted_at is 'never-11"),
        (b"\xff\xfe\x00", ": cannot be read: it is not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_calls_is_told_with_its_line(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, "calls.csv", content)
    with pytest.raises(ConfigurationError, match=f"^{re.escape(f'{file}{said}')}") as refusal:
        read_calls(file)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("failure_rate: 1.5", ":1: failure_rate: is 1.5; write at most 1"),
        ("failure_rate: .nan", ":1: failure_rate: is nan, which is not a number; write a number"),
        ("failure_rate: .inf", ":1: failure_rate: is inf; write at most 1"),
        ("\nfailure_rat: 0.5", ":2: failure_rat: unknown key; did you mean failure_rate?"),
        ("window: {kind: tide}", ":1: window: has the kind 'tide'; write kind: time or kind: coun"),
        ("window: {kind: count, siz: 3}", ":1: window.siz: unknown key; did you mean size?"),
        ("window: {kind: count, seconds: 3}",
         ":1: window.seconds: unknown key; here you can write kind, size"),
        ("- probes", ":1: the file: is ['probes']; write keys at its top: window, min_calls"),
        ("probes: 1\n---\nprobes: 2", ":2: not YAML: a second document begins here; one file is "
         "one policy"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_policy_is_told_with_its_line(
    text: str, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, "policy.yaml", text)
    with pytest.raises(ConfigurationError, match=f"^{re.escape(f'{file}{said}')}"):
        read_policy(file)


def test_an_empty_policy_is_the_defaults(tmp_path: Path) -> None:
    assert read_policy(write(tmp_path, "policy.yaml", "")) == BreakerPolicy()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to run the policy on: add --calls FILE, or --since 2d"),
        (["--calls", "{calls}", "--since", "2d"], "--calls and --since are two sources"),
        (["--calls", "none.csv"], "none.csv: cannot be read: No such file"),
        (["--since", "soon"], "--since 'soon': write a duration such as 90s, 30m, 2h or 7d"),
        (["--since", "0d"], "--since '0d': write a duration"),
        (["--calls", "{calls}", "--downstream", "scaner"], "no call of 'scaner' in it; did you me"),
        (["--calls", "{calls}", "--html", "/no/where.html"], "/no/where.html: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    arguments: list[str], said: str, policy: Path, calls: Path
) -> None:
    done = headgate("--policy", policy, *(a.format(calls=calls) for a in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("headgate: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


# Real calls ------------------------------------------------------------------------------------


@needs_trace
def test_a_model_that_fails_every_request_is_spared_many() -> None:
    calls = read_calls(TRACE)
    assert len(calls) == 14_266
    dead = backtest(calls, BreakerPolicy(consecutive_failures=5)).downstreams["M0013"]
    assert (dead.calls, dead.failures) == (71, 71)
    assert dead.successes_rejected == 0
    # By default HALF_OPEN lets all pass after two minutes in which nobody has called, and this
    # model is called in small groups hours apart.
    assert dead.failures_avoided >= 5
    patient = backtest(calls, read_policy(EXAMPLE))
    assert patient.downstreams["M0013"].failures_avoided >= 50
    assert patient.total("successes_rejected") == 0


@needs_trace
def test_the_whole_trace_as_the_readme_has_it(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = headgate("--policy", EXAMPLE, "--calls", TRACE, "--json", "--html", page)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert len(told["downstreams"]) == 76
    totals = told["totals"]
    assert (totals["calls"], totals["failures_avoided"], totals["rejected"]) == (14_266, 77, 77)
    assert totals["failures_admitted"] == 233 - 77
    assert totals["successes_rejected"] == 0
    assert page.read_text("utf-8").count("<article") == 76
