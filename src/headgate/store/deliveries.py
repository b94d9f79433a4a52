"""Which alerts have reached which channel."""

from headgate.model.alert import Alert
from headgate.store.database import Database


class DeliveryStore:
    """The table ``delivery``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_delivered(self, alert: Alert, channel: str) -> bool:
        """Return whether ``channel`` has confirmed ``alert``."""
        found = await self._database.fetch_value(
            "SELECT delivered_at IS NOT NULL FROM delivery WHERE alert_id = $1 AND channel = $2",
            alert.id,
            channel,
        )
        return bool(found)

    async def record(self, alert: Alert, channel: str, error: str | None) -> None:
        """Write down an attempt; ``error`` is None when the channel confirmed."""
        await self._database.execute(
            "INSERT INTO delivery AS d "
            "(alert_id, channel, alert, attempts, delivered_at, last_error) "
            "VALUES ($1, $2, $3, 1, CASE WHEN $4::text IS NULL THEN now() END, $4) "
            "ON CONFLICT (alert_id, channel) DO UPDATE SET attempts = d.attempts + 1, "
            "delivered_at = coalesce(d.delivered_at, excluded.delivered_at), "
            "last_error = excluded.last_error",
            alert.id,
            channel,
            alert.model_dump(mode="json"),
            error,
        )
