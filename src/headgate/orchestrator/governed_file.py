"""The table of governed activities, given as such or as a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headgate.model.errors import ConfigurationError
from headgate.orchestrator.governed import GovernedTable, checked_table


def governed_table(given: Mapping[str, Any] | str | Path | None) -> GovernedTable:
    """Return which activities are governed, by type, each entry checked.

    Args:
        given: The table, or a YAML file that has it in the section ``activities``. Where the file
            has a section ``downstreams`` too, a call to any other one is a mistake.

    Raises:
        ConfigurationError: It cannot be read, or an entry is not valid.
    """
    if not isinstance(given, str | Path):
        return GovernedTable(checked_table(given))
    file = Path(given)
    document = _document(file)
    try:
        calls = checked_table(document["activities"])
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    listed = document.get("downstreams")
    if listed is None:
        return GovernedTable(calls)
    if not isinstance(listed, dict):
        raise ConfigurationError(f"{file}: downstreams is not a table of downstreams")
    table = GovernedTable(calls, frozenset(map(str, listed)), str(file))
    for name, call in sorted(calls.items()):
        table.require_listed(name, call)
    return table


def _document(file: Path) -> dict[str, Any]:
    """Return what a file says, which has a section ``activities``."""
    try:
        import yaml  # only where a file is given: a worker needs no more than temporalio otherwise
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"HeadgatePlugin: governed={str(file)!r} needs PyYAML: pip install 'headgate[server]', "
            "or give the table itself"
        ) from error
    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from error
    section = found.get("activities") if isinstance(found, dict) else None
    if section is None:
        raise ConfigurationError(
            f"{file}: has no section activities; write which activities are governed, such as "
            "activities: {scan: {downstream: scanner}}"
        )
    if not isinstance(section, dict):
        raise ConfigurationError(f"{file}: activities is not a table of activity types")
    assert isinstance(found, dict)
    return found
