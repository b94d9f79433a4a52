"""What to think of before a key of the API is given away."""

from headgate.orchestrator.operate import absent
from headgate.store.database import Database
from headgate.store.keys import RoleName


async def key_warning(database: Database, role: RoleName, tenant: str | None) -> str | None:
    """Return what may not be meant of a key; None: nothing. No refusal, as it may be meant.

    Args:
        database: Migrated.
        role: Of the key.
        tenant: Whose it is; None: of all.

    Raises:
        UnavailableError: Postgres does not answer.
    """
    if tenant is None:
        return None
    found = []
    if role == "admin":
        found.append(
            "a key for one tenant may see that one and release what it holds, and nothing else, "
            "also as admin"
        )
    # It may come still: where the configuration has a tenant '*', anybody may.
    why = await absent(database, "ledger", tenant)
    return "; ".join([*found, *([why] if why else [])]) or None
