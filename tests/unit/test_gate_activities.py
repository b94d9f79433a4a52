"""The local activities of jobs, on a gate that only notes what it is asked."""

from typing import cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from headgate.gate.protocol import AnyGate
from headgate.model.ledger import Admit, Decision, Holder, Outcome
from headgate.orchestrator.gate_activities import GateActivities


class Noting:
    """A gate that grants all."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def admit(self, request: Admit) -> Decision:
        self.asked.append(request.downstream)
        return Decision(id=request.id, outcome=Outcome.GRANTED)


def asking(downstream: str | None) -> Admit:
    holder = Holder(workflow_id="job", run_id="run")
    return Admit(id="a", holder=holder, tenant="acme", resource="scan", downstream=downstream)


async def ask(gate: Noting, downstreams: set[str] | None, downstream: str | None) -> None:
    async def found() -> AnyGate:
        return cast(AnyGate, gate)  # the one method of it that is used

    activities = GateActivities(found, downstreams)
    await ActivityEnvironment().run(activities.admit, asking(downstream))


async def test_a_downstream_that_no_file_lists_is_refused_for_good() -> None:
    gate = Noting()
    with pytest.raises(ApplicationError, match=r"scaner is no downstream .there is: scanner") as no:
        await ask(gate, {"scanner"}, "scaner")
    assert (no.value.type, no.value.non_retryable) == ("headgate.InvalidRequest", True)
    assert gate.asked == []


async def test_what_is_listed_or_needs_not_be_is_asked_for() -> None:
    gate = Noting()
    await ask(gate, {"scanner"}, "scanner")
    await ask(gate, {"scanner", "*"}, "other")
    await ask(gate, {"scanner"}, None)
    await ask(gate, None, "any")
    assert gate.asked == ["scanner", "other", None, "any"]
