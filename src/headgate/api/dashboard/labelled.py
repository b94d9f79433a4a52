"""Cells that say what column they are of: on a narrow screen a row is laid out as a block."""

import re
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Final

_HEADER: Final = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_HEAD, _ROW, _CELL = "<thead><tr>", "<tr", "<td"


def labelled(page: str) -> str:
    """Return a page on every cell of which the header of its column stands, in ``data-label``.

    Done once for all tables, and not by each template for each cell. A header with a tag in it is
    only for those who do not see the page, and is no label; nor has a sentence in place of a row
    one. The page is taken apart by ``split``: to look for tables by patterns took a third of what a
    page of fifty tenants costs.

    Args:
        page: As templates make it: ``<td`` and ``<tr`` are nowhere in it but where a cell and a row
            begin.
    """
    before, *tables = page.split(_HEAD)
    return _HEAD.join([before, *map(_table, tables)])


def _table(table: str) -> str:
    head, begin, rest = table.partition("<tbody>")
    body, end, after = rest.partition("</tbody>")
    headers = _HEADER.findall(head)
    labels = ["" if "<" in one else f' data-label="{one}"' for one in headers]
    before, *rows = body.split(_ROW)
    labelled_rows = [_row(row, labels) for row in rows]
    return f"{head}{begin}{_ROW.join([before, *labelled_rows])}{end}{after}"


def _row(row: str, labels: Sequence[str]) -> str:
    if " colspan=" in row:
        return row
    before, *cells = row.split(_CELL)
    named = [label + cell for label, cell in zip(chain(labels, repeat("")), cells, strict=False)]
    return _CELL.join([before, *named])
