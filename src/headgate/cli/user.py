"""Who runs the command."""

import getpass


def current_user() -> str:
    """Return the name of the user, for the audit."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
