"""Why a job waits: what the job itself says, and what is put together from all who know."""

from typing import Final, Literal

from headgate.model.contract import Message
from headgate.model.ledger import PermitView, WaiterView
from headgate.model.reason import Reason, ReasonCode

WHY_QUERY: Final = "headgate_why"
"""The query that a job answers while it asks for permits, or holds some."""

AskState = Literal["asking", "in_line", "asks_again", "held"]


class JobAsk(Message):
    """One permit that a job asks for or holds, as the job itself sees it.

    Attributes:
        id: Of the request, and of the permit; a job that asks again has a new one.
        tenant: For whom.
        resource: What is counted.
        units: How much of it.
        also: What else is needed, in units by resource.
        downstream: What it wants to call, if anything.
        since_ms: When it began to ask.
        state: ``asking``: its gate decides now. ``in_line``: it waits for the signal of the
            ledger. ``asks_again``: it was refused, and sleeps until ``retry_at_ms``. ``held``.
        reason: Why it was last refused, or put in line.
        retry_at_ms: When it asks again, or may be served.
    """

    id: str = ""
    tenant: str
    resource: str
    units: int = 1
    also: dict[str, int] = {}
    downstream: str | None = None
    since_ms: int
    state: AskState = "asking"
    reason: Reason | None = None
    retry_at_ms: int | None = None


class PoolPart(Message):
    """What one tenant has of a pool, in units: held, wanted, may be held, and guaranteed."""

    tenant: str
    held: int = 0
    wanted: int = 0
    allocated: int = 0
    guaranteed: int = 0


class Obstacle(Message):
    """One thing that stands in the way of a job.

    Attributes:
        code: The rule.
        message: In a sentence, with numbers.
        tenant: Whose limit it is, if it is one.
        resource: Of what.
        downstream: Whose breaker it is, if it is one.
        pool: Which pool it is, if it is one.
        limit: What the rule allows, in units.
        used: What is used of it, in units.
        needed: What the job asks for, in units.
        position: Place in line; 1 is next.
        changes_at_ms: When it may be out of the way; null: when people say so, or nobody knows.
        estimate: ``changes_at_ms`` is a guess; else nothing changes before it.
        holders: Up to 10 permits of what is used up, the oldest first.
        ahead: Up to 10 requests that are served before, the next first.
        parts: What the tenants have of the pool, the largest first.
    """

    code: ReasonCode
    message: str
    tenant: str | None = None
    resource: str | None = None
    downstream: str | None = None
    pool: str | None = None
    limit: int | None = None
    used: int | None = None
    needed: int | None = None
    position: int | None = None
    changes_at_ms: int | None = None
    estimate: bool = False
    holders: list[PermitView] = []
    ahead: list[WaiterView] = []
    parts: list[PoolPart] = []


class Held(Message):
    """A permit that the job holds."""

    id: str
    tenant: str
    resource: str
    units: int
    downstream: str | None = None
    since_ms: int
    expires_at_ms: int | None = None


class WhyReport(Message):
    """Why a job waits, or that it does not.

    Attributes:
        workflow_id: The job.
        state: ``waits``; ``runs``: it waits for nothing that Headgate knows of; ``closed``: it has
            ended; ``unknown``: Temporal knows no such workflow, but a ledger still does.
        status: What Temporal says of it, such as ``RUNNING``; null when it knows nothing.
        verdict: The answer in a sentence.
        obstacles: What stands in its way, the most structural first. Of a job that has failed since
            it was refused: by what.
        holds: What it holds.
        tenants: For whom it asks, waits or holds, as it says itself or as ledgers do; where it does
            none of these, for whom it was started, by its memo or its fairness key.
        goes_on_at_ms: When it may go on; null: it need not wait, or nobody knows.
        estimate: ``goes_on_at_ms`` is a guess; else it does not go on before it.
        notes: What else to know: who did not answer, what comes next.
        at_ms: When this was put together.
    """

    workflow_id: str
    state: Literal["waits", "runs", "closed", "unknown"]
    status: str | None = None
    verdict: str
    obstacles: list[Obstacle] = []
    holds: list[Held] = []
    tenants: list[str] = []
    goes_on_at_ms: int | None = None
    estimate: bool = False
    notes: list[str] = []
    at_ms: int
