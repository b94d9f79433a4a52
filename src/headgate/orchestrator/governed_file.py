"""The table of governed activities, given as such or as a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headgate.model.errors import ConfigurationError
from headgate.model.governed import GovernedCalls
from headgate.orchestrator.governed import checked_table


def governed_table(given: Mapping[str, Any] | str | Path | None) -> GovernedCalls:
    """Return a table of governed activities, by type, each entry checked.

    Args:
        given: The table, or a YAML file that has it in the section ``activities``.

    Raises:
        ConfigurationError: It cannot be read, or an entry is not valid.
    """
    if not isinstance(given, str | Path):
        return checked_table(given)
    return checked_table(_section(Path(given)))


def _section(file: Path) -> Mapping[str, Any]:
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
    return section
