"""Secrets and secret addresses, from the environment or from files; read anew for each use."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from headgate.model.channels import HttpChannel, checked_url, require_allowed
from headgate.model.errors import ConfigurationError

_MAX_BYTES: Final = 65_536


def read(variable: str | None, file: str | None) -> str:
    """Return what a variable of the environment, or a file, holds.

    Raises:
        ConfigurationError: It is not there, or empty. The message names the place.
    """
    if variable is not None:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ConfigurationError(f"the environment lacks {variable}")
        return _in_one_line(value, variable)
    assert file is not None
    try:
        with Path(file).open("rb") as opened:
            value = opened.read(_MAX_BYTES).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file} is not UTF-8 text") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    if not value:
        raise ConfigurationError(f"{file} is empty")
    return _in_one_line(value, file)


def _in_one_line(value: str, place: str) -> str:
    """Refuse what cannot stand in a header: what refuses it later would repeat it in its words."""
    if not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"{place} is not one line of plain ASCII: correct the secret")
    return value


def read_all(variables: Sequence[str], files: Sequence[str]) -> list[tuple[str, str]]:
    """Return all secrets with the places they come from.

    Raises:
        ConfigurationError: One is not there.
    """
    found = [(variable, read(variable, None)) for variable in variables]
    return found + [(file, read(None, file)) for file in files]


def address(channel: HttpChannel, usual: str = "") -> str:
    """Return the address of a channel.

    Raises:
        ConfigurationError: It is not there, is no address, or one to which nothing is sent. The
            message repeats no more of it than its host.
    """
    if channel.url is not None:
        return channel.url
    if channel.url_env is None and channel.url_file is None:
        return usual
    url = read(channel.url_env, channel.url_file)
    try:
        require_allowed(checked_url(url, channel.allow_http), channel.allow_private)
    except ValueError as error:
        raise ConfigurationError(f"{channel.url_env or channel.url_file} {error}") from None
    return url
