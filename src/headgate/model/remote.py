"""What is asked by jobs that have no gate in their process: in other languages or namespaces."""

from typing import Annotated, Any, Final, Self

from pydantic import Field, field_validator, model_validator

from headgate.model.ledger import Admit, Holder, require_each_once

_WHO_CALLS: Final = Holder.model_construct(workflow_id="", run_id="", namespace="")


class AdmitRequest(Admit):
    """As ``Admit``; but who asks, and under which id, may be left out.

    Many languages send a field that was not set as null or empty, so that means the same.

    Attributes:
        id: Of the request, and of the permit; empty: one that stays the same when Temporal repeats
            this call. The answer names it.
        holder: The job; without a workflow id: the workflow that makes this call.
    """

    id: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f]*$")] = ""
    holder: Holder = _WHO_CALLS

    @field_validator("id", mode="before")
    @classmethod
    def _no_id(cls, id: Any) -> Any:
        return "" if id is None else id

    @field_validator("holder", mode="before")
    @classmethod
    def _no_holder(cls, holder: Any) -> Any:
        left_out = holder is None or (isinstance(holder, dict) and not holder.get("workflow_id"))
        return _WHO_CALLS if left_out else holder

    @model_validator(mode="after")
    def _each_resource_once(self) -> Self:
        require_each_once(self.resource, self.also)
        return self

    def completed(self, id: str, caller: Holder | None) -> Admit:
        """Return what the gate is asked.

        Args:
            id: For a request without one.
            caller: For a request without a holder; None: not known.

        Raises:
            ValueError: Nobody knows who will hold the permit.
        """
        holder = self.holder if self.holder.workflow_id else caller
        if holder is None:
            raise ValueError("holder is left out, and this call does not come from a workflow")
        fields = {name: getattr(self, name) for name in Admit.model_fields}
        return Admit.model_validate({**fields, "id": self.id or id, "holder": holder})
