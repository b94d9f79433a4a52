"""The errors that job code may meet; their ``type`` strings are stable."""

from datetime import UTC, datetime
from typing import Final

from temporalio.exceptions import ApplicationError

from headgate.model.reason import Reason

PERMIT_DENIED: Final = "headgate.PermitDenied"
CALL_DENIED: Final = "headgate.CallDenied"
INVALID_REQUEST: Final = "headgate.InvalidRequest"
"""The ``type`` of the error that a request gets which nobody can answer as it is written."""


def invalid_request(message: str) -> ApplicationError:
    """Return the error of a request that is not valid: asking again would not help."""
    return ApplicationError(message, type=INVALID_REQUEST, non_retryable=True)


class PermitDenied(ApplicationError):  # noqa: N818 - it is an answer, not a malfunction
    """A job was refused, or had waited for as long as it was willing to.

    Not caught, it fails the job's workflow, with the reason in plain words. Its details are those
    of the attributes, so callers in any language can read them.

    Attributes:
        reason: Which rule, with its numbers.
        retry_at: When it makes sense to try again (UTC); None when it never does, or nobody knows.
        tenant: For whom.
        resource: What was asked for.
        downstream: What was to be called, if anything.
    """

    def __init__(
        self,
        reason: Reason,
        retry_at_ms: int | None,
        *,
        tenant: str,
        resource: str,
        downstream: str | None,
    ) -> None:
        self.reason = reason
        self.retry_at = (
            None if retry_at_ms is None else datetime.fromtimestamp(retry_at_ms / 1000, tz=UTC)
        )
        self.tenant = tenant
        self.resource = resource
        self.downstream = downstream
        when = f"; try again at {self.retry_at:%H:%M:%S} UTC" if self.retry_at else ""
        super().__init__(
            f"no permit for {resource} of tenant {tenant}: {reason.message}{when}",
            {
                "reason": reason.model_dump(mode="json", exclude_none=True),
                "retry_at_ms": retry_at_ms,
                "tenant": tenant,
                "resource": resource,
                "downstream": downstream,
            },
            type=PERMIT_DENIED,
            non_retryable=True,
        )
