"""An alert, as it is decided in a workflow and delivered by the Notifier."""

from typing import Literal

from headgate.model.contract import Message

Severity = Literal["info", "warning", "critical"]


class Alert(Message):
    """Something that people should know.

    Attributes:
        id: ``subject:epoch:sequence:kind``; the same across all attempts to deliver it.
        kind: What it is about, such as ``breaker.opened`` or ``quota.threshold``.
        severity: How much it matters.
        subject: The downstream, or tenant and resource, such as ``tenant/acme/scan``.
        title: One line.
        text: What happened, with numbers, and what to expect next.
        at_ms: When it was decided, Unix time.
        data: The numbers.
    """

    id: str
    kind: str
    severity: Severity
    subject: str
    title: str
    text: str
    at_ms: int
    data: dict[str, str | int | float | None] = {}
