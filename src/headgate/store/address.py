"""The address of a database, and what of it may be shown."""

from typing import Final
from urllib.parse import unquote, urlsplit

from headgate.model.errors import ConfigurationError

DATABASE_URL: Final = "HEADGATE_DATABASE_URL"


def public_part(dsn: str, named: str = DATABASE_URL) -> tuple[str, str | None]:
    """Return what of an address may be shown, and the password in it.

    Args:
        dsn: The address.
        named: What has it, for the message.

    Raises:
        ConfigurationError: It is not an address of Postgres.
    """
    refusal = ConfigurationError(
        f"{named} is not of the form postgresql://user:password@host:port/database; write"
        " signs such as / # ? @ in a password as %2F %23 %3F %40"
    )
    try:
        parts = urlsplit(dsn)
        password = parts.password
        _ = parts.port  # refuses what is not a number
    except ValueError:
        raise refusal from None
    # A bare # / or ? in a password ends the host early: the rest would be shown.
    if parts.scheme not in {"postgresql", "postgres"} or "@" in parts.path + parts.query:
        raise refusal
    if parts.fragment:
        raise refusal
    where = parts.netloc.rpartition("@")[2] + parts.path
    return where or "the default address", unquote(password) if password else None
