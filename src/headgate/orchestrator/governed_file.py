"""The table of governed activities, given as such or as a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from headgate.model.consistency import calls_have_breakers
from headgate.model.contract import Message
from headgate.model.errors import ConfigurationError
from headgate.model.governed import GovernedCalls
from headgate.orchestrator.governed import GovernedTable, checked_table


class _WorkersPart(Message):
    """What of ``headgate.yaml`` is for workers; the rest is for ``headgate apply``.

    Attributes:
        activities: Which calls are governed, by activity type.
        downstreams: That there are, perhaps with ``*`` for all others; None: the file does not say.
    """

    activities: GovernedCalls | None = None
    downstreams: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.activities is None:
            raise ValueError(
                "has no section activities; write which activities are governed, such as "
                "activities: {scan: {downstream: scanner}}"
            )
        if self.downstreams is not None:
            calls_have_breakers(self.activities, self.downstreams)
        return self


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
    try:
        # Only where a file is given: a worker needs no more than temporalio otherwise.
        from headgate.yaml_file import read_yaml
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"HeadgatePlugin: governed={str(given)!r} needs PyYAML: pip install 'headgate[server]',"
            " or give the table itself"
        ) from error
    part = read_yaml(Path(given), _WorkersPart, what="configuration", parts="sections")
    listed = None if part.downstreams is None else frozenset(part.downstreams)
    return GovernedTable(part.activities or {}, listed, str(given))
