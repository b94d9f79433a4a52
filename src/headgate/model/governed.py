"""Which calls are governed, and how: for a table of activity types in a file or in code."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from headgate.model.contract import Contract, Name


class GovernedCall(Contract):
    """How one type of activity is governed.

    Attributes:
        downstream: What it calls; its breaker is asked before every call.
        resource: What a call takes of its tenant's quotas; null: nothing. Left out where ``units``
            or ``hold: job`` say that it takes something, it has the name of the downstream.
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

    @model_validator(mode="before")
    @classmethod
    def _takes_units_of_its_downstream(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "resource" in given:
            return given
        if "units" in given or given.get("hold") == "job":
            return {**given, "resource": given.get("downstream")}
        return given

    @model_validator(mode="after")
    def _takes_units_of_something(self) -> Self:
        if self.resource is None and (self.units != 1 or self.hold == "job"):
            what = "hold is job" if self.hold == "job" else f"units is {self.units}"
            raise ValueError(
                f"{what}, but resource is null, so nothing is taken: name the resource, or leave "
                f"it out for {self.downstream}"
            )
        return self


ActivityType = Annotated[str, Field(min_length=1, max_length=500)]
GovernedCalls = dict[ActivityType, GovernedCall]
"""By the type of the activity."""
