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


class BelowUsageError(ConfigurationError):
    """A limit would be below what is held, and whoever asks has not said that this is meant.

    Args:
        limits: Which, in sentences.
    """

    def __init__(self, limits: list[str]) -> None:
        self.limits = "; ".join(limits)
        super().__init__(
            f"nothing was changed, because limits would be below what is held: {self.limits}. "
            "With --allow-below-usage it is done, and nothing is taken back"
        )


class UnavailableError(HeadgateError):
    """Something Headgate needs (Temporal, Postgres, a port, a folder) cannot be used.

    Args:
        message: For whoever runs Headgate: with the address, and what to look at.
        public: For those who only call its API, who are not to learn addresses; None: the same.
    """

    def __init__(self, message: str, public: str | None = None) -> None:
        super().__init__(message)
        self.public = message if public is None else public
