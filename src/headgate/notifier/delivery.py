"""How a delivery fails, and what that says of the channel."""

from typing import Final, Literal

from headgate.model.errors import HeadgateError

Outcome = Literal["delivered", "refused", "unreachable", "misconfigured"]

_PASSES: Final = frozenset({408, 425, 429})
"""Answers of 4xx that another time may not be given."""


def is_lasting(status: int | None) -> bool:
    """Return whether an answer of HTTP will be the same until somebody changes something."""
    return status is not None and 300 <= status < 500 and status not in _PASSES


class DeliveryError(HeadgateError):
    """A channel did not take a message; trying again may help.

    Args:
        message: What happened; names no more of an address than its host.
        outcome: ``refused``: it answered, but not with 2xx. ``unreachable``: it did not answer.
            ``misconfigured``: nothing was sent.
        status: Of HTTP, where it answered.
        retry_after_s: When it wants to be asked again.
        of_message: It is this message that was not liked; others may well be taken.
    """

    def __init__(
        self,
        message: str,
        outcome: Outcome = "unreachable",
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        of_message: bool = False,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.status = status
        self.retry_after_s = retry_after_s
        self.of_message = of_message

    @property
    def is_final(self) -> bool:
        """Whether it will be the same until somebody changes something."""
        if self.outcome == "misconfigured":
            return True
        return self.retry_after_s is None and is_lasting(self.status)

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint has said that it is there no more."""
        return self.status == 410
