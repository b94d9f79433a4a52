"""The requests in docs/api.md do what is said there."""

import json
import re
from pathlib import Path
from typing import Any, Final

from headgate.api.app import create_app
from headgate.api.description import described
from tests.api.conftest import Desk
from tests.harness import acquire, eventually

DOCS: Final = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCKS: Final = re.findall(r"^```http\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
CURL: Final = re.compile(r"curl -X POST https://headgate.example(\S+) .*?-d '(.*?)'", re.DOTALL)


def requests(desk: Desk) -> list[tuple[str, str, Any]]:
    """Method, path and body of each request, with names of the test's own."""
    found = []
    (curl,) = CURL.findall(DOCS)
    for text in [f"POST {curl[0]}\n{curl[1]}", *"\n\n".join(BLOCKS).split("\n\n")]:
        for name in ("acme", "scanner", "slots"):
            text = re.sub(rf"\b{name}\b", desk.of(name), text)
        line, body = text.strip().split("\n", 1)
        method, path = line.split()
        found.append((method, path, json.loads(body)))
    return found


async def test_every_request_is_taken(desk: Desk) -> None:
    acme, resource = desk.of("acme"), {"scan": {"max_active": 2}}
    sections = {"downstreams": {desk.of("scanner"): {}}, "tenants": {acme: {"quotas": resource}}}
    await desk.apply(**sections)
    (permit,) = re.findall(r'"permit": "(\w+)"', DOCS)
    await desk.governance.exchange(acme, [acquire(permit)])
    # Only now: nothing is granted before a pool has spoken.
    await desk.apply(**sections, pools={desk.of("slots"): {"resource": "scan", "capacity": 50}})
    admin = await desk.caller("admin")
    scanner = desk.of("scanner")
    await desk.governance.report(scanner, 1, successes=1)
    await eventually(lambda: desk.service.snapshots.outcome_spans(scanner, 0), bool)
    made = ""
    for method, path, body in requests(desk):
        answer = await admin.request(method, path.replace("{id}", made), json=body)
        assert answer.status_code == 200, (method, path, body, answer.text)
        told = answer.json()
        made = told["data"]["key"]["id"] if path == "/v1/keys" else told.get("request_id", "")


async def test_every_body_that_needs_more_than_a_reason_has_a_request(desk: Desk) -> None:
    description = described(create_app(desk.service))
    components = description["components"]["schemas"]
    shown = [(method.lower(), path) for method, path, _ in requests(desk)]
    for path, operations in description["paths"].items():
        for method in {"post", "put"} & set(operations):
            body = operations[method]["requestBody"]["content"]["application/json"]["schema"]
            if components[body["$ref"].rpartition("/")[2]].get("required") != ["reason"]:
                pattern = re.sub(r"\{\w+\}", "[^/]+", path)
                assert any(m == method and re.fullmatch(pattern, p) for m, p in shown), path


async def test_a_word_for_an_action_on_a_tenant_is_refused_with_what_to_write(desk: Desk) -> None:
    tenant = desk.of("t")
    await desk.apply(tenants={tenant: {"quotas": {"scan": {}}}})
    operator = await desk.caller("operator")
    path = f"/v1/tenants/{tenant}/commands"
    flat = await operator.post(path, json={"action": "pause", "reason": "they have asked"})
    assert (flat.status_code, flat.json()["code"]) == (422, "invalid")
    (error,) = flat.json()["errors"]
    assert error["field"] == "action"
    shown = re.search(r"\{.*?\}", error["message"])
    assert shown is not None
    body = {"action": json.loads(shown[0]), "reason": "they have asked"}
    done = await operator.post(path, json=body)
    assert done.status_code == 200, done.text
