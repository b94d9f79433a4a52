"""The applied configuration, as ``headgate apply`` takes it back."""

from typing import Any

import yaml

from headgate.model.configuration import Configuration
from headgate.version import __version__


def plain(configuration: Configuration) -> dict[str, Any]:
    """Return what a configuration says beyond the defaults, with all names in order."""
    document = configuration.model_dump(mode="json", exclude_defaults=True)
    return {
        section: dict(sorted(content.items())) if section != "notifier" else content
        for section, content in document.items()
        if content
    }


def to_yaml(document: dict[str, Any], at: str) -> str:
    """Return what ``plain`` has returned as YAML, with a line that says when it was exported."""
    head = f"# Exported by headgate {__version__} at {at}.\n"
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
