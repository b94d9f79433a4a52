"""Alerts of long ago are forgotten, however many grow old at once."""

import pytest

from headgate.store.alerts import AlertStore
from headgate.store.database import Database
from tests.store.rows_read import rows_read

DAY_S = 86_400.0
SOME = 5_000
READ_MAX = 1_000_000
"""Rows: each of five tables has ``SOME``, and each is read some times."""

TABLES = ("alert", "delivery", "alert_message", "alert_in_message", "alert_attempt")
_FILL = (
    "INSERT INTO alert (id, kind, severity, subject, status, key, at_ms, taken_at, content) "
    "SELECT 'a' || n, 'k', 'warning', 's', 'firing', 'k' || n % $2::int, 0, "
    "now() - interval '100 days', '{}' FROM generate_series(1, $1::int) n",
    "INSERT INTO delivery (alert_id, channel, state, message_id) "
    "SELECT id, 'ops', 'delivered', id FROM alert",
    "INSERT INTO alert_message (channel, id, form, topic, content, state, created_at) "
    "SELECT 'ops', id, 'alert', '', '{}', 'delivered', taken_at FROM alert",
    "INSERT INTO alert_in_message SELECT 'ops', id, id, '' FROM alert",
    "INSERT INTO alert_attempt (channel, message_id, at, took_ms, outcome) "
    "SELECT 'ops', id, taken_at, 3, 'delivered' FROM alert",
)


async def _fill(database: Database, count: int, keys: int) -> None:
    """Tell of so many alerts 100 days ago, all of which fire still."""
    first, *others = _FILL
    await database.execute(first, count, keys)
    for sql in others:
        # Else Postgres looks for each in a table that it takes for as empty as it was.
        await database.execute("ANALYZE")
        await database.execute(sql)


async def _left(database: Database) -> list[int]:
    return [await database.fetch_value(f"SELECT count(*) FROM {table}") for table in TABLES]


@pytest.mark.parametrize(("keeps_open", "left"), [(False, 0), (True, SOME)])
async def test_none_is_compared_with_all_others_though_thousands_are_old_at_once(
    own_database: Database, keeps_open: bool, left: int
) -> None:
    """Each statement has 10 s."""
    await _fill(own_database, SOME, keys=5)
    read = await rows_read(own_database)
    await AlertStore(own_database).forget_old(90 * DAY_S, keeps_open=keeps_open)
    assert await rows_read(own_database) - read < READ_MAX
    assert await _left(own_database) == [left] * len(TABLES)


async def test_of_several_batches_the_right_ones_are_left(own_database: Database) -> None:
    store = AlertStore(own_database)
    await _fill(own_database, 2_500, keys=2_500)
    await own_database.execute("UPDATE delivery SET state = 'pending' WHERE alert_id = 'a2400'")
    # What two of them told of is over, and that was told before what the second tells of.
    for seq, key in (("DEFAULT", "k7"), ("0", "k8")):
        await own_database.execute(
            "INSERT INTO alert (id, seq, kind, severity, subject, status, key, at_ms, content) "
            f"OVERRIDING SYSTEM VALUE VALUES ('over-{key}', {seq}, 'k', 'warning', 's', "
            f"'resolved', '{key}', 0, '{{}}')"
        )
    await store.forget_old(90 * DAY_S, keeps_open=True)
    assert await _left(own_database) == [2_501, 2_499, 2_499, 2_499, 2_499]
    await store.forget_old(90 * DAY_S)
    kept = await own_database.fetch("SELECT id FROM alert ORDER BY id")
    assert [row["id"] for row in kept] == ["a2400", "over-k7", "over-k8"]
    assert (await _left(own_database))[1:] == [1] * 4
