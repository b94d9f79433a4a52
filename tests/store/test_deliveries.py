"""Which alerts have reached which channel."""

from headgate.model.alert import Alert
from headgate.store.database import Database
from headgate.store.deliveries import DeliveryStore

ALERT = Alert(
    id="breaker/scanner:4:1:breaker.opened",
    kind="breaker.opened",
    severity="critical",
    subject="scanner",
    title="scanner is cut off",
    text="5 calls in a row failed",
    at_ms=1_000,
    data={"failures": 5, "rate": 0.5, "rule": "consecutive_failures", "none": None},
)


async def test_an_alert_is_delivered_once_the_channel_has_confirmed(
    own_database: Database,
) -> None:
    store = DeliveryStore(own_database)
    assert not await store.is_delivered(ALERT, "ops")
    await store.record(ALERT, "ops", "channel ops: answered 503")
    assert not await store.is_delivered(ALERT, "ops")
    await store.record(ALERT, "ops", None)
    assert await store.is_delivered(ALERT, "ops")
    assert not await store.is_delivered(ALERT, "other")
    row = (await own_database.fetch("SELECT * FROM delivery"))[0]
    assert (row["attempts"], row["last_error"]) == (2, None)
    assert Alert.model_validate(row["alert"]) == ALERT


async def test_a_late_failure_does_not_undo_a_delivery(own_database: Database) -> None:
    store = DeliveryStore(own_database)
    await store.record(ALERT, "ops", None)
    first = await own_database.fetch_value("SELECT delivered_at FROM delivery")
    await store.record(ALERT, "ops", "a second attempt at the same time failed")
    await store.record(ALERT, "ops", None)
    assert await store.is_delivered(ALERT, "ops")
    assert await own_database.fetch_value("SELECT delivered_at FROM delivery") == first
