"""What a governance workflow keeps in Postgres, and gets back when it starts without state."""

from headgate.model.audit import AuditEntry
from headgate.model.breaker import OutcomeSpan, Transition
from headgate.model.contract import Message
from headgate.model.ids import Kind


class Snapshot(Message):
    """The whole state of a governance workflow at one revision.

    Attributes:
        kind: What it governs.
        subject: Which downstream, tenant or pool.
        incarnation: How often the workflow has been restored.
        revision: Rises with every change; an older one never overwrites a newer one.
        at_ms: When, by the workflow's clock.
        state: The state in JSON, for a restore; compressed where it is long (``headgate.packed``).
        view: The state in JSON, for readers; on its way compressed where it is long.
        transitions: Changes of state since the last snapshot that was saved.
        spans: Outcomes by time that have changed since then.
        audit: What people have done since then.
    """

    kind: Kind
    subject: str
    incarnation: int
    revision: int
    at_ms: int
    state: str
    view: str
    transitions: list[Transition] = []
    spans: list[OutcomeSpan] = []
    audit: list[AuditEntry] = []


class SaveResult(Message):
    """Whether the snapshot was newer than what was there, and what is there now.

    Attributes:
        saved: It was newer.
        revision: What is there now.
        search_attributes: The namespace has Headgate's search attributes, and they are wanted.
    """

    saved: bool
    revision: int
    search_attributes: bool = False


class RestoreRequest(Message):
    """Who starts without state."""

    kind: Kind
    subject: str


class Restored(Message):
    """What a starting workflow goes on from.

    Attributes:
        incarnation: Higher than any before, so that revisions and epochs only rise.
        state: The last saved state in JSON, or null when there is none.
        settings: The applied configuration of this subject in JSON: ``BreakerSettings``,
            ``LedgerSettings`` or ``PoolSettings``; null when nothing applied concerns it.
    """

    incarnation: int
    state: str | None
    settings: str | None
