"""Cells that say what column they are of: on a narrow screen a row is laid out as a block."""

import re
from collections.abc import Sequence
from typing import Final

_TABLE: Final = re.compile(r"(<thead><tr>(.*?)</tr></thead>\s*<tbody>)(.*?)</tbody>", re.DOTALL)
_HEADER: Final = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_ROW: Final = re.compile(r"<tr[ >].*?</tr>", re.DOTALL)
_CELL: Final = re.compile(r"<td(?=[ >])")


def labelled(page: str) -> str:
    """Return a page on every cell of which the header of its column stands, in ``data-label``.

    Done once for all tables, and not by each template for each cell. A header with a tag in it is
    only for those who do not see the page, and is no label; nor has a sentence in place of a row
    one.

    Args:
        page: As templates make it: ``<td`` is nowhere in it but where a cell begins.
    """

    def label(table: re.Match[str]) -> str:
        headers = _HEADER.findall(table[2])
        rows = _ROW.sub(lambda row: _label(row[0], headers), table[3])
        return f"{table[1]}{rows}</tbody>"

    return _TABLE.sub(label, page)


def _label(row: str, headers: Sequence[str]) -> str:
    if " colspan=" in row:
        return row
    begins = iter(["<td" if "<" in one else f'<td data-label="{one}"' for one in headers])
    return _CELL.sub(lambda _: next(begins, "<td"), row)
