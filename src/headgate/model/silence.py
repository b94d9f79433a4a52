"""Silences: alerts that people do not want to hear of for a while."""

from typing import Annotated, Final

from pydantic import Field

from headgate.model.alert import Alert, Severity
from headgate.model.audit import AuditEntry
from headgate.model.contract import Message, Millis
from headgate.model.notifier import KindPattern, KnownKinds, Pattern, matches, tenant_of

MOST_SILENT_MS: Final = 365 * 86_400_000
"""A silence that is longer is a route: nobody remembers it."""

_Words = Annotated[str, Field(min_length=1, max_length=500)]


class Silence(Message):
    """What is not told of, until when, and who wanted that.

    Attributes:
        id: Of its own.
        kind: Kinds of alerts, such as ``quota.*``; None: any, and so are the next three.
        severity: How grave.
        subject: About what.
        tenant: Whose.
        until_ms: Unix time at which it ends by itself.
        actor: Who wanted it.
        reason: Why.
    """

    id: str
    kind: KindPattern | None = None
    severity: Severity | None = None
    subject: Pattern | None = None
    tenant: Pattern | None = None
    until_ms: Millis
    actor: _Words
    reason: _Words

    @property
    def words(self) -> str:
        """Which alerts, in words."""
        parts = ("kind", "severity", "subject", "tenant")
        return ", ".join(f"{part} {getattr(self, part)}" for part in parts if getattr(self, part))

    def entry(
        self, action: str, actor: str, reason: str, at_ms: int, request_id: str
    ) -> AuditEntry:
        """Return what is to stand in the audit of what is done to it."""
        return AuditEntry(
            at_ms=at_ms,
            actor=actor,
            reason=reason,
            action=action,
            target=f"silence/{self.id}",
            after=self.model_dump(mode="json", exclude={"actor", "reason"}),
            request_id=request_id,
        )

    def covers(self, alert: Alert) -> bool:
        """Return whether an alert is not told of, as long as this holds."""
        tenant = tenant_of(alert)
        return (
            matches(self.kind, alert.kind)
            and self.severity in (None, alert.severity)
            and matches(self.subject, alert.subject)
            and (self.tenant is None or (tenant is not None and matches(self.tenant, tenant)))
        )


class NewSilence(Silence):
    """One that somebody asks for: there are alerts that it fits.

    Attributes:
        kind: See base class.
    """

    kind: KnownKinds | None = None
