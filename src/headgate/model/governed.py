"""Which calls are governed, and how: for a table of activity types in a file or in code."""

from typing import Annotated, Literal

from pydantic import Field

from headgate.model.contract import Contract, Name


class GovernedCall(Contract):
    """How one type of activity is governed.

    Attributes:
        downstream: What it calls; its breaker is asked before every call.
        resource: What a call takes of its tenant's quotas; null: nothing.
        units: How much of it.
        hold: ``call``: for as long as the call lasts; ``job``: from the first such call of a job
            until the job ends.
        priority: The higher is served before the lower of the same tenant.
    """

    downstream: Name
    resource: Name | None = None
    units: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    hold: Literal["call", "job"] = "call"
    priority: Annotated[int, Field(ge=-1_000, le=1_000)] = 0


ActivityType = Annotated[str, Field(min_length=1, max_length=500)]
GovernedCalls = dict[ActivityType, GovernedCall]
"""By the type of the activity."""
