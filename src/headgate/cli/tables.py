"""How the operators' commands print: tables for 80 columns, stable JSON."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from headgate.cli.columns import GAP, fitted, lines_of
from headgate.cli.page import counted
from headgate.gate.clock import now_ms
from headgate.orchestrator.times import lasting, utc

_NOW_MS: Final = 1_000


def print_json(value: object) -> None:
    """Print messages, or plain data with messages in it, as one JSON value."""
    print(json.dumps(value, indent=2, default=_plain))


def table(*titles: str, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """Return an empty table.

    Args:
        titles: Of its columns.
        right: Those columns that hold numbers.
        whole: Those that hold what people copy: names and ids, which are never broken.
    """
    found = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        found.add_column(
            title,
            justify="right" if title in right else "left",
            overflow="fold",
            no_wrap=title in whole,
        )
    return found


def show(found: Table) -> None:
    """Print a table.

    Where it is too wide, other columns are broken between words first. If that does not do, what
    people copy stands on lines of its own, above the rest of its row.
    """
    console = Console(highlight=False, markup=False)
    columns = [[str(cell) for cell in (one.header, *one.cells)] for one in found.columns]
    whole = [number for number, one in enumerate(found.columns) if one.no_wrap]
    widths = fitted(columns, whole, console.width)
    if widths is None and whole:
        _show_apart(console, found, columns, whole)
        return
    for column, width in zip(found.columns, widths or [], strict=False):
        column.width = width
    console.print(found)


def _show_apart(console: Console, found: Table, columns: list[list[str]], whole: list[int]) -> None:
    others = [number for number in range(len(columns)) if number not in whole]
    room = console.width - GAP
    widths = fitted([columns[number] for number in others], (), room, at_least=1)
    for row, cells in enumerate(zip(*columns, strict=True)):
        style = "dim" if row == 0 else ""
        for line in lines_of([cells[number] for number in whole], console.width):
            console.print(line, style=style, soft_wrap=True)
        rest = Table(box=None, pad_edge=False, show_header=False, padding=(0, GAP, 0, 0))
        rest.add_column(width=0)
        for number, width in zip(others, widths or [], strict=True):
            rest.add_column(justify=found.columns[number].justify, overflow="fold", width=width)
        rest.add_row("", *(cells[number] for number in others), style=style)
        console.print(rest)


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
    if at_ms is None:
        return "never"
    gone_ms = now_ms() - at_ms
    return "just now" if gone_ms < _NOW_MS else f"{lasting(gone_ms)} ago"


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
