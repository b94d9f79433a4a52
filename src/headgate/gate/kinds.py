"""The kinds of governance workflows: what each is called, takes and answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from temporalio.client import Client

from headgate.allocation.governor_record import GovernorInput
from headgate.breaker import BreakerInput
from headgate.gate.workflows import GovernanceWorkflow
from headgate.model.breaker import BreakerView
from headgate.model.entity import EntityOptions
from headgate.model.ids import GOVERNANCE_TASK_QUEUE, Kind, workflow_id
from headgate.model.ledger import LedgerView
from headgate.model.pool import PoolView
from headgate.quota import LedgerInput


@dataclass(frozen=True, slots=True)
class KindOf:
    """One kind.

    Attributes:
        workflow: The name of the workflow type.
        view: What its query ``state`` returns.
        start: Makes the input of one that begins, from its subject and options.
    """

    workflow: str
    view: type[Any]
    start: Callable[[str, EntityOptions], object]


KINDS: Final[dict[Kind, KindOf]] = {
    "breaker": KindOf(
        "BreakerWorkflow", BreakerView, lambda name, options: BreakerInput(name, options=options)
    ),
    "ledger": KindOf(
        "LedgerWorkflow", LedgerView, lambda name, options: LedgerInput(name, options=options)
    ),
    "governor": KindOf(
        "GovernorWorkflow", PoolView, lambda name, options: GovernorInput(name, options=options)
    ),
}

GOVERNANCE_WORKFLOWS: Final = (
    f"WorkflowType IN ({', '.join(repr(kind.workflow) for kind in KINDS.values())})"
)
"""The visibility query that finds them all."""


def governing(
    client: Client,
    kind: Kind,
    subject: str,
    options: EntityOptions | None = None,
    task_queue: str = GOVERNANCE_TASK_QUEUE,
) -> GovernanceWorkflow:
    """Return the workflow that governs ``subject``, started on demand.

    Args:
        client: Of the namespace.
        kind: What is governed.
        subject: Which downstream, tenant or pool.
        options: How it keeps house, if it is started here.
        task_queue: Where governance workers poll.
    """
    of = KINDS[kind]
    start = of.start(subject, options or EntityOptions())
    return GovernanceWorkflow(client, of.workflow, workflow_id(kind, subject), start, task_queue)
