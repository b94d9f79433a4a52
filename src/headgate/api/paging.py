"""Lists page by page: a cursor says after what the next page begins."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from headgate.api.problems import ProblemError

Item = TypeVar("Item")
Row = TypeVar("Row")
View = TypeVar("View")

MOST_PAGE = 200

Limit = Annotated[int, Query(ge=1, le=MOST_PAGE, description="Items of the page at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=1_000, description="`next_cursor` of the page before; none: the first page."),
]
Search = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f]+$",
        description="Only names with this in them.",
    ),
]


class Page(BaseModel, Generic[Item]):
    """One page of a list; ``next_cursor``: of the next page, null on the last one."""

    items: list[Item]
    next_cursor: str | None = None


class Fresh(BaseModel, Generic[View]):
    """Something as it was last saved.

    Attributes:
        revision: Of its workflow, for `If-Match`.
        saved_at_ms: When it last changed and was saved, Unix time.
        age_ms: How long ago that was.
        data: How it was.
    """

    revision: Annotated[int, Field(ge=0)]
    saved_at_ms: int
    age_ms: Annotated[int, Field(ge=0)]
    data: View


def page_of(
    rows: Sequence[Row],
    limit: int,
    keys: Callable[[Row], tuple[str | int, ...]],
    shown: Callable[[Row], Item],
) -> Page[Item]:
    """Return a page.

    Args:
        rows: One more than fits, if there is a next page.
        limit: How many fit.
        keys: By what the next page goes on after a row.
        shown: What is shown of a row.
    """
    items = [shown(row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items=items, next_cursor=written(*keys(rows[limit - 1])) if more else None)


def part_of(items: Sequence[Item], limit: int, cursor: str | None) -> Page[Item]:
    """Return a page of a list that is at hand as a whole: its cursors are places in it.

    Raises:
        ProblemError: The cursor is not one of this list.
    """
    start = place(cursor)
    end = start + limit
    following = written(end) if end < len(items) else None
    return Page(items=list(items[start:end]), next_cursor=following)


def place(cursor: str | None) -> int:
    """Return the place in a list that a cursor stands for; raises as ``read``."""
    found = read(cursor, int)
    return 0 if found is None else max(0, int(found[0]))


def sorted_after(cursor: str | None, sort: str) -> tuple[str | None, int]:
    """Return the name and the value after which a page of a sorted list begins.

    Raises:
        ProblemError: The cursor is not one of this list, sorted like this.
    """
    found = read(cursor, str, int, str)
    if found is None:
        return None, 0
    if found[0] != sort:
        raise ProblemError(
            400, "bad_request", f"cursor: is of another sort than {sort}: begin again without it"
        )
    return str(found[2]), int(found[1])


def written(*keys: str | int) -> str:
    """Return a cursor."""
    return urlsafe_b64encode(json.dumps(keys).encode()).decode().rstrip("=")


def read(cursor: str | None, *kinds: type) -> list[str | int] | None:
    """Return what stands in a cursor.

    Raises:
        ProblemError: It is not one of this list.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        keys = json.loads(urlsafe_b64decode(padded.encode("ascii")))
    except (ValueError, RecursionError):
        keys = None
    fits = isinstance(keys, list) and [type(key) for key in keys] == list(kinds)
    if not fits or not all(_is_text(key) for key in keys if isinstance(key, str)):
        raise ProblemError(400, "bad_request", "cursor: write the next_cursor of this list")
    found: list[str | int] = keys
    if any(isinstance(key, int) and not -(2**62) < key < 2**62 for key in found):
        raise ProblemError(400, "bad_request", "cursor: write the next_cursor of this list")
    return found


def _is_text(key: str) -> bool:
    """Return whether Postgres takes it: no NUL, and no half of a character."""
    try:
        return b"\x00" not in key.encode()
    except UnicodeEncodeError:
        return False
