"""Lists page by page: each comes once, in the order that is asked for."""

import json

import pytest

from headgate.model.snapshot import Snapshot
from headgate.store.database import Database
from headgate.store.pages import Order, PageStore, Saved
from headgate.store.snapshots import SnapshotStore

STATES = {"a": "CLOSED", "b": "OPEN", "c": "CLOSED", "d": "HALF_OPEN", "e": "FORCED_OPEN"}


@pytest.mark.parametrize(("order", "names"), [("name", "abcde"), ("trouble", "bdeac")])
@pytest.mark.parametrize("size", [1, 2, 5])
async def test_breakers_page_by_page(
    own_database: Database, order: Order, names: str, size: int
) -> None:
    for name, state in STATES.items():
        view = json.dumps({"downstream": name, "state": state})
        snapshot = Snapshot(
            kind="breaker",
            subject=name,
            incarnation=1,
            revision=1,
            at_ms=1,
            state="{}",
            view=view,
        )
        await SnapshotStore(own_database).save(snapshot)
    store, found, last = PageStore(own_database), "", None
    page: list[Saved] = []
    while True:
        page = await store.page(
            "breaker",
            size,
            order=order,
            after=last,
            after_value=0 if not found else page[-1].value,
        )
        found += "".join(row.subject for row in page)
        if not page:
            break
        last = page[-1].subject
    assert found == names
