"""The ids by which the parts of Headgate find each other."""

from typing import Final, Literal

Kind = Literal["breaker", "ledger", "governor"]
"""What a governance workflow governs."""

GOVERNANCE_TASK_QUEUE: Final = "headgate"
"""The task queue of the governance workers, unless the plugin is told another."""

DEFAULT: Final = "*"
"""The name under which the configuration says what holds for whatever it does not list."""


def workflow_id(kind: Kind, subject: str) -> str:
    """Return the id of the workflow that governs a downstream, tenant or pool."""
    return f"headgate/{kind}/{subject}"


def gate_task_queue(gate: str) -> str:
    """Return the private task queue on which a gate receives verdicts."""
    return f"headgate-gate/{gate}"
