"""Who did what, and why: one line of the audit; and what leads to one."""

from dataclasses import dataclass
from typing import Any, Final

from headgate.model.contract import Message

HEADGATE: Final = "headgate"
"""The actor where nobody did anything: a time was over."""


class AuditEntry(Message):
    """One change made by people, or the end of one.

    Attributes:
        at_ms: When, Unix time.
        actor: Who; ``headgate`` when a time was over.
        reason: Why, in the words of who made the change.
        action: What was done, such as ``override``; ``..._ended`` when a time was over.
        target: To what, such as ``ledger/acme/scan``.
        before: As it was; plain JSON.
        after: As it is then.
        request_id: Of the command; the same for every attempt at it.
    """

    at_ms: int
    actor: str
    reason: str
    action: str
    target: str
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    request_id: str


@dataclass(frozen=True, slots=True)
class Order:
    """What people want to have done by hand: who, why and when.

    Attributes:
        actor: Who wants it.
        reason: Why.
        request_id: The same for every attempt at it: it is done once.
        at_ms: When, Unix time.
        dry_run: Only find out what it would do.
    """

    actor: str
    reason: str
    request_id: str
    at_ms: int
    dry_run: bool = False

    def entry(self, action: str, target: str, **after: Any) -> AuditEntry:
        """Return its line of the audit."""
        return AuditEntry(
            at_ms=self.at_ms,
            actor=self.actor,
            reason=self.reason,
            action=action,
            target=target,
            after=after,
            request_id=self.request_id,
        )
