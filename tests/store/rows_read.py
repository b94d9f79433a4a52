"""What Postgres had to look at: unlike the time that takes, it does not depend on the machine."""

from headgate.store.database import Database


async def rows_read(database: Database) -> int:
    """How many rows of all tables Postgres has looked at."""
    await database.fetch("SELECT pg_stat_force_next_flush()")
    read: int = await database.fetch_value(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables"
    )
    return read
