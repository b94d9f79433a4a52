"""``headgate allocate``: the real command on real and on spoilt files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headgate.model.allocation import PoolProblem
from headgate.model.errors import ConfigurationError
from headgate.yaml_file import read_yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "pool.yaml"
POOL = "capacity: 120\n%s\ntenants:\n  - {tenant: a, demand: 1000}\n  - {tenant: b, demand: 50}\n"


def headgate(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headgate", "allocate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        input=given,
        env={"COLUMNS": "80", "PATH": ""},
    )


def said_of(text: str, folder: Path) -> list[str]:
    """The lines of the refusal, without the file's name."""
    file = folder / "pool.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refusal:
        read_yaml(file, PoolProblem, what="pool", parts="keys")
    return [line.removeprefix(f"{file}:") for line in str(refusal.value).splitlines()]


def test_the_example_as_a_table() -> None:
    done = headgate("-f", EXAMPLE)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["Tenant", "Demand", "Guaranteed", "Gets", "Borrowed", "Why"]
    assert all(len(line) <= 80 for line in lines[:6])
    assert "share by weight 2" in next(line for line in lines if line.startswith("acme"))
    assert "holds 15 back" in next(line for line in lines if line.startswith("globex"))


def test_a_file_may_come_from_the_standard_input() -> None:
    done = headgate("-f", "-", given=EXAMPLE.read_text("utf-8"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == headgate("-f", EXAMPLE).stdout
    wrong = headgate("-f", "-", given="capacity: 120\nstrategies: equal\n")
    assert wrong.returncode == 2
    assert "standard input:2: strategies: unknown key; did you mean strategy?" in wrong.stderr


def test_the_example_as_json() -> None:
    done = headgate("-f", EXAMPLE, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert list(told) == ["allocations", "unallocated", "held_back", "conditions"]
    assert told["allocations"] == {"acme": 63, "globex": 10, "lab-a": 24, "lab-b": 8}
    assert told["unallocated"] == sum(told["held_back"].values()) == 15


def test_a_condition_is_told(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(
        "capacity: 10\nstrategy: reserved\ntenants: [{tenant: a, demand: 9, guaranteed: 20}]\n"
    )
    told = json.loads(headgate("-f", file, "--json").stdout)
    assert [condition["type"] for condition in told["conditions"]] == ["OVERCOMMITTED"]
    assert "OVERCOMMITTED: the guarantees add up to 20" in headgate("-f", file).stdout


def test_who_has_no_weight_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    tenants = "tenants: [{tenant: a, demand: 9, weight: 0, guaranteed: 2}, {tenant: b, demand: 3}]"
    says = {
        "proportional": (0, "nothing"),
        "reserved": (2, "its guarantee"),
        "unlimited": (9, None),
    }
    for strategy, (gets, what) in says.items():
        file.write_text(f"capacity: 10\nstrategy: {strategy}\n{tenants}\n")
        told = json.loads(headgate("-f", file, "--json").stdout)
        assert told["allocations"] == {"a": gets, "b": 3}
        named = [one["message"] for one in told["conditions"] if one["type"] == "NO_WEIGHT"]
        said = f"weight 0 gets {what} and no more: a wants 9 and gets {gets}"
        assert named == ([said] if what else [])


def test_several_resources(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(
        "capacity: {cpu: 9, memory: 18}\ntenants:\n"
        "  - {tenant: a, demand: {cpu: 100, memory: 400}}\n"
        "  - {tenant: b, demand: {cpu: 300, memory: 100}}\n"
    )
    told = json.loads(headgate("-f", file, "--json").stdout)
    assert told["allocations"] == {"a": {"cpu": 3, "memory": 12}, "b": {"cpu": 6, "memory": 2}}
    assert told["unallocated"] == {"cpu": 0, "memory": 4}
    assert "cpu used up" in headgate("-f", file).stdout


def test_who_demands_what_there_is_none_of_is_told_why_it_gets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(
        "capacity: {cpu: 9, memory: 0}\ntenants:\n"
        "  - {tenant: a, demand: {cpu: 100, memory: 400}}\n"
        "  - {tenant: b, demand: {cpu: 300}}\n"
    )
    told = json.loads(headgate("-f", file, "--json").stdout)
    assert told["allocations"] == {"a": {"cpu": 0, "memory": 0}, "b": {"cpu": 9}}
    said = "there is no memory, so who demands any gets nothing of the rest: a"
    assert told["conditions"] == [{"type": "NO_CAPACITY", "message": said}]
    assert f"NO_CAPACITY: {said}." in headgate("-f", file).stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("capacity: -1\ntenants: []", "1: capacity: is -1; write at least 0"),
        ("capacity: 1.5\ntenants: []", "1: capacity: is 1.5; write a whole number"),
        ("capacity: {cpu: -1}\ntenants: []", "1: capacity.cpu: is -1; write at least 0"),
        (POOL % "strategy: fair", "2: strategy: is no strategy: write equal, proportional,"
         " priority, reserved, fixed, max_limit or unlimited"),
        (POOL % "stratgy: equal", "2: stratgy: unknown key; did you mean strategy?"),
        ("capacity: 1\ntenants:\n - {tenant: a, demand: 1, weight: .nan}",
         "3: tenants.0.weight: is nan, which is not a number; write a number"),
        ("capacity: 1\ntenants:\n - {tenant: a, demand: 1, weight: .inf}",
         "3: tenants.0.weight: is inf; write a number"),
        ("capacity: 1\ntenants:\n - {tenant: a, demand: 1, weight: -1}",
         "3: tenants.0.weight: is -1; write at least 0.0"),
        ("capacity: 1\ntenants:\n - {tenant: a}", "3: tenants.0.demand: is missing; add it"),
        ("capacity: 1\ntenants:\n - {tenant: a, demand: 1}\n - {tenant: a, demand: 2}",
         "4: tenants.1.tenant: a is there twice: remove one"),
        ("capacity: 1\ntenants: []\ngroups:\n - {group: g}\n - {group: g}",
         "5: groups.1.group: g is there twice: remove one"),
        ("capacity: 1\ntenants:\n - {tenant: a, demand: 1, group: h}\ngroups: [{group: g}]",
         "3: tenants.0.group: there is no group h: write null or one of g"),
        ("capacity: 1\ntenants: []\ngroups: [{group: g, parent: h}]",
         "3: groups.0.parent: there is no group h: write null or one of g"),
        ("capacity: 1\ntenants: []\ngroups:\n - {group: g, parent: h}\n - {group: h, parent: g}",
         "4: groups.0.parent: g is above itself: break the circle"),
        ("capacity: {cpu: 1}\nstrategy: fixed\ntenants: []",
         "2: strategy: is fixed, which does not divide several resources: write proportional or"
         " equal, or one number as capacity"),
        ("capacity: {cpu: 1}\ntenants:\n - {tenant: a, demand: 3}",
         "3: tenants.0.demand: is 3, but the capacity is by resource: write {cpu: 3}"),
        ("capacity: {cpu: 1}\ntenants:\n - {tenant: a, demand: {gpu: 3}}",
         "3: tenants.0.demand.gpu: the pool has no gpu: write one of cpu"),
        ("capacity: {cpu: 1}\ntenants:\n - {tenant: a, demand: {cpu: 3}, guaranteed: 1}",
         "3: tenants.0.guaranteed: cannot be used with several resources, which are divided by "
         "weight alone: remove it, or write one number as capacity"),
        ("capacity: 1\ntenants:\n - {tenant: a, demand: {cpu: 3}}",
         "3: tenants.0.demand: is by resource, but the capacity is not: write a whole number, or"
         " write the capacity by resource"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    assert said_of(text, tmp_path) == [said]


def test_a_mistake_ends_with_2_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text("capacity: [\n")
    done = headgate("-f", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"headgate: {file}:2: not YAML")
    assert len(done.stderr.splitlines()) == 1
    assert headgate("-f", tmp_path / "none.yaml").returncode == 2


def test_every_key_of_the_documentation_is_read(tmp_path: Path) -> None:
    tenant = (
        "{tenant: a, demand: 1000, weight: 1, priority: 0, guaranteed: 0, borrow_limit: null, "
        "lend_limit: null, max: null, fixed: null, group: g}"
    )
    group = "{group: g, parent: null, weight: 1, guaranteed: 0, borrow_limit: null, lend_limit: 0}"
    file = tmp_path / "pool.yaml"
    file.write_text(f"capacity: 5\ntenants: [{tenant}]\ngroups: [{group}]\n")
    problem = read_yaml(file, PoolProblem, what="pool", parts="keys")
    assert problem.tenants[0].model_dump() == yaml.safe_load(tenant)
