"""Whether a Postgres that somebody else runs can be used, asked without telling its password."""

import asyncpg

from headgate.model.errors import UnavailableError
from headgate.store.address import DATABASE_URL, public_part

TIMEOUT_S = 5.0


async def require_database(dsn: str, timeout_s: float = TIMEOUT_S) -> None:
    """Checks that the database can be connected to.

    Args:
        dsn: Its address, as ``HEADGATE_DATABASE_URL`` gives it.
        timeout_s: How long it may take to answer.

    Raises:
        UnavailableError: It cannot.
        ConfigurationError: The address is not one.
    """
    where, password = public_part(dsn)
    try:
        connection = await asyncpg.connect(dsn, timeout=timeout_s)
        await connection.close(timeout=timeout_s)
    except TimeoutError:
        reason = f"no answer within {timeout_s:g} s"
    except (OSError, asyncpg.PostgresError) as error:
        reason = " ".join(str(error).split())
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as error:
        # These quote parts of the address.
        reason = f"the address was not accepted ({type(error).__name__})"
    else:
        return
    if password:
        reason = reason.replace(password, "***")
    # Not "from" the cause: its text may show the password in a traceback.
    raise UnavailableError(
        f"Postgres at {where}: {reason}; start it, correct {DATABASE_URL}, or unset it to use the"
        " embedded server"
    ) from None
