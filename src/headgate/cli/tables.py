"""How the operators' commands print: tables for 80 columns, stable JSON."""

import json
from collections.abc import Sequence

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from headgate.gate.clock import now_ms
from headgate.orchestrator.times import lasting, utc


def print_json(value: object) -> None:
    """Print messages, or plain data with messages in it, as one JSON value."""
    print(json.dumps(value, indent=2, default=_plain))


def table(*titles: str, right: Sequence[str] = ()) -> Table:
    """Return an empty table.

    Args:
        titles: Of its columns; the last one takes what room is left.
        right: Those columns that hold numbers.
    """
    found = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        found.add_column(title, justify="right" if title in right else "left", overflow="fold")
    return found


def show(found: Table) -> None:
    """Print a table."""
    Console(highlight=False, markup=False).print(found)


def ago(at_ms: int | None) -> str:
    """Return how long ago something was saved."""
    return "never" if at_ms is None else f"{lasting(now_ms() - at_ms)} ago"


def ends(at_ms: int | None) -> str:
    """Return until when something holds."""
    return "until lifted" if at_ms is None else f"until {utc(at_ms)}"


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{share * 100:g}%"


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")
