"""Errors for people: what was wrong, where, and what to do."""


class HeadgateError(Exception):
    """Base of everything Headgate raises on purpose.

    The command line prints the message on one line and ends with ``exit_code``; nothing has been
    changed when one is raised. The message therefore names what was wrong, where, and what to do.
    """

    exit_code = 2


class ConfigurationError(HeadgateError):
    """A configuration, policy or request that cannot be accepted as it is written."""


class NotFoundError(ConfigurationError):
    """What a request names is not there."""


class ConflictError(ConfigurationError):
    """What a request is about has been changed by people since it was looked at."""


class UnavailableError(HeadgateError):
    """Something Headgate needs (Temporal, Postgres, a port, a folder) cannot be used."""
