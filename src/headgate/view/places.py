"""Where to look at what an alert is about: its page of the dashboard, the workflow that decided."""

from typing import Final
from urllib.parse import quote

from headgate.model.alert import Alert
from headgate.model.ids import Kind, workflow_id
from headgate.model.notifier import tenant_of

_KINDS: Final[dict[str, Kind]] = {
    "breaker": "breaker",
    "downstream": "breaker",
    "tenant": "ledger",
    "ledger": "ledger",
    "pool": "governor",
    "governor": "governor",
}
"""What governs a subject, by its first word."""

_PAGES: Final[dict[Kind, str]] = {
    "breaker": "downstreams",
    "ledger": "tenants",
    "governor": "pools",
}


def page_of(alert: Alert) -> str | None:
    """Return the page of the dashboard about a downstream, tenant or pool; None: it is no such."""
    kind, name = _subject_of(alert)
    return None if kind is None else f"/{_PAGES[kind]}/{quote(name, safe='')}"


def page_of_workflow(id: str) -> str | None:
    """Return the page of the dashboard about what a workflow governs; None: it governs nothing."""
    head, _, rest = id.partition("/")
    section, _, name = rest.partition("/")
    known = head == "headgate" and section in _KINDS and name
    return f"/{_PAGES[_KINDS[section]]}/{quote(name, safe='')}" if known else None


def workflow_of(alert: Alert) -> str | None:
    """Return the id of the workflow that decided, as far as the alert tells."""
    pool = alert.data.get("pool")
    if alert.kind.startswith("guarantee.") and isinstance(pool, str):
        return workflow_id("governor", pool)  # it is about a tenant, and told by the pool
    kind, name = _subject_of(alert)
    return None if kind is None else workflow_id(kind, name)


def _subject_of(alert: Alert) -> tuple[Kind | None, str]:
    tenant = tenant_of(alert)
    if tenant is not None:
        return "ledger", tenant  # its subject may go on, with a resource
    section, _, name = alert.subject.partition("/")
    return (_KINDS.get(section), name) if name else (None, "")
