"""Which commands there are, and where each is found: imported when it is asked for.

All of them together need the API, the dashboard and the embedded servers, which take two seconds to
import. Somebody who asks for the status waits for none of these.
"""

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup

NAMES: Final = (
    *("allocate", "apply", "migrate", "worker", "serve", "dev", "demo", "backtest", "simulate"),
    *("bench", "plan", "status", "breakers", "tenants", "top", "metrics", "audit", "export", "why"),
    *("holders", "release", "nexus-endpoint", "search-attributes", "breaker", "quota", "pool"),
    *("throttle", "alerts", "notifier", "keys"),
)
"""Commands and groups of commands, as they are listed."""

_ELSEWHERE: Final = {"release": ("holders", "release")}
"""Commands that have no module of their own: module and function."""


class _Commands(MutableMapping[str, Any]):
    """By name; a command is imported at the first look at it."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = dict.fromkeys(NAMES)

    def __getitem__(self, name: str) -> Any:
        found = self._found[name]
        if found is None:
            found = self._found[name] = _load(name)
        return found

    def __setitem__(self, name: str, command: Any) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Commands(TyperGroup):
    """All commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()


def _load(name: str) -> Any:
    module, function = _ELSEWHERE.get(name, (name.replace("-", "_"), "command"))
    found = import_module(f"headgate.cli.{module}")
    app = getattr(found, "app", None) if function == "command" else None
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(found, function))
    else:
        app.info.name = name
        app._add_completion = False
    command = typer.main.get_command(app)
    command.name = name
    return command
