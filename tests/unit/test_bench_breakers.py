"""The comparison with other libraries runs, and its numbers hang together."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import call_cost, ours
from bench.breakers import Contender, contenders, goals, main, outage_tables, play, play_outages
from bench.libraries import Settings
from bench.plays import OUTAGES, Outage, Recorded, recorded
from bench.stage import Answer
from headgate.gate import downstream

LIBRARIES = {
    "pybreaker": "pybreaker",
    "pybreaker call()": "pybreaker",
    "aiobreaker": "aiobreaker",
    "purgatory": "purgatory",
    "circuitbreaker": "circuitbreaker",
    "interlock-cb": "interlock",
}


def contender(name: str, family: str = "consecutive") -> Contender:
    found = [c for c in contenders() if c.name == name and c.family == family]
    if not found:
        pytest.skip(f"{name} is not installed")
    return found[0]


def short(each: Outage) -> Outage:
    return replace(each, rate=20.0, sick_from_ms=10_000, well_from_ms=50_000, end_ms=110_000)


def outage(name: str) -> Outage:
    return short(next(each for each in OUTAGES if each.name == name))


def test_a_library_is_left_out_only_when_it_is_not_installed() -> None:
    names = {c.name for c in contenders()}
    for name, module in LIBRARIES.items():
        assert (name in names) == (importlib.util.find_spec(module) is not None)
    assert {"headgate", "headgate, own defaults", "headgate machine alone"} <= names


@pytest.mark.parametrize("name", ["headgate", "headgate machine alone", *LIBRARIES])
def test_each_opens_and_comes_back(name: str) -> None:
    family = "rate" if name == "interlock-cb" else "consecutive"
    result = play(contender(name, family), outage("hard down"), 1, 1)
    down = outage("hard down")
    assert down.well_from_ms is not None
    sick_calls = result.sick_made + result.sick_avoided
    assert result.first_trip_ms is not None
    assert 0 < result.sick_made < sick_calls / 5
    assert result.first_second is not None
    if name != "pybreaker call()":  # its calls wait for each other
        # Ours lets calls wait for probes that are about to be over, and then one by one.
        assert result.held <= (5 if name.startswith("headgate") else 0)
        assert result.recovery_ms is not None
        assert result.recovery_ms <= 2 * Settings().open_s * 1000


def test_every_call_has_one_fate_and_contenders_meet_the_same_calls() -> None:
    down = outage("hard down, silent")
    for each in (c for c in contenders() if not c.alone):
        result = play(each, down, 10, 3)
        assert result.offered == len(down.calls(10, 3))
        assert result.sick_made + result.sick_avoided + result.good_refused <= result.offered


@pytest.mark.parametrize("family", ["consecutive", "rate"])
@pytest.mark.parametrize("nodes", [1, 10])
def test_no_more_probes_of_ours_at_once_than_set(family: str, nodes: int) -> None:
    for name in ("headgate", "headgate, own defaults"):
        ours = contender(name, family)
        for each in OUTAGES:
            assert ours.probes is not None
            assert play(ours, short(each), nodes, 2).probes_at_once <= ours.probes


@pytest.mark.parametrize("name", ["pybreaker", "aiobreaker", "purgatory", "circuitbreaker"])
def test_the_fleet_breaker_leaks_less_to_a_dead_downstream(name: str) -> None:
    for down in (outage("hard down"), outage("hard down, silent")):
        ours = play(contender("headgate"), down, 10, 1)
        theirs = play(contender(name), down, 10, 1)
        assert ours.sick_made < theirs.sick_made


def test_a_bad_node_is_kept_away_by_its_own_gate() -> None:
    bad = outage("one bad node")
    result = play(contender("headgate, quorum 2"), bad, 10, 1)
    assert result.first_trip_ms is not None
    of_the_others = sum(1 for call in bad.calls(10, 1) if call.node != 0)
    assert result.sick_made < result.sick_avoided
    assert result.good_refused < of_the_others / 10


def test_failures_that_are_not_in_a_row_do_not_open_the_fleet() -> None:
    result = play(contender("headgate"), outage("few errors"), 10, 1)
    assert result.sick_made > 20
    assert result.good_refused == 0


def test_a_bad_node_alone_does_not_open_the_fleet_and_is_soon_back() -> None:
    bad = replace(outage("one bad node"), rate=100.0)
    result = play(contender("headgate"), bad, 10, 1)
    of_the_bad_node = sum(1 for call in bad.calls(10, 1) if call.node == 0)
    assert result.probes_at_once == 0
    assert result.good_refused < of_the_bad_node / 4
    assert result.recovery_ms is not None
    assert result.recovery_ms <= 20_000


@pytest.mark.parametrize(
    "name",
    [
        "_VERDICT_AGE_MS",
        "_VERDICT_OUTDATED_MS",
        "_RETRY_PROBE_MS",
        "_MAX_PROBE_ASKS",
    ],
)
def test_the_gates_on_the_stage_have_the_numbers_of_the_real_ones(name: str) -> None:
    assert getattr(ours, name) == getattr(downstream, name)


def test_refusals_without_a_trip_of_every_play_are_held_against_ours() -> None:
    rows = play_outages([outage("hard down")], plays=1, fleets=[10])
    quiet = [replace(row, first_trip_s=None, last_trip_s=None) for row in rows]
    assert goals(quiet, []) == goals(rows, [])
    none = [replace(row, good_refused=0.0) for row in quiet]
    assert goals(none, []) == []


def test_contenders_with_the_same_numbers_share_a_column() -> None:
    rows = play_outages([outage("slow only")], plays=1, fleets=[10])
    assert "**headgate**, **headgate, quorum 2**" in outage_tables(rows)


def test_goals_name_what_is_not_met() -> None:
    rows = play_outages([outage("one bad node")], plays=1, fleets=[10])
    assert "one bad node" in outage_tables(rows)
    verdicts = goals(rows, [])
    assert {goal.goal for goal in verdicts} >= {"no more probes at once than set"}
    assert all(goal.numbers for goal in verdicts)


def test_recorded_calls_are_played_as_they_ended(tmp_path: Path) -> None:
    trace = tmp_path / "calls.csv"
    rows = [f"2024-11-15T16:57:{n:02}Z,G0,TXT,M0,failure,0.2" for n in range(20)]
    trace.write_text(
        "submitted_at,tenant,job_type,downstream,outcome,duration_s\n" + "\n".join(rows) + "\n"
    )
    (only,) = recorded(trace)
    assert isinstance(only, Recorded)
    assert only.recorded[0] == (0, Answer(False, 200))
    result = play(contender("headgate"), only, 1, 1)
    assert (result.sick_made, result.sick_avoided) == (5, 15)


def test_an_absent_trace_is_skipped_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "table.md"
    absent = str(tmp_path / "nothing.csv")
    arguments = ["--json", "--only", "trace", "--trace", absent, "--markdown", str(markdown)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["trace"] == []
    assert "skipped" in printed.err
    assert "skipped" in markdown.read_text()


def test_the_cost_of_a_call_is_measured_for_everyone() -> None:
    costs = call_cost.measure(calls=50, rounds=3)
    assert set(costs) == {"admitted", "refused"}
    assert {"headgate consecutive", "headgate rate"} <= set(costs["refused"])
    assert all(cost.median_ns > 0 for by_name in costs.values() for cost in by_name.values())
