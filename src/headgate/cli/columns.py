"""How wide the columns of a table are, where there is not room for all of them."""

import re
from collections.abc import Collection, Sequence
from typing import Final

from rich.cells import cell_len

GAP = 2
"""Cells between two columns."""
_BREAK: Final = re.compile(r"(?<!\d) +")


def fitted(
    columns: Sequence[Sequence[str]], whole: Collection[int], room: int, *, at_least: int = 0
) -> list[int] | None:
    """Return the width of each column; None: there is no way.

    The widest give way first, and are broken between words. What is to be copied is never broken.

    Args:
        columns: The cells of each, with its title.
        whole: Which columns are to be copied.
        room: Cells of a line.
        at_least: To what width words may be broken; 0: they may not be.
    """
    widths = [max(map(cell_len, cells)) for cells in columns]
    least = [
        width
        if number in whole
        else at_least or max(cell_len(word) for cell in columns[number] for word in _words(cell))
        for number, width in enumerate(widths)
    ]
    over = sum(widths) + GAP * (len(widths) - 1) - room
    while over > 0:
        spare = [number for number, width in enumerate(widths) if width > least[number]]
        if not spare:
            return None
        widths[max(spare, key=lambda number: widths[number])] -= 1
        over -= 1
    return widths


def lines_of(ids: Sequence[str], room: int) -> list[str]:
    """Return what is to be copied: beside each other, or each on a line of its own."""
    found = [id for id in ids if id]
    beside = (" " * GAP).join(found)
    return [beside] if found and cell_len(beside) <= room else found


def _words(cell: str) -> list[str]:
    """Return what is not broken: words, and a number with what it counts."""
    return _BREAK.split(cell)
