"""How the operators' commands print: tables for 80 columns, stable JSON."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from headgate.cli.page import counted
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


def say(text: str, indent: int = 0) -> None:
    """Print a sentence, broken between words where people read it; else on one line."""
    lines = [text]
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        width = shutil.get_terminal_size().columns
        lines = textwrap.wrap(
            text,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    for line in lines:
        print(line)


def ago(at_ms: int | None) -> str:
    """Return how long ago something was saved."""
    return "never" if at_ms is None else f"{lasting(now_ms() - at_ms)} ago"


def ends(at_ms: int | None) -> str:
    """Return until when something holds."""
    return "until lifted" if at_ms is None else f"until {utc(at_ms)}"


def left(until_ms: int | None) -> str:
    """Return for how much longer something holds."""
    return "until lifted" if until_ms is None else lasting(until_ms - now_ms())


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{share * 100:g}%"


def bar(part: float, cells: int) -> str:
    """Return a part of a whole, from 0 to 1, as a bar of so many cells."""
    full = round(max(0.0, min(1.0, part)) * cells)
    return "█" * full + "·" * (cells - full)


def rest(number: int, what: str) -> None:
    """Say how many are not shown, if any are not."""
    if number > 0:
        print(f"and {counted(number, what)} more: see --limit and --help")


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")
