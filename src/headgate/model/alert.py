"""An alert, as it is decided in a workflow and delivered by the Notifier."""

from typing import Literal

from headgate.model.contract import Message

Severity = Literal["info", "warning", "critical"]
Status = Literal["firing", "resolved"]


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
        status: ``resolved``: what an earlier alert with the same ``key`` told of is over.
        key: What it is about, the same from the first alert to the one that resolves it:
            ``kind/subject`` of that first one; empty: it stands alone and is never resolved.
        tenant: Whose it is; None: no single tenant's.
        since_ms: Since when it has been so, Unix time; None: since ``at_ms``.
        advice: What can be done about it, one or two sentences.
    """

    id: str
    kind: str
    severity: Severity
    subject: str
    title: str
    text: str
    at_ms: int
    data: dict[str, str | int | float | None] = {}
    status: Status = "firing"
    key: str = ""
    tenant: str | None = None
    since_ms: int | None = None
    advice: str = ""
