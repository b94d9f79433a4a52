"""``python -m headgate.monitoring [FOLDER]``: writes the board and the alert rules."""

import json
import sys
from pathlib import Path

import yaml

from headgate.monitoring.board import board
from headgate.monitoring.rules import rules_document, tests_document

_RULES = "alerts.yaml"
_HEAD = "# Made by python -m headgate.monitoring: change src/headgate/monitoring instead.\n"


def files() -> dict[str, str]:
    """Return what stands in the folder ``monitoring``, by name."""
    return {
        "grafana.json": json.dumps(board(), indent=2, ensure_ascii=False) + "\n",
        _RULES: _HEAD + _yaml(rules_document()),
        "alerts.test.yaml": _HEAD + _yaml(tests_document(_RULES)),
    }


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def main(folder: Path) -> None:
    """Write them all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["monitoring"]))
