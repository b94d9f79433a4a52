"""What may be done to a ledger, as requests say it: what one does not know of it is refused.

The ledger's own actions (``model/ledger.py``) leave aside what a newer version may say, which would
make of a pause for a minute a pause for good.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from headgate.api.writes import Duration, ForATime
from headgate.gate.clock import now_ms
from headgate.model.contract import Contract, Millis, Name
from headgate.model.ledger import (
    LedgerAction,
    Lift,
    ReleasePermit,
    Resume,
    SetOverride,
    SetPause,
    SetThrottle,
)
from headgate.model.quota import QuotaChanges

_STRICT: Final = ConfigDict(frozen=True, extra="forbid")


class OverrideOrder(Contract):
    """Another quota for a time.

    Attributes:
        kind: ``override``.
        resource: Whose quota.
        changes: What is different, by field of the quota.
        begins_at_ms: From when, Unix time; null: from now on.
        for_ms: How long it holds, from when it begins; either this or ``ends_at_ms``.
        ends_at_ms: Until when, Unix time.
    """

    kind: Literal["override"]
    resource: Name
    changes: QuotaChanges
    begins_at_ms: Millis | None = None
    for_ms: Duration = None
    ends_at_ms: Millis | None = None

    @model_validator(mode="after")
    def _lasts_for_a_time(self) -> Self:
        if (self.for_ms is None) == (self.ends_at_ms is None):
            raise ValueError("say how long: either for_ms, or ends_at_ms")
        begin, end = self.begins_at_ms, self.ends_at_ms
        if begin is not None and end is not None and end <= begin:
            raise ValueError("ends_at_ms is not after begins_at_ms: an override lasts for a time")
        return self

    def action(self) -> LedgerAction:
        """Return what the ledger is told."""
        begins_at_ms = self.begins_at_ms
        ends_at_ms = self.ends_at_ms
        if ends_at_ms is None:
            ends_at_ms = max(now_ms(), begins_at_ms or 0) + (self.for_ms or 0)
        return SetOverride(
            resource=self.resource,
            changes=self.changes,
            begins_at_ms=begins_at_ms,
            ends_at_ms=ends_at_ms,
            for_ms=self.for_ms,
        )


class CutOrder(ForATime):
    """A cut of a resource, or of all.

    Attributes:
        kind: ``throttle``.
        resource: Of what; ``*``: of all that the tenant has.
        share: What is left of every limit; 0: nothing is granted.
        for_ms: How long it holds; null, and ``until_ms`` too: until ``resume``.
        until_ms: In place of ``for_ms``: until when, Unix time.
    """

    kind: Literal["throttle"]
    resource: Name | Literal["*"]
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]

    def action(self) -> LedgerAction:
        """Return what the ledger is told."""
        return SetThrottle(resource=self.resource, share=self.share, until_ms=self.ends_at_ms())


class PauseOrder(ForATime):
    """Nothing is granted for a time, or until people resume.

    Attributes:
        kind: ``pause``.
        resource: Of what; ``*``: of all that the tenant has.
        for_ms: How long it holds; null, and ``until_ms`` too: until ``resume``.
        until_ms: In place of ``for_ms``: until when, Unix time.
    """

    kind: Literal["pause"]
    resource: Name | Literal["*"]

    def action(self) -> LedgerAction:
        """Return what the ledger is told."""
        return SetPause(resource=self.resource).until(self.ends_at_ms())


class ResumeOrder(Resume):
    """End every pause and cut that was set for exactly this resource, or for ``*``."""

    model_config = _STRICT

    def action(self) -> LedgerAction:
        """Return what the ledger is told."""
        return Resume(resource=self.resource)


class LiftOrder(Lift):
    """End one override or throttle, by its id."""

    model_config = _STRICT

    def action(self) -> LedgerAction:
        """Return what the ledger is told."""
        return Lift(id=self.id)


class ReleaseOrder(ReleasePermit):
    """Take a permit from its holder, or a request out of the line."""

    model_config = _STRICT

    def action(self) -> LedgerAction:
        """Return what the ledger is told."""
        return ReleasePermit(permit=self.permit)


LedgerActionOrder = Annotated[
    OverrideOrder | CutOrder | PauseOrder | ResumeOrder | LiftOrder | ReleaseOrder,
    Field(discriminator="kind"),
]
