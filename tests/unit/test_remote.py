"""What jobs without a gate ask: what may be left out, and who it is that calls."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from nexusrpc import Link
from pydantic import ValidationError

from headgate.model.breaker import Report
from headgate.model.contract import Message
from headgate.model.ledger import Acquire, Admit, Decision, Exchange, Holder, Release
from headgate.model.remote import AdmitRequest
from headgate.orchestrator.nexus_handler import caller
from tests.unit.ledgers import NOW_MS, RECORD, make, quotas

PAGE = Path(__file__).parents[2] / "docs" / "other-languages.md"
CALLER = Holder(workflow_id="job", run_id="run")


def request(**fields: Any) -> AdmitRequest:
    return AdmitRequest.model_validate({"tenant": "acme", "resource": "scan", **fields})


@pytest.mark.parametrize(
    "left_out",
    [{}, {"id": None, "holder": None}, {"id": "", "holder": {"workflow_id": "", "run_id": ""}}],
)
def test_who_asks_may_be_left_out(left_out: dict[str, Any]) -> None:
    asked = request(**left_out, units=2)
    expected = Admit(id="i", holder=CALLER, tenant="acme", resource="scan", units=2)
    assert asked.completed("i", CALLER) == expected
    assert AdmitRequest.model_validate_json(asked.model_dump_json()) == asked


def test_what_is_said_is_not_replaced() -> None:
    other = Holder(workflow_id="other", namespace="there")
    admit = request(id="mine", holder={"workflow_id": "other", "namespace": "there"})
    assert admit.completed("i", CALLER).id == "mine"
    assert admit.completed("i", CALLER).holder == other


def test_somebody_has_to_hold_the_permit() -> None:
    with pytest.raises(ValueError, match="holder is left out"):
        request().completed("i", None)


def test_no_resource_is_named_twice() -> None:
    with pytest.raises(ValidationError, match="put all of it into units"):
        request(also={"scan": 1})


def test_the_link_of_the_server_names_the_caller() -> None:
    of_event = "temporal.api.common.v1.Link.WorkflowEvent"
    path = "temporal:///namespaces/a%20b/workflows/job%2F1/r1/history?eventID=5"
    assert caller([Link(url=path, type=of_event)]) == Holder(
        namespace="a b", workflow_id="job/1", run_id="r1"
    )
    assert caller([Link(url=path, type="another")]) is None
    assert caller([Link(url="temporal:///namespaces/a", type=of_event)]) is None
    assert caller([]) is None


def test_a_ledger_remembers_in_which_namespace_a_holder_runs() -> None:
    ledger = make(max_active=1)
    acquires = [
        Acquire(
            id=id,
            holder=Holder(workflow_id=id, namespace="there"),
            resource="scan",
            wait_until_ms=NOW_MS + 60_000,
        )
        for id in ("held", "waits")
    ]
    ledger.exchange(Exchange(gate="g", acquires=acquires), NOW_MS)
    page = ledger.page()
    assert [(one.id, one.namespace) for one in page.permits] == [("held", "there")]
    assert [(one.id, one.namespace) for one in page.waiters] == [("waits", "there")]
    # Whoever waits keeps it when its turn comes, and when it is turned away.
    ledger.configure(quotas(scan={"max_active": 0}), NOW_MS)
    assert ledger.record.turned_away["waits"].namespace == "there"
    ledger = make(max_active=1)
    ledger.exchange(Exchange(gate="g", acquires=acquires), NOW_MS)
    ledger.exchange(Exchange(gate="g", releases=["held"]), NOW_MS)
    assert ledger.record.permits["waits"].namespace == "there"


def test_records_of_the_time_before_namespaces_are_read() -> None:
    ledger = make(max_active=1)
    acquire = Acquire(id="held", holder=Holder(workflow_id="job"), resource="scan")
    ledger.exchange(Exchange(gate="g", acquires=[acquire]), NOW_MS)
    plain = RECORD.dump_python(ledger.record, mode="json")
    del plain["permits"]["held"]["namespace"]
    assert RECORD.validate_python(plain) == ledger.record


def test_the_examples_of_the_documentation_are_what_is_understood() -> None:
    examples = "\n".join(re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.M))
    found: list[type[Message]] = []
    while examples := examples.strip():
        example, end = json.JSONDecoder().raw_decode(examples)
        examples = examples[end:]
        kind: type[Message] = Release
        if "resource" in example:
            kind = AdmitRequest
        elif "outcome" in example:
            kind = Decision
        elif "gate" in example:
            kind = Report
        message = kind.model_validate(example)
        found.append(kind)
        assert set(example) <= set(kind.model_fields)
        assert message.model_dump(mode="json", exclude_unset=True) == example
    assert found == [AdmitRequest, Decision, Decision, Decision, Release, Report, Report]
