"""The board and the alert rules: up to date with the list of metrics, and accepted by promtool."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from headgate.monitoring.__main__ import files
from headgate.monitoring.board import board, expressions
from headgate.monitoring.rules import RULES
from headgate.view.metrics import METRICS

FOLDER = Path(__file__).parents[2] / "monitoring"
DOCUMENT = FOLDER.parent / "docs/monitoring.md"

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: make monitoring-tools"
)


@pytest.mark.parametrize("name", sorted(files()))
def test_the_files_are_as_the_list_makes_them(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == files()[name], "run: make monitoring"


def test_names_are_those_of_one_list_and_each_is_used() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    used = set()
    for expression in [*expressions(), *(rule.expr for rule in RULES)]:
        used |= {_base(name) for name in re.findall(r"headgate_\w+", expression)}
    assert used <= set(names)
    # The one-hot state is for rules; how many calls a window holds only says what a rate is worth.
    assert set(names) - used == {"headgate_breaker_window_calls", "headgate_tenants"}


def test_labels_in_expressions_are_those_of_the_metric() -> None:
    labels = {metric.name: set(metric.labels) for metric in METRICS}
    for expression in [*expressions(), *(rule.expr for rule in RULES)]:
        for name, inner in re.findall(r"(headgate_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)(?:=|!)", inner)) <= labels[_base(name)]


def test_names_follow_the_rules_of_prometheus() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.type == "counter"), metric.name
        assert not metric.unit or metric.name.endswith(f"_{metric.unit}"), metric.name
        assert bool(metric.buckets) == (metric.type == "histogram"), metric.name
        assert metric.help.endswith("."), metric.name


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    panels = board()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert json.loads(files()["grafana.json"]) == board()


def test_every_metric_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for metric in METRICS:
        assert f"`{metric.name}`" in text, metric.name
    for rule in RULES:
        assert f"`{rule.name}`" in text, rule.name


@promtool
def test_promtool_accepts_the_rules_and_each_fires_when_it_should() -> None:
    assert "SUCCESS" in _promtool("check", "rules", "--lint-fatal", "alerts.yaml")
    assert "SUCCESS" in _promtool("test", "rules", "alerts.test.yaml")


@promtool
def test_promtool_understands_every_query_of_the_board(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:{number}", "expr": expression.replace("$", "")}
        for number, expression in enumerate(expressions())
    ]
    document = {"groups": [{"name": "board", "rules": rules}]}
    (tmp_path / "board.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    said = _promtool("check", "rules", str(tmp_path / "board.yaml"))
    assert f"{len(rules)} rules found" in said


def _base(name: str) -> str:
    return re.sub(r"_bucket$", "", name)


def _promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
