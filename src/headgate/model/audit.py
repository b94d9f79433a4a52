"""Who did what, and why: one line of the audit."""

from typing import Any

from headgate.model.contract import Message


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
