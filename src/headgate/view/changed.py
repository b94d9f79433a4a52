"""What is different after a change, for people who read the audit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_SAID: Final = ("actor", "reason")
"""What stands in the line of the audit itself."""
_MOMENTS: Final = ("_at_ms", "until_ms", "since_ms")
"""How the names of Unix times end."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One plain value that a change has touched; ``-``: it was not set, or is not any more."""

    name: str
    before: str
    after: str


def differences(before: Any, after: Any, moment: Callable[[int], str]) -> list[Difference]:
    """Return what differs between two objects, by path.

    Args:
        before: As it was; null: it was not there.
        after: As it is.
        moment: Writes a Unix time in milliseconds for people.
    """
    old, new = _flat(before), _flat(after)

    def words(name: str, value: Any) -> str:
        if value is None:
            return "-"
        return moment(value) if name.endswith(_MOMENTS) and isinstance(value, int) else plain(value)

    return [
        Difference(name, words(name, old.get(name)), words(name, new.get(name)))
        for name in sorted({*old, *new} - {*_SAID})
        if old.get(name) != new.get(name)
    ]


def plain(value: Any) -> str:
    """Return a plain value as people write it into a file or a command."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the plain values in an object by their path, without those that are not set."""
    if not isinstance(value, dict):
        return {} if value is None else {path: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        # What an override changes is told from what it was under the same name.
        inside = f"{path}.{name}" if path else "" if name == "changes" else str(name)
        found |= _flat(inner, inside)
    return found
