"""The user that Postgres runs as when Headgate runs as root, and what that user can reach.

Postgres refuses to run as root. An existing user without rights serves; none is ever created.
"""

import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headgate.model.errors import ConfigurationError

USER_VARIABLE = "HEADGATE_POSTGRES_USER"
DEFAULT_USER = "nobody"


@dataclass(frozen=True)
class Account:
    """A user, with the one group it is in here."""

    name: str
    uid: int
    gid: int


def account_for_postgres(environ: Mapping[str, str]) -> Account | None:
    """The user to run Postgres as; None for the user that runs this.

    Raises:
        ConfigurationError: ``HEADGATE_POSTGRES_USER`` names nobody, or root.
    """
    if os.geteuid() != 0:
        return None
    name = environ.get(USER_VARIABLE) or DEFAULT_USER
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"Postgres cannot run as root, and there is no user {name!r} to run it as; set"
            f" {USER_VARIABLE} to an existing unprivileged user"
        ) from None
    if entry.pw_uid == 0:
        raise ConfigurationError(
            f"{USER_VARIABLE} is {name!r}, which is root; Postgres needs an unprivileged user"
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def first_closed_folder(folder: Path, account: Account) -> Path | None:
    """The first folder on the way from / that the user cannot pass through.

    Args:
        folder: Where the way leads; it counts too.
        account: The user.

    Returns:
        The closed folder, or None when all are open.
    """
    way = folder.resolve()
    for step in (*reversed(way.parents), way):
        if not may_execute(step, account):
            return step
    return None


def may_execute(path: Path, account: Account) -> bool:
    """Whether the user may run this file or pass through this folder, by its permission bits."""
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
